"""The same scene more than once: kept in its newest processing.

Two Sentinel-2 items are one scene if they share epoch, processing level, datatake and MGRS tile *and* show the
same ground. The last matters: where a datatake was sent down to two stations, one tile has two products of
complementary halves (Earth Search calls them ``_0_`` and ``_1_`` too), and dropping either loses data. So items
are compared by their datastrip's start, and where that differs or is unknown by how much their footprints overlap.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import shapely

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.snapshot import Row

SAME_GROUND = 0.8
"""Intersection over union of footprints above which two products of a datatake and tile are one scene."""

_STRIP = re.compile(r"_S(\d{8}T\d{6})_N")


@dataclass(frozen=True)
class Duplicate:
    """A scene that was left out, and the one that stands for it.

    Args:
        epoch: Name of the epoch.
        kept: ``collection/id`` of the item that stays.
        dropped: ``collection/id`` of the item that goes.
        why: What decided, for people.
    """

    epoch: str
    kept: str
    dropped: str
    why: str


def reduce_duplicates(rows: Sequence[Row], collections: Sequence[str]) -> tuple[list[Row], list[Duplicate]]:
    """Keep the newest processing of each scene.

    Newest means the highest baseline, then the latest generation time; where both are equal (the same product in
    two collections) the collection that the spec names first wins, then the latest ``created``, the highest
    sequence, the larger id.

    Args:
        rows: Described items, any order.
        collections: Ids in the order of the spec.

    Returns:
        The rows that stay, in the order given, and one `Duplicate` for each that goes.
    """
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        if row.datatake and row.mgrs:
            groups.setdefault((row.epoch, row.level or "", row.datatake, row.mgrs), []).append(row)
    dropped: list[Duplicate] = []
    gone: set[int] = set()
    for group in groups.values():
        if len(group) > 1:
            _reduce(group, collections, dropped, gone)
    return [row for row in rows if id(row) not in gone], dropped


def _reduce(group: list[Row], collections: Sequence[str], dropped: list[Duplicate], gone: set[int]) -> None:
    ranked = sorted(((_rank(row, collections), row) for row in group), key=lambda pair: pair[0].key, reverse=True)
    kept: list[tuple[_Rank, Row]] = []
    for rank, row in ranked:
        better = next((pair for pair in kept if _same_scene(pair, (rank, row))), None)
        if better is None:
            kept.append((rank, row))
            continue
        gone.add(id(row))
        dropped.append(Duplicate(row.epoch, _name(better[1]), _name(row), better[0].over(rank)))


@dataclass(frozen=True)
class _Rank:
    """What decides between two products of one scene; larger is newer."""

    key: tuple[Any, ...]
    strip: str | None

    def over(self, other: _Rank) -> str:
        names = ("baseline", "generation time", "order of collections", "created", "sequence", "id")
        decided = next((i for i, (a, b) in enumerate(zip(self.key, other.key, strict=True)) if a != b), None)
        if decided is None:
            return "the same item twice"
        if decided == 2:
            return "the same product; its collection comes first in the spec"
        shown = [_shown(key[decided]) for key in (self.key, other.key)]
        return f"{names[decided]} {shown[0]} is newer than {shown[1]}"


def _rank(row: Row, collections: Sequence[str]) -> _Rank:
    properties: dict[str, Any] = json.loads(row.text)["properties"]
    numbers = tuple(int(part) for part in re.findall(r"\d+", row.baseline or ""))
    generated = str(properties.get("s2:generation_time") or _generated(properties, row.id))
    order = -collections.index(row.collection) if row.collection in collections else -len(collections)
    created = str(properties.get("created") or "")
    sequence = str(properties.get("s2:sequence") or properties.get("sentinel:sequence") or "0")
    strip = _STRIP.search(str(properties.get("s2:datastrip_id") or ""))
    key = (numbers, generated[:19], order, created, sequence.zfill(4), row.id)
    return _Rank(key, strip[1] if strip else None)


def _generated(properties: dict[str, Any], item_id: str) -> str:
    """Generation time from the last part of a product's name."""
    for name in (properties.get("s2:product_uri"), properties.get("sentinel:product_id"), item_id):
        match = re.search(r"_(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})(?:\.SAFE)?$", str(name or ""))
        if match:
            year, month, day, hour, minute, second = match.groups()
            return f"{year}-{month}-{day}T{hour}:{minute}:{second}"
    return ""


def _same_scene(one: tuple[_Rank, Row], other: tuple[_Rank, Row]) -> bool:
    if one[0].strip is not None and one[0].strip == other[0].strip:
        return True
    shapes = [row.geometry for _, row in (one, other)]
    if shapes[0] is None or shapes[1] is None:
        return one[1].datetime == other[1].datetime
    first, second = shapely.make_valid(shapely.from_wkb(shapes))
    union = shapely.area(shapely.union(first, second))
    return bool(union > 0 and shapely.area(shapely.intersection(first, second)) / union >= SAME_GROUND)


def _name(row: Row) -> str:
    return f"{row.collection}/{row.id}" if row.collection else row.id


def _shown(value: Any) -> str:
    return ".".join(f"{part:02d}" for part in value) or "none" if isinstance(value, tuple) else str(value) or "none"
