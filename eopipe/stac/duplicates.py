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
from typing import TYPE_CHECKING, Any, NamedTuple

import shapely

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from eopipe.snapshot import Row

SAME_GROUND = 0.8
"""Intersection over union of footprints above which two products of a datatake and tile are one scene."""

_STRIP = re.compile(r"_S(\d{8}T\d{6})_N")


@dataclass(frozen=True)
class Duplicate:
    """A scene that was left out, and the one that stands for it.

    Args:
        epoch: Name of the epoch.
        chosen: ``collection/id`` of the item that stays.
        dropped: ``collection/id`` of the item that is left out.
        why: What decided, for people.
    """

    epoch: str
    chosen: str
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
        The rows that stay, in the order given, and one `Duplicate` for each that is left out.
    """
    groups: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in rows:
        if row.datatake and row.mgrs:
            groups.setdefault((row.epoch, row.level or "", row.datatake, row.mgrs), []).append(row)
    duplicates = [
        (row, why) for group in groups.values() if len(group) > 1 for row, why in _reduce(group, collections)
    ]
    dropped = {id(row) for row, _ in duplicates}
    return [row for row in rows if id(row) not in dropped], [duplicate for _, duplicate in duplicates]


def _reduce(group: list[Row], collections: Sequence[str]) -> Iterator[tuple[Row, Duplicate]]:
    chosen: list[_Product] = []
    ranked = sorted((_product(row, collections) for row in group), key=lambda product: product.rank, reverse=True)
    for product in ranked:
        better = next((other for other in chosen if _same_scene(other, product)), None)
        if better is None:
            chosen.append(product)
        else:
            names = _name(better.row), _name(product.row)
            yield product.row, Duplicate(product.row.epoch, *names, _why(better.rank, product.rank))


class _Product(NamedTuple):
    """One product of a scene: what decides between two of them (larger is newer), and its datastrip's start."""

    row: Row
    rank: tuple[Any, ...]
    strip: str | None


def _why(better: tuple[Any, ...], worse: tuple[Any, ...]) -> str:
    names = ("baseline", "generation time", "order of collections", "created", "sequence", "id")
    decided = next((n for n, (a, b) in enumerate(zip(better, worse, strict=True)) if a != b), None)
    if decided is None:
        return "the same item twice"
    if decided == 2:
        return "the same product; its collection comes first in the spec"
    return f"{names[decided]} {_shown(better[decided])} is newer than {_shown(worse[decided])}"


def _product(row: Row, collections: Sequence[str]) -> _Product:
    properties: dict[str, Any] = json.loads(row.text)["properties"]
    numbers = tuple(int(part) for part in re.findall(r"\d+", row.baseline or ""))
    generated = str(properties.get("s2:generation_time") or _generated(properties, row.id))
    order = -collections.index(row.collection) if row.collection in collections else -len(collections)
    created = str(properties.get("created") or "")
    sequence = str(properties.get("s2:sequence") or properties.get("sentinel:sequence") or "0")
    strip = _STRIP.search(str(properties.get("s2:datastrip_id") or ""))
    rank = (numbers, generated[:19], order, created, sequence.zfill(4), row.id)
    return _Product(row, rank, strip[1] if strip else None)


def _generated(properties: dict[str, Any], item_id: str) -> str:
    """Generation time from the last part of a product's name."""
    for name in (properties.get("s2:product_uri"), properties.get("sentinel:product_id"), item_id):
        match = re.search(r"_(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})(?:\.SAFE)?$", str(name or ""))
        if match:
            return match.expand(r"\1-\2-\3T\4:\5:\6")
    return ""


def _same_scene(a: _Product, b: _Product) -> bool:
    if a.strip is not None and a.strip == b.strip:
        return True
    shapes = [a.row.geometry, b.row.geometry]
    if None in shapes:
        return a.row.datetime == b.row.datetime
    first, second = shapely.make_valid(shapely.from_wkb(shapes))
    union = shapely.area(shapely.union(first, second))
    return bool(union > 0 and shapely.area(shapely.intersection(first, second)) / union >= SAME_GROUND)


def _name(row: Row) -> str:
    return f"{row.collection}/{row.id}" if row.collection else row.id


def _shown(value: Any) -> str:
    return ".".join(f"{part:02d}" for part in value) or "none" if isinstance(value, tuple) else str(value) or "none"
