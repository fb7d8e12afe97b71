"""Kernels by name, and how one is made from a spec's ``kernel`` mapping."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from eopipe.errors import SpecError
from eopipe.kernels import land_cover
from eopipe.kernels.change import create as change
from eopipe.kernels.change.spectral.kernel import SpectralOptions
from eopipe.kernels.ovss import kernel as ovss
from eopipe.kernels.ovss.mini_options import DenseOptions
from eopipe.kernels.ovss.options import Options as OvssOptions
from eopipe.models.registry import MODELS
from eopipe.models.registry_entry import DenseEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eopipe.kernels.protocol import Kernel


@dataclass(frozen=True)
class _Entry:
    """What a kernel's module offers: an options model and a maker, ``create(options, resolution=...)``.

    ``owner`` is whose options they are, in an error.
    """

    options: type[BaseModel]
    create: Callable[..., Kernel]
    owner: str = "kernel"


_KIND = re.compile(r"[\[(]|^(constrained-)?(float|int|str|bool)$")

_LONGEST = 80
"""Characters of a wrong value that an error repeats."""


def _create_dense(options: DenseOptions, *, resolution: float) -> Kernel:
    """Only who names such a model loads its code."""
    from eopipe.kernels.ovss import mini_kernel  # noqa: PLC0415

    return mini_kernel.create(options, resolution=resolution)


_KERNELS = {
    "change": _Entry(SpectralOptions, change.create),
    "land-cover": _Entry(land_cover.Options, land_cover.create),
    "ovss": _Entry(OvssOptions, ovss.create),
}
_DENSE = _Entry(DenseOptions, _create_dense, owner="model")
"""``ovss`` with a model that looks at pixels, which has few options of the others."""


def names() -> list[str]:
    """Names that a spec's ``kernel.name`` may have."""
    return sorted(_KERNELS)


def create(name: str, options: Mapping[str, Any], *, resolution: float) -> Kernel:
    """Make a kernel; its weights are checked but not loaded.

    Args:
        name: One of :func:`names`.
        options: The spec's ``kernel`` mapping without ``name``.
        resolution: The grid's resolution in CRS units.

    Raises:
        SpecError: No such kernel, an unknown option or a bad value.
        PlanError: The kernel's ground sample distance cannot be placed on the grid.
        WeightsError: Weights are missing or wrong.
    """
    entry = _entry(name, options)
    if entry is None:
        close = get_close_matches(name, _KERNELS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the kernels are {', '.join(names())}"
        raise SpecError(f"kernel.name: there is no kernel {name!r}; {hint}")
    try:
        checked = entry.options.model_validate(dict(options))
    except ValidationError as error:
        raise SpecError(_explain(error, entry)) from None
    return entry.create(checked, resolution=resolution)


def _entry(name: str, options: Mapping[str, Any]) -> _Entry | None:
    model = options.get("model")
    if name == "ovss" and isinstance(model, str) and isinstance(MODELS.get(model), DenseEntry):
        return _DENSE
    if name == "change" and (chosen := change.options_model(options)) is not SpectralOptions:
        return _Entry(chosen, change.create, owner="instantiation")
    return _KERNELS.get(name)


def _explain(error: ValidationError, entry: _Entry) -> str:
    problems = error.errors()
    first, key = problems[0], _key(problems[0]["loc"])
    if first["type"] == "extra_forbidden":
        return f"kernel.{key}: unknown key; this {entry.owner}'s own are {', '.join(entry.options.model_fields)}"
    # a value that may be of several kinds has a problem with each, or within one
    mine = [p for p in problems if f"{_key(p['loc'])}.".startswith(f"{key}.") and p["type"] != "model_type"]
    said = [str(p["msg"]).removeprefix("Value error, ") for p in mine or [first]]
    whole = ", or ".join(f"{text[:1].lower()}{text[1:]}" for text in dict.fromkeys(said))
    if not key:  # of several options together: it begins with the one to change
        return f"kernel.{whole}"
    return f"kernel.{key}: {_short(first.get('input'))} is not valid: {whole}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _key(location: tuple[int | str, ...]) -> str:
    """As a spec has it: without pydantic's names for the kinds of a union, such as ``literal['grid']``."""
    return ".".join(str(part) for part in location if not (isinstance(part, str) and _KIND.search(part)))
