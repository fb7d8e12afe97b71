"""The command line in this process: what a shell would see of ``eopipe …``, for the price of a function call."""

import contextlib
import io
import json
import logging
import sys
from dataclasses import dataclass
from unittest import mock

from eopipe import cli


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def line(self):
        """The one line on standard error."""
        assert self.err.count("\n") == 1, f"not one line:\n{self.err}"
        assert self.err.endswith("\n")
        return self.err[:-1]

    @property
    def document(self):
        """The one JSON document on standard output."""
        return json.loads(self.out)


def eopipe(*arguments):
    """Run ``eopipe`` with these arguments; log lines are caught too, as they go to standard error in a shell."""
    out, err = io.StringIO(), io.StringIO()
    root, status = logging.getLogger(), 0
    with (
        mock.patch.object(sys, "argv", ["eopipe", *map(str, arguments)]),
        # pytest's handlers would keep the command's own from being installed
        mock.patch.object(root, "handlers", []),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        level = root.level
        try:
            cli.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else int(bool(end.code))
        finally:
            root.setLevel(level)
    return Ended(status, out.getvalue(), err.getvalue())
