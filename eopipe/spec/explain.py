"""A mistake in a spec in one line that names the key, the value and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from eopipe.spec.model import RunSpec
from eopipe.text import did_you_mean, short

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import ValidationError
    from ruamel.yaml.error import YAMLError


def explain(error: ValidationError) -> str:
    """The first mistake in one line: the key, the value, the remedy; and how many more there are."""
    problems = error.errors()
    # An unknown key often causes a missing one: name the unknown first.
    first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
    key = ".".join(str(part) for part in first["loc"] if not _is_union_arm(part)) or "spec"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 and first["loc"][:1] != ("area",) else ""
    return f"{key}: {_sentence(first, key)}{more}"


_ARMS = {"str", "dict", "float", "constrained-float"}


def _is_union_arm(part: object) -> bool:
    return (isinstance(part, str) and any(sign in part for sign in "[(")) or part in _ARMS


def _sentence(problem: Mapping[str, Any], key: str) -> str:
    kind, value = problem["type"], problem.get("input")
    if key.split(".", maxsplit=1)[0] == "area":
        return f"{short(value)} is no area; give [west, south, east, north] in degrees, a GeoJSON file or GeoJSON"
    if kind == "extra_forbidden":
        known = _known_keys(problem["loc"])
        hint = did_you_mean(str(problem["loc"][-1]), known, f"the keys are {', '.join(known)}")
        return f"unknown key; {hint}"
    if kind == "missing":
        return "is missing; add it to the spec"
    remedy = _PLAIN.get(kind) or str(problem["msg"]).removeprefix("Value error, ")
    return f"{short(value)} is not valid: {remedy[:1].lower()}{remedy[1:]}"


_PLAIN = {
    "tuple_type": "write a list, such as [a, b]",
    "dict_type": "write a mapping, such as {key: value}",
    "model_type": "write a mapping, such as {key: value}",
    "float_type": "write a number, or a number by band, such as {red: 0.0001}",
    "float_parsing": "write a number, or a number by band, such as {red: 0.0001}",
    "string_type": "write a text, in quotes where it looks like a number",
    "too_short": "it is empty; leave the key out, or give it a value",
    "string_too_short": "it is empty; give it a value",
}
"""Pydantic's words where they speak of Python rather than of YAML."""


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    model: Any = RunSpec
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        if field is None:
            continue
        arms = [field.annotation, *getattr(field.annotation, "__args__", ())]
        model = next((arm for arm in arms if isinstance(arm, type) and issubclass(arm, BaseModel)), model)
    return list(model.model_fields)


def place(error: YAMLError) -> str:
    """Where in the file a YAML error is, as far as it says."""
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
