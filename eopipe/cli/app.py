"""The typer application, and how its commands print."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from eopipe.cli.options import option
from eopipe.redact import redact
from eopipe.versions import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.table import Table
    from rich.text import Text

    from eopipe.engine.display import Display

app = typer.Typer(
    name="eopipe",
    help="Maps of anything you can name, from a STAC query, on a Dask cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_FILE_WIDTH = 160
"""Columns of a table where standard output is no terminal."""


class _Redacting(logging.Formatter):
    """Removes signatures and passwords from every log line and traceback, of any library."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return redact(super().format(record))


def _version(requested: bool) -> None:
    if requested:
        typer.echo(f"eopipe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[  # noqa: ARG001  (its callback does the work)
        bool, option("Print the version.", name="--version", callback=_version, is_eager=True)
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, on standard error.")] = False,
) -> None:
    """Maps of anything you can name, from a STAC query, on a Dask cluster."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Redacting("%(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.INFO if verbose else logging.WARNING)  # distributed sets its own loggers to INFO
    if not verbose:
        handler.addFilter(lambda record: "still alive after" not in str(record.msg))  # of a nanny that closes slowly
    logging.basicConfig(level=logging.INFO, handlers=[handler])


@contextmanager
def run_display(*, quiet: bool, loading: bool = False) -> Iterator[Display]:
    """The display of runs, which is closed whatever happens.

    Args:
        quiet: Whether it shows nothing.
        loading: Whether torch and dask are loaded under it, which it says.
    """
    from eopipe.engine.display import Display, Terminal  # noqa: PLC0415

    display = Display() if quiet else Terminal()
    if loading:
        display.phase("load")
    try:
        yield display
    finally:
        display.close()


def progress(line: str) -> None:
    """A line on standard error, where that is a terminal."""
    if sys.stderr.isatty():
        typer.echo(line, err=True)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False))


def print_lines(lines: Iterable[str | Text | Table]) -> None:
    """Lines and tables on standard output."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _FILE_WIDTH)
    for line in lines:
        console.print(line, markup=not isinstance(line, str))


def print_pairs(document: Mapping[str, Any]) -> None:
    """Names and values in two columns."""
    width = max(map(len, document)) + 1
    for key, value in document.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {count}" for name, count in value.items()) or "none"  # noqa: PLW2901
        elif isinstance(value, list):
            value = f"\n{'':{width}}".join(map(str, value)) or "none"  # noqa: PLW2901
        typer.echo(f"{key.replace('_', ' '):{width}}{value}")
