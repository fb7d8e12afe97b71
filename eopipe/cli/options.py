"""Options that several commands share, each declared once, and the kernel options among them as values."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eopipe.errors import SpecError
from eopipe.spec import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Callable


def option(text: str, metavar: str | None = None, *, name: str | None = None, **settings: Any) -> Any:
    """A typer option.

    Args:
        text: Its help.
        metavar: Word for its value in the help; None: the type.
        name: Its name on the command line, where that is not the parameter's.
        settings: Further arguments of ``typer.Option``.
    """
    return typer.Option(*(() if name is None else (name,)), metavar=metavar, help=text, **settings)


def argument(metavar: str, text: str, complete: Callable[[str], list[str]] | None = None) -> Any:
    """A typer argument.

    Args:
        metavar: Word for its value in the help.
        text: Its help.
        complete: The values that begin with a text, for the shell's completion.
    """
    return typer.Argument(metavar=metavar, help=text, show_default=False, autocompletion=complete)


SpecPath = Annotated[Path, argument("SPEC", "Run spec (YAML or JSON).")]
OutUri = Annotated[str, argument("OUT", "A run's folder or URL.")]
Json = Annotated[bool, option("Print one JSON document on standard output, and nothing else.", name="--json")]
Now = Annotated[str | None, option("What relative dates are measured from (ISO 8601).", "TIME")]
AllowEmpty = Annotated[bool, option("A search without a match is fine.", name="--allow-empty")]
Strict = Annotated[
    bool, option("Refuse prompts that the model was not taught, and items that cannot be used.", name="--strict")
]
LocalWorkers = Annotated[int | None, option("Local workers.", min=1)]
Address = Annotated[str | None, option("A scheduler's address, instead of local workers.")]
KernelOptions = Annotated[
    list[str] | None, option("Another option of the kernel, such as scale=40; repeatable.", "KEY=VALUE", name="--set")
]

Device = StrEnum("Device", ("auto", "cpu", "cuda"))
"""Values of ``--device``."""


def read_options(prompts: str | None, pairs: list[str] | None) -> dict[str, Any]:
    """Options of the kernel from the command line; values are parsed as YAML.

    Args:
        prompts: Classes and their phrases, as ``--prompts`` has them.
        pairs: Texts ``KEY=VALUE``, as ``--set`` has them.

    Raises:
        SpecError: A text cannot be parsed.
    """
    options: dict[str, Any] = {}
    if prompts is not None:
        from eopipe.kernels.ovss.prompts import parse_text  # noqa: PLC0415  (with the kernels)

        try:
            options["prompts"] = parse_text(prompts)
        except ValueError as error:
            raise SpecError(f"--prompts: {error}") from None
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise SpecError(f"--set: {pair!r} is no option; write KEY=VALUE, such as scale=40")
        options[key] = parse_yaml(value, f"--set {key}")
    return options
