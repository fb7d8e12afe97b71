"""Every kernel for people and ``--json``: what it maps, from which bands, its options, and its package."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from pydantic_core import PydanticUndefined, to_jsonable_python

from eopipe.errors import PluginError, one_line
from eopipe.kernels.registry import KERNELS, KernelForm

if TYPE_CHECKING:
    from pydantic import BaseModel

    from eopipe.kernels.registry import KernelEntry

_ARGUMENT = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)


def listing() -> list[dict[str, Any]]:
    """Every kernel by name.

    Returns:
        ``name``, ``package`` (with its version) and ``forms``, each with ``when`` (how a spec chooses it), ``maps``,
        ``bands``, ``gsd`` and ``options`` (``name``, ``required``, ``default``, ``help``); a kernel whose package
        cannot be used has ``error`` in place of the forms.
    """
    rows: list[dict[str, Any]] = []
    for name in sorted(KERNELS):
        row: dict[str, Any] = {"name": name, "package": KERNELS.source(name)}
        try:
            entry = KERNELS[name]
            row["forms"] = [_plain(form) for form in entry.forms or (_by_defaults(entry),)]
        except PluginError as error:
            row["error"] = str(error)
        except Exception as error:  # noqa: BLE001  (whatever a package of someone else's does)
            row["error"] = one_line(f"{type(error).__name__}: {error}", 200)
        rows.append(row)
    return rows


def _by_defaults(entry: KernelEntry) -> KernelForm:
    """The one form of a kernel that can be made from its defaults."""
    model = entry.model_for({})
    if any(field.is_required() for field in model.model_fields.values()):
        return KernelForm("", "what its options name", (), "", model)
    info = entry.create(model(), resolution=10.0).info
    spec = next((array for array in info.arrays if array.classes), info.arrays[0])
    classes = ", ".join(entry.name for entry in spec.classes)
    maps = ": ".join(text for text in (spec.long_name or spec.name, classes) if text)
    return KernelForm("", maps, info.inputs.bands, f"{info.inputs.gsd:g} m", model)


def _plain(form: KernelForm) -> dict[str, Any]:
    return {
        "when": form.when,
        "maps": form.maps,
        "bands": list(form.bands),
        "gsd": form.gsd,
        "options": _options(form.options),
    }


def _options(model: type[BaseModel]) -> list[dict[str, Any]]:
    texts = _documented(model)
    return [
        {
            "name": name,
            "required": field.is_required(),
            "default": None if field.default is PydanticUndefined else to_jsonable_python(field.default),
            "help": field.description or texts.get(name, ""),
        }
        for name, field in model.model_fields.items()
    ]


def _documented(model: type[BaseModel]) -> dict[str, str]:
    """What the docstrings of a model and its bases say of each option, under ``Args:``."""
    texts: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        _, _, arguments = inspect.cleandoc(kind.__dict__.get("__doc__") or "").partition("Args:\n")
        texts |= {name: " ".join(text.split()) for name, text in _ARGUMENT.findall(arguments)}
    return texts
