"""Where the command line begins, and where every error ends: one line and an exit status."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, NoReturn

import typer

from eopipe.cli import demo, evaluation, runs, tools, training  # noqa: F401  (they add their commands)
from eopipe.cli.app import app
from eopipe.errors import EopipeError
from eopipe.redact import redact


def main() -> None:
    """Entry point: an error a user can mend is one line and its exit status; anything else is a bug, 1."""
    try:
        _exit(app(prog_name="eopipe", standalone_mode=False) or 0)
    except EopipeError as error:
        typer.echo(f"eopipe: {redact(' '.join(str(error).split()))}", err=True)
        _exit(error.exit_status)
    except KeyboardInterrupt:
        typer.echo("eopipe: interrupted", err=True)
        _exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _exit(0)
    except Exception as error:  # noqa: BLE001  (the last seam: a bug is told with its traceback and exit status 1)
        if hasattr(error, "format_message"):  # typer's own, for a wrong command line; it has no public base class
            _refuse_usage(error)
        typer.echo(redact(traceback.format_exc()), err=True)
        typer.echo("eopipe: this is a bug in eopipe; please report it with the lines above", err=True)
        _exit(1)


def _refuse_usage(error: Any) -> NoReturn:
    """A wrong command line, as any wrong request: one line, exit status 2; ``eopipe`` alone has shown its help."""
    context = getattr(error, "ctx", None)
    said = " ".join(error.format_message().split()).rstrip(".")
    if said:
        path = context.command_path if context is not None else "eopipe"
        typer.echo(f"eopipe: {said} (see {path} --help)", err=True)
    _exit(error.exit_code)


def _exit(code: int) -> NoReturn:
    sys.exit(code)
