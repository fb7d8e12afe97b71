"""Coordinate reference systems: parsed once a process, compared, named, and transformed between."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONLAT = "EPSG:4326"
"""Longitude and latitude on WGS 84."""

METRES_PER_DEGREE = 111_320.0
"""Of longitude, at the equator."""


@lru_cache(maxsize=256)
def crs_of(text: str) -> CRS:
    """The CRS that a text names: code, WKT, PROJJSON or PROJ text.

    Raises:
        CRSError: It names none.
    """
    return CRS.from_user_input(text)


@lru_cache(maxsize=256)
def transformer(source: str, target: str) -> Transformer:
    """From one CRS to another, axes in the order x, y; safe to share between threads (pyproj >= 3.1)."""
    return Transformer.from_crs(crs_of(source), crs_of(target), always_xy=True)


def transformed(geometry: Any, source: str, target: str, digits: int | None = None) -> Any:
    """Geometries (shapely, one or an array) vertex by vertex in another CRS, rounded to ``digits`` where given."""

    def vertices(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = np.column_stack(transformer(source, target).transform(xy[:, 0], xy[:, 1]))
        return moved if digits is None else np.round(moved, digits)

    return shapely.transform(geometry, vertices)


@lru_cache(maxsize=256)
def same_crs(first: str, second: str) -> bool:
    """Whether two texts mean the same system, axis order aside; False where one is no CRS."""
    if first == second:
        return True
    try:
        return bool(crs_of(first).equals(crs_of(second), ignore_axis_order=True))
    except CRSError:
        return False


@lru_cache(maxsize=256)
def is_geographic(crs: str) -> bool:
    """Whether the units of the CRS are degrees (or another angle)."""
    return bool(crs_of(crs).is_geographic)


def metres_per_unit(crs: str) -> float:
    """Metres in a unit of a projected CRS; at the equator for one in degrees."""
    return METRES_PER_DEGREE if is_geographic(crs) else float(crs_of(crs).axis_info[0].unit_conversion_factor)


def code_or_wkt(crs: CRS, confidence: int = 100) -> str:
    """``AUTHORITY:code`` where the CRS has one, else WKT.

    Args:
        crs: The CRS.
        confidence: Percent: how like the authority's definition it must be.
    """
    authority = crs.to_authority(min_confidence=confidence)
    return ":".join(authority) if authority else str(crs.to_wkt())
