"""The question that a search puts to a catalog of any kind, and the items that come back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import shapely

from eopipe.errors import CatalogError, CatalogRequestError, ItemError, SpecError, one_line
from eopipe.redact import redact, unsign
from eopipe.stac.describe_item import check_item
from eopipe.stac.footprints import box_geometry, item_bbox, item_geometry
from eopipe.stac.http import HttpError
from eopipe.stac.time_range import item_times

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from eopipe.area.lonlat import Area
    from eopipe.stac.query import Cql2, Query
    from eopipe.stac.time_range import TimeRange


_HALF_GLOBE = 180.0


@dataclass(frozen=True)
class CatalogItem:
    """One item of a catalog.

    Args:
        item: As received; a mapping where it is an item.
        href: Address of the document that holds it; relative hrefs start there.
        collection: Id of the collection that the catalog files it under, or None.
        fault: Why it cannot be used, where that is known already.
    """

    item: Any
    href: str | None
    collection: str | None = None
    fault: ItemError | None = None


@dataclass(frozen=True)
class Question:
    """The question to a catalog for one epoch.

    Args:
        area: Where.
        time: When.
        collections: Ids; empty means all of a static catalog or file.
        ids: Only these items; None means all.
        query: STAC query.
        filter: CQL2, parsed.
        max_items: More than this many is refused.
    """

    area: Area
    time: TimeRange
    collections: tuple[str, ...] = ()
    ids: frozenset[str] | None = None
    query: Query | None = None
    filter: Cql2 | None = None
    max_items: int = 200_000

    def guard(self, count: object) -> None:
        """Refuse more than ``max_items``: a filter was forgotten.

        Raises:
            SpecError: With the ways out.
        """
        if isinstance(count, int) and count > self.max_items:
            raise SpecError(
                f"source: {count} items match, or more, above max_items {self.max_items}; narrow datetime, area or "
                "query, or raise source.max_items"
            )

    def limited(self, items: Iterator[CatalogItem]) -> Iterator[CatalogItem]:
        """The items, as far as ``max_items``.

        Raises:
            SpecError: There are more.
        """
        for count, item in enumerate(items, start=1):
            self.guard(count)
            yield item

    def names(self, item: object) -> bool:
        """Whether ``ids`` lets an item through; of others it does not matter what is wrong with them."""
        return self.ids is None or not isinstance(item, dict) or item.get("id") in self.ids

    def matches(self, item: dict[str, Any]) -> bool:
        """Whether everything matches (but the collection); an item is judged by its id, then by its properties.

        Raises:
            ItemError: Its time or its place cannot be read.
        """
        return (
            self.names(item)
            and (self.query is None or self.query.matches(item))
            and self.time.overlaps(*item_times(item))
            and touches(item, self.area)
            and (self.filter is None or self.filter.matches(item))
        )

    def judge(self, entry: CatalogItem) -> CatalogItem | None:
        """The entry if its item matches, or if its item cannot be read, with the fault; else None."""
        try:
            if self.names(entry.item):
                check_item(entry.item, entry.href)
            return entry if self.matches(entry.item) else None
        except ItemError as fault:
            return replace(entry, fault=fault)

    def unmet(self, item: dict[str, Any]) -> str:
        """The part of the question that an item which an API sent does not meet; empty where it meets all.

        Raises:
            ItemError: Its time or its place cannot be read.
        """
        if not self.names(item):
            return "ids"
        if self.collections and item.get("collection") not in (None, *self.collections):
            return "collections"
        if not self.time.overlaps(*item_times(item)):
            return "datetime"
        if not touches(item, self.area):
            return "area"
        return "query" if self.query is not None and self.query.contradicted_by(item) else ""

    def refuse_unknown(self, known: Collection[str], url: str) -> None:
        """Refuse a collection that the catalog does not hold.

        Raises:
            SpecError: With those that it holds.
        """
        missing = [name for name in self.collections if name not in known]
        if missing:
            raise SpecError(
                f"source.collections: {unsign(url)} has no collection {missing[0]!r}; "
                f"it has {', '.join(sorted(known)[:20]) or 'none'}"
            )


def touches(item: dict[str, Any], area: Area) -> bool:
    """Whether an item's footprint touches the area; its bbox counts where it has no geometry."""
    box = item_bbox(item)
    # a wide box may be that of a scene across 180 degrees
    narrow = box is not None and box[2] - box[0] <= _HALF_GLOBE
    if box is not None and narrow and not shapely.intersects(box_geometry(box), area.geometry):
        return False
    geometry = item_geometry(item)
    if geometry is None:  # where nothing says where it is, describing it will name what is missing
        return box is None or bool(shapely.intersects(box_geometry(box), area.geometry))
    return bool(shapely.intersects(shapely.make_valid(geometry), area.geometry))


def self_link(item: dict[str, Any]) -> str | None:
    """Address that an item gives for itself; None where it is relative or missing."""
    links = item.get("links") or ()
    href = next((link.get("href") for link in links if isinstance(link, dict) and link.get("rel") == "self"), None)
    return href if isinstance(href, str) and "://" in href else None


def catalog_error(url: str, error: Exception) -> CatalogError:
    """A catalog's failure as one line: the address without secrets, what was said, and what to do."""
    status = error.status if isinstance(error, HttpError) else None
    reason = redact(one_line(error))[:300]
    remedies = {
        401: "it wants credentials",
        403: "access is denied; check your credentials and rights",
        404: "nothing is there; check the address",
        410: "nothing is there any more; check the address",
        429: "it limits the rate; try again later",
    }
    if isinstance(error, HttpError) and not error.transient and status is not None and status not in remedies:
        remedy = "the catalog refuses this request for good; change what source and area say, or the address"
        return CatalogRequestError(f"catalog {unsign(url)}: {reason}; {remedy}")
    return CatalogError(
        f"catalog {unsign(url)}: {reason}; {remedies.get(status or 0, 'try again later, or check the address')}"
    )
