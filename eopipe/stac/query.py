"""STAC ``query`` and CQL2 ``filter``, checked before a search and evaluated on items at hand.

A missing property does not match, whatever is asked of it, ``neq`` too: nobody knows that it differs.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

import cql2

from eopipe.errors import SpecError

_Test = Callable[[Any, Any], bool]
_ORDER: dict[str, _Test] = {"lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge}
_TEXT: dict[str, _Test] = {
    "startsWith": lambda value, wanted: isinstance(value, str) and value.startswith(wanted),
    "endsWith": lambda value, wanted: isinstance(value, str) and value.endswith(wanted),
    "contains": lambda value, wanted: isinstance(value, str | list) and wanted in value,
}
OPERATORS = ("eq", "neq", *_ORDER, *_TEXT, "in")
"""Operators of the STAC API's query extension."""

_CQL2_WORDS = (
    "and or not = <> < <= > >= isnull like between in casei accenti + - * / ^ % div "
    "s_intersects s_equals s_disjoint s_touches s_within s_overlaps s_crosses s_contains "
    "t_after t_before t_contains t_disjoint t_during t_equals t_finishedby t_finishes t_intersects t_meets t_metby "
    "t_overlappedby t_overlaps t_startedby t_starts "
    "a_containedby a_contains a_equals a_overlaps"
)
_CQL2_OPERATORS = frozenset(_CQL2_WORDS.split())


def check_query(query: Mapping[str, Mapping[str, Any]] | None) -> None:
    """Refuse a query that no catalog could answer.

    Raises:
        SpecError: An operator is unknown, or its operand of the wrong kind.
    """
    for name, conditions in (query or {}).items():
        if not conditions:
            raise SpecError(f"source.query: {name!r} has no condition; write it like {{lt: 40}}")
        for op, wanted in conditions.items():
            _check_condition(f"source.query.{name}", op, wanted)


def _check_condition(key: str, op: str, wanted: Any) -> None:
    if op not in OPERATORS:
        close = get_close_matches(op, OPERATORS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"the operators are {', '.join(OPERATORS)}"
        raise SpecError(f"{key}: unknown operator {op!r}; {hint}")
    if op in _ORDER and (isinstance(wanted, bool) or not isinstance(wanted, int | float | str)):
        raise SpecError(f"{key}.{op}: {wanted!r} cannot be compared; give a number or a text")
    if op in {"startsWith", "endsWith"} and not isinstance(wanted, str):
        raise SpecError(f"{key}.{op}: {wanted!r} is no text; put it in quotes")
    if op == "in" and not isinstance(wanted, list | tuple):
        raise SpecError(f"{key}.in: {wanted!r} is no list; write it like [a, b]")
    if op in {"eq", "neq"} and wanted is None:
        raise SpecError(f"{key}.{op}: null matches nothing; for a missing property use filter: '{key[13:]} IS NULL'")


def matches_query(item: Mapping[str, Any], query: Mapping[str, Mapping[str, Any]] | None) -> bool:
    """Whether an item meets every condition; the query has been checked."""
    return all(
        _holds(value, op, wanted)
        for name, conditions in (query or {}).items()
        for value in (_value(item, name),)
        for op, wanted in conditions.items()
    )


def _value(item: Mapping[str, Any], name: str) -> Any:
    if name in {"id", "collection"}:
        return item.get(name)
    return item["properties"].get(name.removeprefix("properties."))


def _holds(value: Any, op: str, wanted: Any) -> bool:
    if value is None:
        return False
    if op == "in":
        return any(_equal(value, one) for one in wanted)
    if op in {"eq", "neq"}:
        return _equal(value, wanted) == (op == "eq")
    if op in _TEXT:
        return _TEXT[op](value, wanted)
    pair = _comparable(value, wanted)
    return pair is not None and _ORDER[op](*pair)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    pair = _comparable(value, wanted)
    return bool(value == wanted) if pair is None else bool(pair[0] == pair[1])


def _comparable(value: Any, wanted: Any) -> tuple[Any, Any] | None:
    """Both as numbers, as times or as texts; None where they are of different kinds."""
    if isinstance(value, bool) or isinstance(wanted, bool):
        return None
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return value, wanted
    if isinstance(value, str) and isinstance(wanted, str):
        times = _time(value), _time(wanted)
        return times if None not in times else (value, wanted)
    return None


def _time(text: str) -> datetime | None:
    if len(text) < 10 or text[4:5] != "-":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


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
            raise SpecError(f"source.filter: not CQL2: {_said(error)}; mend it") from None
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
                f"source.filter: cannot be evaluated on item {item.get('id')!r}: {_said(error)}; simplify the filter"
            ) from None


def _operators(node: object) -> set[str]:
    if isinstance(node, list):
        return set().union(*(_operators(part) for part in node))
    if not isinstance(node, dict):
        return set()
    own = {str(node["op"])} if "op" in node else set()
    return own.union(*(_operators(part) for part in node.values()))


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith("|"))[:200]
