"""An item's footprint: its geometry and its bbox, checked."""

from __future__ import annotations

import math
from typing import Any

import shapely
from shapely.errors import ShapelyError
from shapely.geometry import shape

from eopipe.errors import ITEM_REMEDY, ItemError, one_line

Box = tuple[float, float, float, float]


def item_geometry(item: dict[str, Any]) -> Any | None:
    """The geometry in lon/lat, as it stands; None where the item has none.

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
    return None if geometry.is_empty else geometry


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
    if numbers[1] > numbers[3]:
        raise _refusal(item, f"its bbox {value!r} has south above north")
    return (numbers[0], numbers[1], numbers[2], numbers[3])


def _refusal(item: dict[str, Any], problem: str) -> ItemError:
    return ItemError(f"item {item.get('id')!r}: {problem}; {ITEM_REMEDY}")


def box_geometry(box: Box) -> Any:
    """The box as a polygon, or as two across the antimeridian."""
    west, south, east, north = box
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.MultiPolygon([shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)])
