"""What others published on the same data sets, and which of it a run may be compared with."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.evaluation.cards import Card


@dataclass(frozen=True)
class Figure:
    """One printed number.

    Args:
        method: The row.
        percent: mIoU, or IoU of class 1, as printed.
        table: Where it stands.
        encoder: The image tower of the table.
        settings: What a run must use to be comparable; empty: no run of ours is.
        note: What must be known of the table.
    """

    method: str
    percent: float
    table: str
    encoder: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""


def figures(card: Card) -> list[Figure]:
    """Everything published on a card's data set, table by table."""
    return [figure for column, figure in _all() if column == card.column]


def comparable(card: Card, settings: Mapping[str, Any]) -> Figure | None:
    """The published figure that a run with these settings stands beside.

    Args:
        card: The data set.
        settings: What the run uses: ``model``, ``attention``, ``upsampler``, ``bias``, ``resize``.

    Returns:
        The row whose settings are the run's, or None.
    """
    for figure in figures(card):
        wanted = {"resize": card.resize, **figure.settings}
        wanted = {key: getattr(card, key) if value == "card" else value for key, value in wanted.items()}
        if (
            figure.settings
            and figure.encoder == settings["model"]
            and all(_same(settings[key], value) for key, value in wanted.items())
        ):
            return figure
    return None


def main_figure(card: Card) -> Figure | None:
    """The published figure of the card's own settings."""
    return comparable(
        card,
        {key: getattr(card, key) for key in ("model", "attention", "upsampler", "bias", "resize")},
    )


def averages() -> list[tuple[Figure, float]]:
    """Printed averages with the mean of their own row: where the two differ, the print is stale."""
    found = []
    for table in _tables():
        if table["columns"][-1] == "Avg":
            for method, row in table["rows"].items():
                found.append((_figure(table, method, row[-1]), math.fsum(row[:-1]) / (len(row) - 1)))
    return found


def _same(one: Any, other: Any) -> bool:
    return one == other if isinstance(one, str) else math.isclose(one, other, abs_tol=1e-9)


@lru_cache(maxsize=1)
def _all() -> list[tuple[str, Figure]]:
    return [
        (column, _figure(table, method, percent))
        for table in _tables()
        for method, row in table["rows"].items()
        for column, percent in zip(table["columns"], row, strict=True)
        if not math.isnan(percent)
    ]


def _figure(table: Mapping[str, Any], method: str, percent: float) -> Figure:
    settings = table.get("settings", {}).get(method, {})
    return Figure(method, percent, table["title"], table["encoder"], settings, table.get("note", ""))


@lru_cache(maxsize=1)
def _tables() -> list[dict[str, Any]]:
    text = resources.files("eopipe.evaluation").joinpath("data/published.toml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["table"]
    return found
