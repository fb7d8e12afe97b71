"""Labelled places of a STAC collection: two dates and labels of the change between them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shapely

from eopipe.errors import ItemError, SpecError
from eopipe.evaluation.change.mosaics import LabelRaster
from eopipe.evaluation.dataset import asset_path, read_items

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.evaluation.change.cards import ChangeCard

LEAST_OVERLAP = 0.5
"""Least intersection over union of the boxes of two items of one place, where no property names it."""


@dataclass(frozen=True)
class LabelledPlace:
    """Two dates of a place and the labels of the change between them.

    Args:
        name: Name of its folder and its rows.
        catalog: Address of the STAC document with its items.
        collections: Collection ids, for the search.
        area: West, south, east, north in degrees, of the later item.
        before: The earlier day.
        after: The later day.
        label: The labels.
    """

    name: str
    catalog: str
    collections: tuple[str, ...]
    area: tuple[float, ...]
    before: str
    after: str
    label: LabelRaster


def find_places(address: str, card: ChangeCard, *, names: Sequence[str] = ()) -> list[LabelledPlace]:
    """The places of a static STAC document, sorted by name.

    An item with labels is the later date of its place; the last item of the same place before it is the earlier one.

    Args:
        address: Path or address of its JSON.
        card: Names the label asset, its values and the property of the place.
        names: Names of the places; empty: all.

    Raises:
        CatalogError: The document cannot be read.
        ItemError: No item has labels, or an item lacks its box, its date or an earlier item of its place.
        SpecError: A name is of no place.
    """
    catalog = address if "://" in address else str(Path(address).absolute())
    items = sorted(read_items(address), key=lambda item: (_day(item), item.id))
    later = [item for item in items if card.label_asset in item.assets]
    if not later:
        raise ItemError(f"no item of {address} has an asset {card.label_asset!r}; name it with --label-asset")
    places: dict[str, LabelledPlace] = {}
    for item in later:
        place = _place(item, items, catalog, card)
        if place.name in places:
            raise ItemError(f"two items with labels are of the place {place.name}; name places by --place-property")
        places[place.name] = place
    missing = [name for name in names if name not in places]
    if missing:
        raise SpecError(f"there is no labelled place {missing[0]!r}; there are {', '.join(sorted(places))}")
    return [places[name] for name in sorted(places) if not names or name in names]


def _place(item: Any, items: Sequence[Any], address: str, card: ChangeCard) -> LabelledPlace:
    earlier = [before for before in items if _day(before) < _day(item) and _same_place(before, item, card.place)]
    if not earlier:
        raise ItemError(
            f"item {item.id} has labels, but no earlier item of its place; give a collection with both dates, or "
            f"name places with --place-property"
        )
    name = str(item.properties[card.place]) if card.place else item.id
    return LabelledPlace(
        name=re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.") or "place",
        catalog=address,
        collections=(item.collection_id,) if item.collection_id else (),
        area=_box(item),
        before=_day(earlier[-1]),
        after=_day(item),
        label=LabelRaster(asset_path(item.assets[card.label_asset]), card.changed, card.unchanged),
    )


def _same_place(before: Any, item: Any, name: str | None) -> bool:
    """Whether an earlier item is of the place of an item: by a property, or by the overlap of their boxes."""
    if name is not None:
        if name not in item.properties:
            raise ItemError(f"item {item.id} has no property {name!r} for its place; give another --place-property")
        return bool(before.properties.get(name) == item.properties[name])
    first, second = shapely.box(*_box(before)), shapely.box(*_box(item))
    overlap = float(first.intersection(second).area)
    return bool(overlap >= LEAST_OVERLAP * (first.area + second.area - overlap) > 0)


def _box(item: Any) -> tuple[float, ...]:
    if item.bbox is None or len(item.bbox) != 4:
        raise ItemError(f"item {item.id} has no bbox of four numbers; give a collection without it")
    return tuple(float(value) for value in item.bbox)


def _day(item: Any) -> str:
    if item.datetime is None:
        raise ItemError(f"item {item.id} has no datetime, which orders the dates; give a collection without it")
    return str(item.datetime.date().isoformat())
