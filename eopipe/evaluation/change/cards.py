"""Sets of labelled pairs for change detection: a frozen card a set, and the figures that were published on it.

The settings behind these figures are in `eopipe.kernels.change.dynamicearth.published_settings`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from eopipe.errors import SpecError
from eopipe.evaluation.cards import Side, look_up, printed_cells, shipped_tables

Code = Annotated[int, Field(ge=0, le=255)]


@dataclass(frozen=True, kw_only=True)
class ChangeCard:
    """A set of labelled pairs.

    Attributes:
        name: Name on the command line.
        title: Usual name, with the split.
        labels: How labels are read. ``binary``: above 127.5 is change (of files that hold only 0 and 1, 1 is).
            ``classes``: 0 unchanged, 1 changed, 255 not judged. ``either``: a file a date, classes of what changed; a
            category changed where either date is it. ``damage``: xBD's polygons, destroyed and major-damage being
            change. ``scenes``: georeferenced rasters beside STAC items; its places are run, and their mosaics judged.
        categories: Categories of change that the labels tell apart.
        dataset: Name in the published settings and figures; None: there are none.
        folders: Rows of relative folders: before, after, labels (of ``either`` two).
        names: Names without suffix of the same, ``*`` standing for what a pair's files share.
        side: Side of the set's pictures, pixels; None: of any size.
        pairs: Number of pairs behind the published figures; None: not stated.
        label_asset: Of ``scenes``: the asset with the labels.
        changed: Of ``scenes``: the value of change.
        unchanged: Of ``scenes``: the value of no change; others are not judged.
        place: Of ``scenes``: the property that names an item's place; None: items that overlap are of one place.
        gsd: Ground sampling distance in metres, as the authors state it; empty: not stated.
        licence: Terms, in short.
        note: Shown with every result.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    title: str
    labels: Literal["binary", "classes", "either", "damage", "scenes"]
    categories: tuple[str, ...] = ("building",)
    dataset: str | None = None
    folders: tuple[tuple[str, ...], ...] = ()
    names: tuple[str, str, str] = ("*", "*", "*")
    side: Side | None = None
    pairs: Side | None = None
    label_asset: str = "label"
    changed: Code = 1
    unchanged: Code = 0
    place: str | None = None
    gsd: str = ""
    licence: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        columns = 4 if self.labels == "either" else 3
        if self.labels != "scenes" and (not self.folders or any(len(row) != columns for row in self.folders)):
            raise ValueError(f"folders needs rows of {columns}: before, after and labels")
        if not self.categories:
            raise ValueError("categories is empty; name at least one")
        if any(pattern.count("*") != 1 for pattern in self.names):
            raise ValueError("each of names needs one *, for what a pair's files share")
        if self.changed == self.unchanged:
            raise ValueError("changed and unchanged are the same value")

    def category(self, name: str | None) -> str:
        """A category by name; None: the only one.

        Raises:
            SpecError: The set has no such category, or several, of which one must be named.
        """
        if name is None and len(self.categories) == 1:
            return self.categories[0]
        if name not in self.categories:
            problem = "needs a --category" if name is None else f"has no category {name!r}"
            verb = "are" if len(self.categories) > 1 else "is"
            raise SpecError(f"{self.title} {problem}; there {verb} {', '.join(self.categories)}")
        return name


def find_set(name: str) -> ChangeCard:
    """A shipped card by name, or a user's by the path of its TOML file.

    Raises:
        SpecError: No such card, or the file is none.
    """
    return look_up(name, sets(), _ADAPTER, kind="change set")


@lru_cache(maxsize=1)
def sets() -> dict[str, ChangeCard]:
    """The shipped cards by name."""
    return {row["name"]: _ADAPTER.validate_python(row) for row in shipped_tables("change.toml")["card"]}


@dataclass(frozen=True)
class ChangeFigure:
    """A published pair of numbers.

    Args:
        method: The row.
        iou: Percent, of change; None: not printed.
        f1: The same.
        table: Title of the table.
        instantiation: Combination whose published settings a comparable run has; None: no run is comparable.
        note: Remark on the table.
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


def figures(card: ChangeCard, category: str) -> list[ChangeFigure]:
    """Everything published on a category of a set, table by table."""
    return [figure for column, figure in _published() if column == (card.dataset, category)]


def figure_of(card: ChangeCard, category: str, instantiation: str) -> ChangeFigure | None:
    """The figure that was published of an instantiation on a category of a set; None: none was."""
    return next((figure for figure in figures(card, category) if figure.instantiation == instantiation), None)


@lru_cache(maxsize=1)
def _published() -> list[tuple[tuple[str, ...], ChangeFigure]]:
    rows = []
    for table, method, column, cell in printed_cells("change_published.toml", "dataset", "category"):
        iou, f1 = (None if math.isnan(number) else float(number) for number in cell)
        if iou is not None or f1 is not None:
            combination = table["instantiations"].get(method)
            rows.append((column, ChangeFigure(method, iou, f1, table["title"], combination, table.get("note", ""))))
    return rows


_ADAPTER = TypeAdapter(ChangeCard)
