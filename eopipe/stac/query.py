"""STAC ``query`` and CQL2 ``filter``, checked before a search, and evaluated on items that no API has filtered.

A missing property does not match any condition, ``neq`` too: it is not known to differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import cql2

from eopipe.errors import SpecError
from eopipe.text import did_you_mean

_ORDER = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
OPERATORS = ("eq", "neq", *_ORDER, "startsWith", "endsWith", "contains", "in")
"""Operators of the STAC API's query extension."""

_CQL2_WORDS = (
    "and or not = <> < <= > >= isnull like between in casei accenti + - * / ^ % div "
    "s_intersects s_equals s_disjoint s_touches s_within s_overlaps s_crosses s_contains "
    "t_after t_before t_contains t_disjoint t_during t_equals t_finishedby t_finishes t_intersects t_meets t_metby "
    "t_overlappedby t_overlaps t_startedby t_starts "
    "a_containedby a_contains a_equals a_overlaps"
)
_CQL2_OPERATORS = frozenset(_CQL2_WORDS.split())


class Query:
    """The STAC API's ``query``: property to conditions, checked, and evaluated as CQL2.

    Args:
        conditions: As in a spec, ``{"eo:cloud_cover": {"lt": 40}}``; all must hold.

    Raises:
        SpecError: An operator is unknown, or its operand of the wrong kind.
    """

    def __init__(self, conditions: Mapping[str, Mapping[str, Any]]) -> None:
        self.conditions = conditions
        self._tests: list[tuple[Any, bool]] = []
        for name, operands in conditions.items():
            if not operands:
                raise SpecError(f"source.query: {name!r} has no condition; write it like {{lt: 40}}")
            for op, operand in operands.items():
                _check_condition(f"source.query.{name}", op, operand)
                try:
                    self._add({"property": name}, op, operand)
                except Exception:  # noqa: BLE001  (cql2 raises bare Exception)
                    raise SpecError(f"source.query.{name}.{op}: {operand!r} is no value of CQL2") from None

    def _add(self, name: dict[str, str], op: str, operand: Any) -> None:
        if op == "neq":
            # Unlike CQL2's <>, a value of another kind differs; a missing one is not known to.
            self._tests.append((cql2.Expr({"op": "isNull", "args": [name]}), False))
        self._tests.append((cql2.Expr(_in_cql2(name, op, operand)), op != "neq"))

    def matches(self, item: Mapping[str, Any]) -> bool:
        """Whether an item meets every condition; a missing property meets none."""
        fields = {name: item.get(name) for name in ("id", "collection", "properties")}
        return all(_is_true(expression, fields) == expected for expression, expected in self._tests)

    def contradicted_by(self, item: Mapping[str, Any]) -> bool:
        """Whether an item that an API sent has every property of the query and does not meet it."""
        properties = item.get("properties") or {}
        return all(properties.get(name) is not None for name in self.conditions) and not self.matches(item)


def _is_true(expression: Any, fields: Mapping[str, Any]) -> bool:
    try:
        return bool(expression.matches(fields))
    except Exception:  # noqa: BLE001  (cql2 raises bare Exception where a value is missing or of another kind)
        return False


def _check_condition(key: str, op: str, operand: Any) -> None:
    if op not in OPERATORS:
        hint = did_you_mean(op, OPERATORS, f"the operators are {', '.join(OPERATORS)}")
        raise SpecError(f"{key}: unknown operator {op!r}; {hint}")
    comparable = isinstance(operand, int | float | str) and not isinstance(operand, bool)
    if isinstance(operand, Mapping) or (op in _ORDER and not comparable):
        raise SpecError(f"{key}.{op}: {operand!r} cannot be compared; give a number or a text")
    if op in {"startsWith", "endsWith"} and not isinstance(operand, str):
        raise SpecError(f"{key}.{op}: {operand!r} is no text; put it in quotes")
    if op == "in" and not isinstance(operand, list | tuple):
        raise SpecError(f"{key}.in: {operand!r} is no list; write it like [a, b]")
    if op in {"eq", "neq"} and operand is None:
        raise SpecError(f"{key}.{op}: null matches nothing; for a missing property use filter: '{key[13:]} IS NULL'")


def _in_cql2(name: dict[str, str], op: str, operand: Any) -> dict[str, Any]:
    """One condition as CQL2 JSON; ``neq`` as the equality that must not hold."""
    if op in _ORDER or op in {"eq", "neq"}:
        return {"op": _ORDER.get(op, "="), "args": [name, _literal(operand)]}
    if op == "in" and any(map(_is_time, operand)):
        return {"op": "or", "args": [_in_cql2(name, "eq", value) for value in operand]}
    if op == "in":
        return {"op": "in", "args": [name, list(operand)]}
    listed = {"op": "a_contains", "args": [name, [operand]]}
    if not isinstance(operand, str):
        return listed
    text = re.sub(r"([%_\\])", r"\\\1", operand)
    pattern = {"startsWith": f"{text}%", "endsWith": f"%{text}", "contains": f"%{text}%"}[op]
    like = {"op": "like", "args": [name, pattern]}
    return {"op": "or", "args": [like, listed]} if op == "contains" else like


def _literal(value: Any) -> Any:
    """A value of CQL2; times are compared as times, however they are written."""
    return {"timestamp": value} if _is_time(value) else value


def _is_time(value: Any) -> bool:
    try:
        return (
            isinstance(value, str) and value[4:5] == "-" and len(value) >= 10 and bool(datetime.fromisoformat(value))
        )
    except ValueError:
        return False


class Cql2:
    """A parsed CQL2 filter.

    Args:
        source: CQL2 text, or CQL2 JSON as a mapping.

    Raises:
        SpecError: It does not parse.
    """

    def __init__(self, source: str | Mapping[str, Any]) -> None:
        try:
            self._expression = cql2.Expr(source if isinstance(source, str) else dict(source))
            self.json: dict[str, Any] = self._expression.to_json()
        except Exception as error:  # noqa: BLE001  (cql2 raises bare Exception and its own kinds)
            raise SpecError(f"source.filter: not CQL2: {_reason(error)}; write CQL2 text or JSON") from None
        if not isinstance(self.json, dict) or "op" not in self.json:
            raise SpecError(
                f"source.filter: {str(source)[:80]!r} is no condition; write eo:cloud_cover < 40 or the like"
            )

    def check_local(self) -> None:
        """See that the filter can be evaluated here; an API may know more functions.

        Raises:
            SpecError: It uses a function that CQL2 does not define.
        """
        for op in sorted(_operators(self.json)):
            if op.lower() not in _CQL2_OPERATORS:
                raise SpecError(f"source.filter: unknown function {op!r}; a static catalog has CQL2's own only")

    @property
    def text(self) -> str:
        """CQL2 text, for GET requests."""
        return str(self._expression.to_text())

    def matches(self, item: Mapping[str, Any]) -> bool:
        """Whether the filter is true of the item; where a missing property leaves it open, it is not.

        Raises:
            SpecError: It cannot be evaluated locally.
        """
        try:
            return bool(self._expression.matches(dict(item)))
        except Exception as error:  # noqa: BLE001  (cql2 raises bare Exception)
            if "reduce expression to boolean" in str(error):  # unknown, in three-valued logic
                return False
            raise SpecError(
                f"source.filter: cannot be evaluated on item {item.get('id')!r}: {_reason(error)}; simplify it"
            ) from None


def _operators(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*map(_operators, node))
    if not isinstance(node, dict):
        return set()
    return set([str(node["op"])] if "op" in node else []).union(*map(_operators, node.values()))


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith("|"))[:200]
