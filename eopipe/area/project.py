"""An outline from longitude and latitude to a grid's CRS, exact to a tolerance, or refused with a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from eopipe.area.crs import LONLAT, crs_of, is_geographic, transformer
from eopipe.errors import AreaError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.area.lonlat import Area

_FIRST_STEP = 0.5
"""Degrees; long edges are cut to this before bending is measured at their midpoints."""

_ROUNDS = 24
_MOST_VERTICES = 4_000_000
_SEAM = 1 / 16
"""Seams are closed on a raster of tolerance/16: far above rounding, far below what a pixel sees."""


def project_outline(area: Area, crs: str, tolerance: float) -> Any:
    """Project an area, with vertices added until every edge is straight within ``tolerance`` (CRS units).

    Parts that were cut at ±180 degrees are one piece again where the CRS is not cut there.

    Raises:
        AreaError: The CRS cannot show the area, is cut inside it, or is cut at ±180 where the area crosses it.
    """
    polygons = []
    for polygon in shapely.get_parts(area.geometry):
        outer, *holes = [
            _densified(shapely.get_coordinates(ring), tolerance, crs) for ring in shapely.get_rings(polygon)
        ]
        polygons.append(shapely.Polygon(outer, holes))
    if area.crosses_antimeridian:
        _check_seam(area, tolerance, crs)
    west, _, east, _ = area.geometry.bounds
    seam = west == -180.0 and east == 180.0 and not is_geographic(crs)
    whole = shapely.union_all(_valid(polygons), grid_size=tolerance * _SEAM if seam else None)
    if whole.is_empty or not whole.area > 0:
        raise AreaError(f"area: nothing of it is left in {_name(crs)}; choose a CRS made for this place")
    return whole


def _valid(polygons: list[Any]) -> list[Any]:
    # A polar cap's edges along -180 and 180 fall onto each other, which is no fault of the area's.
    return [p if p.is_valid else shapely.make_valid(p, method="structure", keep_collapsed=False) for p in polygons]


def _densified(positions: NDArray[np.float64], tolerance: float, crs: str) -> NDArray[np.float64]:
    """Ring ``[n, 2]`` in the CRS: every edge is halved until its middle is where the straight edge has it."""
    positions = shapely.get_coordinates(shapely.segmentize(shapely.LinearRing(positions), _FIRST_STEP))
    flat = _project(positions, crs)
    fresh = np.ones(len(positions) - 1, dtype=bool)
    for _ in range(_ROUNDS):
        at = np.nonzero(fresh)[0]
        middle = (positions[at] + positions[at + 1]) / 2
        flat_middle = _project(middle, crs)
        off = np.linalg.norm(flat_middle - (flat[at] + flat[at + 1]) / 2, axis=1)
        bent = off > tolerance
        if not bent.any():
            return flat
        if len(positions) + len(at) > _MOST_VERTICES:
            break
        at = at[bent]
        positions = np.insert(positions, at + 1, middle[bent], axis=0)
        flat = np.insert(flat, at + 1, flat_middle[bent], axis=0)
        fresh = np.zeros(len(positions) - 1, dtype=bool)
        halves = at + np.arange(len(at))
        fresh[halves] = fresh[halves + 1] = True
    lon, lat = positions[np.nonzero(fresh)[0][0]]
    raise AreaError(
        f"area: {_name(crs)} is cut, or stretched beyond use, near longitude {lon:.2f}, latitude {lat:.2f}; "
        "choose a CRS made for this place, or cut the area and run twice"
    )


def _project(positions: NDArray[np.float64], crs: str) -> NDArray[np.float64]:
    flat = np.column_stack(transformer(LONLAT, crs).transform(positions[:, 0], positions[:, 1]))
    lost = ~np.isfinite(flat).all(axis=1)
    if lost.any():
        lon, lat = positions[lost][0]
        raise AreaError(
            f"area: longitude {lon:g}, latitude {lat:g} has no place in {_name(crs)}; choose a CRS made for this area"
        )
    return flat


def _check_seam(area: Area, tolerance: float, crs: str) -> None:
    """Refuse a CRS that puts the two sides of the antimeridian far apart: its store would span the globe."""
    lat = area.geometry.bounds[1::2]
    sides = _project(np.array([[-180.0, lat[0]], [180.0, lat[0]], [-180.0, lat[1]], [180.0, lat[1]]]), crs)
    if np.abs(sides[0::2] - sides[1::2]).max() > 100 * tolerance:
        raise AreaError(
            f"area: it crosses the antimeridian, where {_name(crs)} is cut, so its map would span the globe; "
            "choose utm zone 1 or 60, EPSG:3832 (Pacific) or a polar CRS, or cut the area at 180 and run twice"
        )


def _name(crs: str) -> str:
    return crs if len(crs) < 40 else str(crs_of(crs).name)
