"""The command line itself: what its commands share."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eopipe import __version__
from eopipe.redact import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    name="eopipe",
    help="Maps of anything you can name, from a STAC query, on a Dask cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="Run spec (YAML or JSON).", show_default=False)]
OutUri = Annotated[str, typer.Argument(metavar="OUT", help="A run's folder or URL.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")]
Now = Annotated[
    str | None, typer.Option("--now", metavar="TIME", help="What relative dates are measured from (ISO 8601).")
]
AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="A search without a match is fine.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse prompts that the model was not taught.")]


class _Redacting(logging.Formatter):
    """Takes signatures and passwords out of every line, tracebacks too, whichever library wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return redact(super().format(record))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eopipe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[  # noqa: ARG001  (its callback does the work)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, on standard error.")] = False,
) -> None:
    """Maps of anything you can name, from a STAC query, on a Dask cluster."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Redacting("%(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.INFO if verbose else logging.WARNING)  # distributed sets its own loggers to INFO
    if not verbose:
        handler.addFilter(lambda record: "still alive after" not in str(record.msg))  # a nanny's, of a slow goodbye
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def progress(line: str) -> None:
    """A line for a person who waits; nothing where nobody does."""
    if sys.stderr.isatty():
        typer.echo(line, err=True)


def print_json(document: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False))


def print_pairs(found: Mapping[str, Any]) -> None:
    """Names and values in two columns."""
    width = max(map(len, found)) + 1
    for key, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {count}" for name, count in value.items()) or "none"  # noqa: PLW2901
        elif isinstance(value, list):
            value = f"\n{'':{width}}".join(map(str, value)) or "none"  # noqa: PLW2901
        typer.echo(f"{key.replace('_', ' '):{width}}{value}")
