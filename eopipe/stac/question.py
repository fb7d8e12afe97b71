"""What every kind of catalog has in common: a question asked of it, and items that come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import shapely

from eopipe.errors import CatalogError, SpecError
from eopipe.redact import redact, unsign
from eopipe.stac.footprints import box_geometry, item_bbox, item_geometry
from eopipe.stac.http import HttpError
from eopipe.stac.query import Cql2, matches_query
from eopipe.stac.time_range import item_times

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.area.on_grid import Area
    from eopipe.stac.time_range import TimeRange


@dataclass(frozen=True)
class Found:
    """One item, and where it was found.

    Args:
        item: As received.
        href: Address of the document that it stands in; relative hrefs start there.
        collection: Id of the collection that the catalog files it under, or None.
    """

    item: dict[str, Any]
    href: str | None
    collection: str | None = None


@dataclass(frozen=True)
class Question:
    """What is asked of a catalog for one epoch.

    Args:
        area: Where.
        time: When.
        collections: Ids; empty means all of a static catalog or file.
        ids: Only these items; None means all.
        query: STAC query, checked.
        filter: CQL2, parsed.
        max_items: More than this many is refused.
    """

    area: Area
    time: TimeRange
    collections: tuple[str, ...] = ()
    ids: frozenset[str] | None = None
    query: Mapping[str, Mapping[str, Any]] | None = None
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

    def about(self, item: dict[str, Any]) -> bool:
        """Whether id, time and place match: what is cheap."""
        if self.ids is not None and item.get("id") not in self.ids:
            return False
        return self.time.overlaps(*item_times(item)) and touches(item, self.area)

    def matches(self, item: dict[str, Any]) -> bool:
        """Whether everything matches (but the collection)."""
        if not self.about(item) or not matches_query(item, self.query):
            return False
        return self.filter is None or self.filter.matches(item)


def touches(item: dict[str, Any], area: Area) -> bool:
    """Whether an item's footprint touches the area; its bbox stands in where it has no geometry."""
    box = item_bbox(item)
    if box is not None and not shapely.intersects(box_geometry(box), area.geometry):
        return False
    geometry = item_geometry(item)
    # Where nothing says where it is, describing it will name what is missing.
    return geometry is None or bool(shapely.intersects(shapely.make_valid(geometry), area.geometry))


def catalog_error(url: str, error: Exception) -> CatalogError:
    """A catalog's failure as one line: the address without secrets, what was said, and what to do."""
    status = error.status if isinstance(error, HttpError) else None
    said = redact(" ".join(str(error).split()))[:300]
    todo = {
        401: "it wants credentials",
        403: "access is denied; check your credentials and rights",
        404: "nothing is there; check the address",
        429: "it limits the rate; try again later",
    }.get(status or 0, "try again later, or check the address")
    return CatalogError(f"catalog {unsign(url)}: {said}; {todo}")
