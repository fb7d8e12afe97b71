"""What was published on the sets of pairs, and which of it a run stands beside."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.evaluation.change.cards import ChangeCard


@dataclass(frozen=True)
class Figure:
    """One printed pair of numbers.

    Args:
        method: The row.
        iou: Percent, of change; None: not printed.
        f1: Likewise.
        table: Where it stands.
        instantiation: Whose published settings a run must have to be comparable; None: no run of ours is.
        note: What must be known of the table.
    """

    method: str
    iou: float | None
    f1: float | None
    table: str
    instantiation: str | None = None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"method": self.method, "IoU": self.iou, "F1": self.f1, "table": self.table}


def figures(card: ChangeCard, category: str) -> list[Figure]:
    """Everything published on a set's category, table by table."""
    return [found for dataset, asked, found in _all() if (dataset, asked) == (card.dataset, category)]


def figure_of(card: ChangeCard, category: str, instantiation: str) -> Figure | None:
    """What was published of an instantiation on a set's category; None: nothing was."""
    found = (each for each in figures(card, category) if each.instantiation == instantiation)
    return next(found, None)


@lru_cache(maxsize=1)
def _all() -> list[tuple[str, str, Figure]]:
    text = resources.files("eopipe.evaluation").joinpath("data/change_published.toml").read_text(encoding="utf-8")
    return [
        (dataset, category, _figure(table, method, iou, f1))
        for table in tomllib.loads(text)["table"]
        for method, row in table["rows"].items()
        for dataset, category, (iou, f1) in zip(table["dataset"], table["category"], row, strict=True)
        if not (math.isnan(iou) and math.isnan(f1))
    ]


def _figure(table: Mapping[str, Any], method: str, iou: float, f1: float) -> Figure:
    known = table["instantiations"].get(method)
    return Figure(method, _known(iou), _known(f1), table["title"], known, table.get("note", ""))


def _known(percent: float) -> float | None:
    return None if math.isnan(percent) else percent
