"""Outlines back from a grid's CRS to longitude and latitude: footprints for catalogs.

A footprint is approximate, to a small part of a tile, but its topology is right: one that crosses
the antimeridian is cut there, and one that holds a pole reaches up to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from eopipe.area.crs import LONLAT, transformed
from eopipe.area.lonlat import cut_at_antimeridian, polygons_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.area.on_grid import GridArea
    from eopipe.grid import Tile

_PIECES = 16
"""Pieces that a tile's edge is cut into before it is bent."""

_SLACK = 4.0
"""Pixels by which the outline of a cut tile may be simplified: catalogs need no coastline."""

_POLE = 90.0 - 1e-7
_DIGITS = 7


def tile_footprints(region: GridArea, tiles: Sequence[Tile], size: int) -> list[Any]:
    """Footprint of each tile's part of the area, as polygons or multipolygons in longitude and latitude.

    Args:
        region: The area on the grid.
        tiles: Which.
        size: Their side in pixels.
    """
    res = region.grid.resolution
    bounds = np.array([region.grid.bounds(tile.box(size)) for tile in tiles]).reshape(-1, 4)
    boxes = shapely.box(*bounds.T)
    shapely.prepare(region.geometry)
    inside = shapely.covers(region.geometry, boxes)
    parts = [
        box if whole else _clipped(region.geometry, edges, _SLACK * res)
        for box, edges, whole in zip(boxes, bounds, inside, strict=True)
    ]
    return to_lonlat(parts, region.grid.crs, size * res / _PIECES)


def to_lonlat(geometries: Sequence[Any], crs: str, step: float) -> list[Any]:
    """Bring polygons to longitude and latitude, edges cut to ``step`` (CRS units) first."""
    fine = shapely.segmentize(np.asarray(geometries, dtype=object), step)
    outlines = transformed(fine, crs, LONLAT, digits=_DIGITS)
    west, south, east, north = shapely.bounds(outlines).T
    plain = (east - west < 180) & (west >= -180) & (east <= 180) & (south > -_POLE) & (north < _POLE)
    return [
        geometry if simple and geometry.is_valid else _unrolled(geometry)
        for geometry, simple in zip(outlines, plain, strict=True)
    ]


def _clipped(geometry: Any, edges: NDArray[np.float64], slack: float) -> Any:
    """The area's part in a box; the box where simplifying leaves nothing (a sliver of a few pixels)."""
    part = shapely.clip_by_rect(geometry, *edges)
    part = _polygons_of(shapely.make_valid(part.simplify(slack), method="structure", keep_collapsed=False))
    return shapely.box(*edges) if part.is_empty else part


def _polygons_of(geometry: Any) -> Any:
    return polygons_of([part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"])


def _unrolled(geometry: Any) -> Any:
    """The slow and careful way, for what crosses the antimeridian or touches a pole."""
    parts = []
    for polygon in shapely.get_parts(geometry):
        outer, *holes = [_filled(shapely.get_coordinates(ring)) for ring in shapely.get_rings(polygon)]
        parts.append(shapely.difference(outer, shapely.union_all(holes)) if holes else outer)
    return _polygons_of(shapely.union_all(parts))


def _filled(positions: NDArray[np.float64]) -> Any:
    """What one ring encloses: longitudes run on by the short way, a ring round a pole is closed over it."""
    positions = _at_poles(positions)
    steps = np.diff(positions[:, 0])
    lon = positions[0, 0] + np.concatenate([[0.0], np.cumsum((steps + 180) % 360 - 180)])
    lat = np.clip(positions[:, 1], -90, 90)
    if abs(lon[-1] - lon[0]) > 180:
        pole = 90.0 if lat.mean() > 0 else -90.0
        lon, lat = np.append(lon, [lon[-1], lon[0]]), np.append(lat, [pole, pole])
    ring = shapely.make_valid(shapely.Polygon(np.column_stack([lon, lat])), method="structure", keep_collapsed=False)
    return _polygons_of(cut_at_antimeridian(ring))


def _at_poles(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Split a vertex at a pole, which has any longitude, into two: below the one before and the one after."""
    ring = positions[:-1]
    polar = np.abs(ring[:, 1]) >= _POLE
    if not polar.any() or polar.all():
        return positions
    ring = np.roll(ring, -int(np.argmin(polar)), axis=0)  # start away from the pole
    polar = np.abs(ring[:, 1]) >= _POLE
    vertices = []
    for i, (lon, lat) in enumerate(ring):
        neighbours = (ring[i - 1, 0], ring[(i + 1) % len(ring), 0])
        vertices += [(side, np.copysign(90.0, lat)) for side in neighbours] if polar[i] else [(lon, lat)]
    return np.array([*vertices, vertices[0]])
