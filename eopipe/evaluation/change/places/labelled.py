"""Labelled places of a STAC collection: two dates and what changed between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.errors import ItemError, SpecError
from eopipe.evaluation.change.mosaics import LabelRaster
from eopipe.evaluation.dataset import local_path, read_items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.evaluation.change.cards import ChangeCard

COVERING = 0.5
"""Intersection over union of two items' boxes from which on they are of one place, where no property names it."""


@dataclass(frozen=True)
class Place:
    """What is run and judged.

    Args:
        name: Of its folder and its lines.
        catalog: The STAC document that holds its items.
        collections: Ids, for the search.
        area: West, south, east, north in degrees: the later item's.
        before: The earlier day.
        after: The later one.
        label: What changed.
    """

    name: str
    catalog: str
    collections: tuple[str, ...]
    area: tuple[float, ...]
    before: str
    after: str
    label: LabelRaster


def find_places(address: str, card: ChangeCard, *, wanted: Sequence[str] = ()) -> list[Place]:
    """The places of a static STAC document, by name.

    An item with labels is a place's later date; the last item of the same place before it is the earlier one.

    Args:
        address: Of its JSON.
        card: Names the label asset, its values and the property of the place.
        wanted: Names; empty: all.

    Raises:
        CatalogError: The document cannot be read.
        ItemError: No item has labels, or an item lacks its box, its date or an earlier one.
        SpecError: A wanted place is not there.
    """
    catalog = address if "://" in address else str(Path(address).absolute())
    items = sorted(read_items(address), key=lambda item: (_day(item), item.id))
    later = [item for item in items if card.label_asset in item.assets]
    if not later:
        raise ItemError(
            f"no item of {address} has an asset {card.label_asset!r}; name the labels' with --label-asset"
        )
    found: dict[str, Place] = {}
    for item in later:
        place = _place(item, items, catalog, card)
        if place.name in found:
            raise ItemError(f"two items with labels are of the place {place.name}; name places by --place-property")
        found[place.name] = place
    missing = [name for name in wanted if name not in found]
    if missing:
        raise SpecError(f"there is no labelled place {missing[0]!r}; there are {', '.join(sorted(found))}")
    return [found[name] for name in sorted(found) if not wanted or name in wanted]


def _place(item: Any, items: Sequence[Any], address: str, card: ChangeCard) -> Place:
    earlier = [other for other in items if _day(other) < _day(item) and _same(other, item, card.place)]
    if not earlier:
        raise ItemError(f"item {item.id} has labels, but no earlier item of its place; add it, or its {card.place}")
    label = item.assets[card.label_asset]
    name = str(item.properties[card.place]) if card.place else item.id
    return Place(
        name=re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") or "place",
        catalog=address,
        collections=(item.collection_id,) if item.collection_id else (),
        area=_box(item),
        before=_day(earlier[-1]),
        after=_day(item),
        label=LabelRaster(local_path(label.get_absolute_href() or label.href), card.changed, card.unchanged),
    )


def _same(one: Any, other: Any, name: str | None) -> bool:
    """Whether two items are of one place."""
    if name is not None:
        if name not in other.properties:
            raise ItemError(
                f"item {other.id} has no property {name!r}, which names its place; give another --place-property"
            )
        return bool(one.properties.get(name) == other.properties[name])
    (a_west, a_south, a_east, a_north), (b_west, b_south, b_east, b_north) = _box(one), _box(other)
    width = min(a_east, b_east) - max(a_west, b_west)
    height = min(a_north, b_north) - max(a_south, b_south)
    both = max(width, 0.0) * max(height, 0.0)
    areas = (a_east - a_west) * (a_north - a_south) + (b_east - b_west) * (b_north - b_south)
    return both >= COVERING * (areas - both) > 0


def _box(item: Any) -> tuple[float, ...]:
    if item.bbox is None or len(item.bbox) != 4:
        raise ItemError(f"item {item.id} has no bbox of four numbers; add west, south, east, north")
    return tuple(float(value) for value in item.bbox)


def _day(item: Any) -> str:
    if item.datetime is None:
        raise ItemError(f"item {item.id} has no datetime; add it, as the two dates are told by it")
    return str(item.datetime.date().isoformat())
