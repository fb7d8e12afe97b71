"""The command line: each command resolves its arguments, calls the engine and prints. Every error ends here."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any, NoReturn

import typer

from eopipe.cli import change, demo, evaluation, runs, tools  # noqa: F401  (they add their commands)
from eopipe.cli.app import app
from eopipe.errors import EopipeError
from eopipe.redact import redact

__all__ = ["main"]


def main() -> None:
    """Entry point. An `EopipeError` is one line and its exit status; anything else is a bug, exit status 1."""
    try:
        sys.exit(app(prog_name="eopipe", standalone_mode=False) or 0)
    except EopipeError as error:
        typer.echo(f"eopipe: {redact(' '.join(str(error).split()))}", err=True)
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        typer.echo("eopipe: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # noqa: BLE001  (a bug is reported with its traceback and exit status 1)
        if hasattr(error, "format_message"):  # typer's own, for a wrong command line; it has no public base class
            _refuse_usage(error)
        typer.echo(redact(traceback.format_exc()), err=True)
        typer.echo("eopipe: this is a bug in eopipe; please report it with the lines above", err=True)
        sys.exit(1)


def _refuse_usage(error: Any) -> NoReturn:
    """A wrong command line: one line and exit status 2; ``eopipe`` without arguments has printed its help already."""
    context = getattr(error, "ctx", None)
    message = " ".join(error.format_message().split()).rstrip(".")
    if message:
        path = context.command_path if context is not None else "eopipe"
        typer.echo(f"eopipe: {message} (see {path} --help)", err=True)
    sys.exit(error.exit_code)
