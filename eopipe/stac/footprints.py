"""An item's footprint: its geometry and its bbox, checked, with longitudes as RFC 7946 has them.

Across 180 degrees catalogs write polygons unsplit, with longitudes of both signs, or beyond 180 (also 0 to 360).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape

from eopipe.errors import ITEM_REMEDY, ItemError, one_line

Box = tuple[float, float, float, float]

_AROUND = 359.999
"""Degrees from which on an edge goes round the globe, and does not cross its back."""


def item_geometry(item: dict[str, Any]) -> Any | None:
    """The geometry in lon/lat, between -180 and 180; None where the item has none.

    Raises:
        ItemError: It is not GeoJSON.
    """
    value = item.get("geometry")
    if value is None:
        return None
    try:
        geometry = shape(value)
        finite = geometry.is_empty or all(map(math.isfinite, geometry.bounds))
    except (ShapelyError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = one_line(error, 120)
        raise _refusal(item, f"its geometry is not GeoJSON ({reason})") from None
    if not finite:
        raise _refusal(item, "its geometry has coordinates that are no numbers")
    return None if geometry.is_empty else normal_longitudes(geometry)


def flat_box(value: Any) -> list[float]:
    """The numbers of a box without the heights of a 3D one."""
    numbers = list(map(float, value))
    return [*numbers[:2], *numbers[3:5]] if len(numbers) == 6 else numbers


def item_bbox(item: dict[str, Any]) -> Box | None:
    """West, south, east, north of the item's bbox (2D or 3D), or None; west > east across the antimeridian.

    Raises:
        ItemError: It is not four or six numbers, or it stands on its head.
    """
    value = item.get("bbox")
    if not value:
        return None
    try:
        numbers = flat_box(value)
    except (TypeError, ValueError):
        raise _refusal(item, f"its bbox {value!r} is not numbers") from None
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise _refusal(item, f"its bbox {value!r} is not 4 or 6 numbers")
    west, south, east, north = numbers
    if south > north:
        raise _refusal(item, f"its bbox {value!r} has south above north")
    if east - west >= 360:
        return (-180.0, south, 180.0, north)
    if min(west, east) < -180 or max(west, east) > 180:
        west, east = _wrapped(west), _wrapped(east)
    return (west, south, east, north)


def _wrapped(longitude: float) -> float:
    return longitude if -180 <= longitude <= 180 else (longitude + 180) % 360 - 180


def normal_longitudes(geometry: Any) -> Any:
    """A geometry whose longitudes lie between -180 and 180, split at 180 degrees where it crosses them.

    An edge of more than half the globe is read as crossing 180 degrees, unless it goes all round.

    Args:
        geometry: In lon/lat, of any form in which catalogs write it.
    """
    west, _, east, _ = geometry.bounds
    if east - west > 180 and geometry.geom_type in {"Polygon", "MultiPolygon"}:
        polygons = list(getattr(geometry, "geoms", [geometry]))
        geometry = shapely.union_all([shapely.make_valid(_unwrapped(polygon)) for polygon in polygons])
        west, _, east, _ = geometry.bounds
    if west >= -180 and east <= 180:
        return geometry
    turns = range(math.floor((west + 180) / 360), math.ceil((east - 180) / 360) + 1)
    world = shapely.box(-180, -90, 180, 90)
    valid = shapely.make_valid(geometry)
    return shapely.union_all([shapely.intersection(_moved(valid, -360.0 * turn), world) for turn in turns])


def _moved(geometry: Any, degrees: float) -> Any:
    return shapely.transform(geometry, lambda points: points + np.array([degrees, 0.0]))


def _unwrapped(polygon: Any) -> Any:
    """A polygon whose edges take the short way; one round a pole gets the pole's edge."""
    rings = [_short_way(np.asarray(ring.coords)[:, :2]) for ring in (polygon.exterior, *polygon.interiors)]
    return shapely.Polygon(rings[0], rings[1:])


def _short_way(points: Any) -> Any:
    steps = np.diff(points[:, 0])
    crossing = (np.abs(steps) > 180) & (np.abs(steps) < _AROUND)
    if not crossing.any():
        return points
    longitudes = points[0, 0] + np.concatenate([[0.0], np.cumsum(steps - 360 * np.sign(steps) * crossing)])
    ring = np.column_stack([longitudes, points[:, 1]])
    if abs(longitudes[-1] - longitudes[0]) < 180:
        return ring
    pole = 90.0 if points[:, 1].mean() > 0 else -90.0
    return np.vstack([ring, [(longitudes[-1], pole), (longitudes[0], pole), ring[0]]])


def _refusal(item: dict[str, Any], problem: str) -> ItemError:
    return ItemError(f"item {item.get('id')!r}: {problem}; {ITEM_REMEDY}")


def box_geometry(box: Box) -> Any:
    """The box as a polygon, or as two across the antimeridian."""
    west, south, east, north = box
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.MultiPolygon([shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)])
