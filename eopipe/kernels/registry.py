"""Kernels by name, from eopipe and from other packages, and how one is made from a spec's ``kernel`` mapping.

What a name stands for is a module, or any object, with two attributes:

* ``options_model``: a pydantic model of what a spec may say beside ``name``; or a function from the spec's mapping to
  such a model, where a kernel has several forms;
* ``create(options, *, resolution)``: makes the kernel from that model's instance, on a grid of that resolution.

A third one, ``forms``, may say more to ``eopipe kernels`` than the kernel's defaults do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from eopipe.errors import SpecError
from eopipe.plugins import Table
from eopipe.text import did_you_mean, short

if TYPE_CHECKING:
    from eopipe.kernels.protocol import Kernel

OptionsModel = type[BaseModel] | Callable[[Mapping[str, Any]], type[BaseModel]]


@dataclass(frozen=True)
class KernelForm:
    """One form of a kernel, for ``eopipe kernels``.

    Args:
        when: How a spec chooses it, such as ``model: mini``; empty where a kernel has one form only.
        maps: What it maps, one line.
        bands: Canonical band names.
        gsd: Ground sample distance that it was made for, unit included.
        options: Its options.
    """

    when: str
    maps: str
    bands: tuple[str, ...]
    gsd: str
    options: type[BaseModel]


@dataclass(frozen=True)
class KernelEntry:
    """What stands behind a kernel's name; see the module."""

    options_model: OptionsModel
    create: Callable[..., Kernel]
    forms: tuple[KernelForm, ...] = ()

    def model_for(self, options: Mapping[str, Any]) -> type[BaseModel]:
        """The model that these options are checked with."""
        if isinstance(self.options_model, type):
            return self.options_model
        return self.options_model(options)


def _checked(name: str, offered: object) -> KernelEntry:
    """What a module or an entry point holds, as an entry.

    Raises:
        TypeError: It is no kernel.
    """
    model: Any = getattr(offered, "options_model", None)
    create = getattr(offered, "create", None)
    model_is_fit = issubclass(model, BaseModel) if isinstance(model, type) else callable(model)
    if not model_is_fit or not callable(create):
        missing = "create function" if model_is_fit else "options_model (a pydantic model)"
        raise TypeError(f"is no kernel: {name} has no {missing}")
    return KernelEntry(model, create, tuple(getattr(offered, "forms", ())))


KERNELS: Table[KernelEntry] = Table(
    "kernel",
    "eopipe.kernels",
    {
        "change": "eopipe.kernels.change.create",
        "land-cover": "eopipe.kernels.land_cover",
        "ovss": "eopipe.kernels.ovss.create",
    },
    _checked,
)
"""Every kernel by name; a kernel's code is imported when it is asked for."""


def register_kernel(name: str, options: OptionsModel, create: Callable[..., Kernel]) -> None:
    """Let specs name a kernel in this process; a package does it for all of them by an entry point.

    Args:
        name: What a spec's ``kernel.name`` says; the same name again replaces what was registered before.
        options: A pydantic model of its options, or a function from a spec's mapping to one.
        create: ``create(options, *, resolution)`` makes the kernel.

    Raises:
        PluginError: The name is another package's.
        TypeError: It is no kernel.
    """
    KERNELS.register(name, _checked(name, KernelEntry(options, create)))


def names() -> list[str]:
    """Names that a spec's ``kernel.name`` may have."""
    return sorted(KERNELS)


def create(name: str, options: Mapping[str, Any], *, resolution: float) -> Kernel:
    """Make a kernel; its weights are checked but not loaded.

    Args:
        name: One of :func:`names`.
        options: The spec's ``kernel`` mapping without ``name``.
        resolution: The grid's resolution in CRS units.

    Raises:
        SpecError: No such kernel, an unknown option or a bad value.
        PlanError: The kernel's ground sample distance cannot be placed on the grid.
        PluginError: The package that offers the kernel cannot be used.
        WeightsError: Weights are missing or wrong.
    """
    entry = KERNELS.get(name)
    if entry is None:
        hint = did_you_mean(name, names(), f"the kernels are {', '.join(names())}")
        raise SpecError(f"kernel.name: there is no kernel {name!r}; {hint}")
    model = entry.model_for(options)
    try:
        checked = model.model_validate(dict(options))
    except ValidationError as error:
        several = not isinstance(entry.options_model, type)
        raise SpecError(_explain(error, f"{name} with these options" if several else name, model)) from None
    return entry.create(checked, resolution=resolution)


_UNION_MEMBER = re.compile(r"[\[(]|^(constrained-)?(float|int|str|bool)$")


def _explain(error: ValidationError, owner: str, model: type[BaseModel]) -> str:
    problems = error.errors()
    first, key = problems[0], _key(problems[0]["loc"])
    if first["type"] == "extra_forbidden":
        return f"kernel.{key}: unknown key; {owner} has {', '.join(model.model_fields)}"
    # a value that may be of several kinds has a problem with each, or within one
    same = [p for p in problems if f"{_key(p['loc'])}.".startswith(f"{key}.") and p["type"] != "model_type"]
    reasons = [str(p["msg"]).removeprefix("Value error, ") for p in same or [first]]
    whole = ", or ".join(f"{text[:1].lower()}{text[1:]}" for text in dict.fromkeys(reasons))
    if not key:  # of several options together: it begins with the one to change
        return f"kernel.{whole}"
    return f"kernel.{key}: {short(first.get('input'))} is not valid: {whole}"


def _key(location: tuple[int | str, ...]) -> str:
    """As a spec has it: without pydantic's names for the kinds of a union, such as ``literal['grid']``."""
    names = (name for name in location if not (isinstance(name, str) and _UNION_MEMBER.search(name)))
    return ".".join(map(str, names))
