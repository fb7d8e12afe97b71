"""The area of interest in longitude and latitude: read, checked, cut at the antimeridian.

Edges are straight in longitude and latitude, as RFC 7946 says. An edge of more than 180
degrees is read as the short way round, across the antimeridian; one of exactly 360 degrees
runs along a parallel, so that the whole globe and polar caps can be written as boxes.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.affinity import translate

from eopipe.area.crs import LONLAT, transformed
from eopipe.errors import AreaError
from eopipe.text import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

_POLYGONS = ("Polygon", "MultiPolygon")
_LONLAT = ("CRS84", "EPSG:4326", "EPSG::4326", "WGS84")
_KM2_STEP = 0.25


@dataclass(frozen=True)
class Area:
    """A valid polygon or multipolygon in longitude and latitude, cut at ±180 degrees.

    Args:
        geometry: Polygon or MultiPolygon in EPSG:4326, x longitude in -180..180, y latitude.
        notes: One line for each repair or decision made while it was read.
    """

    geometry: Any
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, value: Sequence[float] | Mapping[str, Any]) -> Area:
        """Read ``[west, south, east, north]`` in degrees, or GeoJSON.

        GeoJSON may be a Polygon, MultiPolygon, Feature, FeatureCollection or GeometryCollection
        of polygons. West > east in the box, and an edge of more than 180 degrees, cross the antimeridian.

        Raises:
            AreaError: With the value at fault and what to do.
        """
        notes: list[str] = []
        if isinstance(value, dict):
            polygons = [_unwrapped(rings, notes) for rings in _polygons(value)]
        else:
            polygons = [_from_bbox(value)]
        if not polygons:
            raise AreaError("area: the GeoJSON holds no polygon; give at least one Polygon or MultiPolygon")
        return cls(cut_at_antimeridian(_repaired(polygons, notes)), tuple(dict.fromkeys(notes)))

    @cached_property
    def crosses_antimeridian(self) -> bool:
        """Whether the area goes on across ±180 degrees and leaves a gap elsewhere."""
        west, _, east, _ = self.bbox
        return west > east

    @cached_property
    def bbox(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees; west > east where the area crosses the antimeridian."""
        west, south, east, north = self.geometry.bounds
        if west == -180.0 and east == 180.0:
            low, high = _widest_gap(self.geometry)
            if high > low:
                west, east = high, low
        return (float(west), float(south), float(east), float(north))

    @property
    def geojson(self) -> dict[str, Any]:
        """The geometry as a GeoJSON object, lists rather than tuples."""
        document: dict[str, Any] = json.loads(json.dumps(shapely.geometry.mapping(self.geometry)))
        return document

    @cached_property
    def km2(self) -> float:
        """Square kilometres on the WGS 84 ellipsoid.

        Computed in a cylindrical equal-area projection (EPSG:6933), where the box edges of a
        STAC query stay straight, so that it holds for the globe as for a field.
        """
        fine = shapely.segmentize(self.geometry, _KM2_STEP)
        return float(transformed(fine, LONLAT, "EPSG:6933").area) / 1e6


def _from_bbox(value: Any) -> Any:
    try:
        west, south, east, north = map(float, value)
    except (TypeError, ValueError):
        raise AreaError(
            f"area: {short(value)} is no area; give [west, south, east, north] in degrees, or GeoJSON polygons"
        ) from None
    _check_positions(np.array([[west, south], [east, north]]))
    if south >= north:
        raise AreaError(
            f"area: south {south:g} is not below north {north:g}; give [west, south, east, north] in degrees"
        )
    if west == east:
        raise AreaError(
            f"area: west and east are both {west:g}, so the area is empty; give [west, south, east, north]"
        )
    if west > east:
        width = east + 360 - west
        if width > 180:
            raise AreaError(
                f"area: west {west:g} > east {east:g} means across the antimeridian, {width:g} degrees wide; "
                f"swap them, or write east as {east + 360:g} if you mean it"
            )
        east += 360
    if east - west > 360:
        raise AreaError(f"area: {west:g} to {east:g} is more than once round the globe; give at most 360 degrees")
    return shapely.box(west, south, east, north)


def _polygons(value: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Rings of each polygon in any GeoJSON object."""
    _check_crs(value)
    kind = value.get("type")
    if kind == "FeatureCollection":
        for feature in _members(value, "features"):
            yield from _polygons(feature)
    elif kind == "GeometryCollection":
        for part in _members(value, "geometries"):
            yield from _polygons(part)
    elif kind == "Feature":
        geometry = value.get("geometry")
        if not isinstance(geometry, dict):
            raise AreaError("area: a Feature has no geometry; give every feature a polygon, or remove it")
        yield from _polygons(geometry)
    elif kind == "Polygon":
        yield list(_members(value, "coordinates"))
    elif kind == "MultiPolygon":
        for rings in _members(value, "coordinates"):
            yield list(rings)
    else:
        raise AreaError(f"area: {kind!r} covers no ground; give {' or '.join(_POLYGONS)} (buffer points and lines)")


def _members(value: Mapping[str, Any], key: str) -> Sequence[Any]:
    members = value.get(key)
    if not isinstance(members, list | tuple):
        raise AreaError(f"area: the {value.get('type')} has no list {key!r}; give GeoJSON as RFC 7946 has it")
    return members


def _check_crs(value: Mapping[str, Any]) -> None:
    stated = value.get("crs")
    if stated is None:
        return
    name = stated.get("properties", {}).get("name", "") if isinstance(stated, dict) else str(stated)
    if not str(name).upper().endswith(_LONLAT):
        raise AreaError(
            f"area: the GeoJSON is in {short(name or stated)}; convert it to longitude and latitude (EPSG:4326)"
        )


def _unwrapped(rings: list[Any], notes: list[str]) -> Any:
    """One polygon whose longitudes run on across ±180 instead of jumping."""
    if not rings:
        raise AreaError("area: a polygon has no ring; give at least the outer one")
    lines = [_unwrap_ring(_positions(ring), notes) for ring in rings]
    middle = (lines[0][:, 0].min() + lines[0][:, 0].max()) / 2
    for hole in lines[1:]:
        hole_middle = (hole[:, 0].min() + hole[:, 0].max()) / 2
        hole[:, 0] += 360 * round((middle - hole_middle) / 360)
    return shapely.Polygon(lines[0], lines[1:])


def _positions(ring: Any) -> NDArray[np.float64]:
    try:
        positions = np.array([[float(position[0]), float(position[1])] for position in ring], dtype=np.float64)
    except (TypeError, ValueError, IndexError):
        raise AreaError(f"area: {short(ring)} is no ring of [longitude, latitude] pairs") from None
    if len(positions) < 4 or (positions[0] != positions[-1]).any():
        raise AreaError(
            f"area: a ring of {len(positions)} positions is not closed; give 4 or more, the last equal to the first"
        )
    _check_positions(positions)
    return positions


def _check_positions(positions: NDArray[np.float64]) -> None:
    if not np.isfinite(positions).all():
        raise AreaError("area: a coordinate is not a finite number; give degrees")
    lon, lat = positions[:, 0], positions[:, 1]
    if (np.abs(lat) > 90).any():
        worst = lat[np.abs(lat).argmax()]
        hint = "give [longitude, latitude] in degrees"
        if (np.abs(lon) <= 90).all() and (np.abs(lat) <= 180).all():
            hint = "are longitude and latitude swapped?"
        elif max(np.abs(lon).max(), np.abs(lat).max()) > 1000:
            hint = "convert from metres to degrees (EPSG:4326)"
        raise AreaError(f"area: latitude {worst:g} is outside -90..90; {hint}")
    if (np.abs(lon) > 360).any():
        raise AreaError(
            f"area: longitude {lon[np.abs(lon).argmax()]:g} is outside -180..180 (360 to cross the antimeridian); "
            "give degrees"
        )


def _unwrap_ring(positions: NDArray[np.float64], notes: list[str]) -> NDArray[np.float64]:
    step = np.diff(positions[:, 0])
    jumps = (np.abs(step) > 180) & (np.abs(step) != 360)
    if not jumps.any():
        return positions
    notes.append("area: an edge of more than 180 degrees is read as crossing the antimeridian")
    turns = np.concatenate([[0.0], np.cumsum(np.where(jumps, -360 * np.sign(step), 0.0))])
    if turns[-1] != 0:
        raise AreaError(
            "area: a ring goes round a pole; close it along -180 and 180 degrees up to latitude 90 or -90 (RFC 7946)"
        )
    return np.column_stack([positions[:, 0] + turns, positions[:, 1]])


def _repaired(polygons: list[Any], notes: list[str]) -> Any:
    if not all(polygon.is_valid for polygon in polygons):
        notes.append("area: a polygon crosses or touches itself; mended, look at the map")
        polygons = [shapely.make_valid(polygon, method="structure", keep_collapsed=False) for polygon in polygons]
    whole = shapely.union_all(polygons)
    west, _, east, _ = whole.bounds if not whole.is_empty else (0, 0, 0, 0)
    if whole.area == 0:
        raise AreaError("area: the polygons have no area; give a polygon with at least three corners")
    if east - west > 720:
        raise AreaError(f"area: longitudes {west:g} to {east:g} go more than twice round; give -180..180")
    return whole


def cut_at_antimeridian(whole: Any) -> Any:
    """Polygons whose longitudes run on beyond ±180: cut there, every part brought into -180..180."""
    west, _, east, _ = whole.bounds
    if west >= -180 and east <= 180:
        return _only_polygons(whole)
    parts = []
    for turn in range(math.floor((west + 180) / 360), math.floor((east + 180) / 360) + 1):
        world = shapely.box(-180 + 360 * turn, -90, 180 + 360 * turn, 90)
        parts.append(translate(_only_polygons(whole & world), xoff=-360.0 * turn))
    return _only_polygons(shapely.union_all(parts))


def _only_polygons(geometry: Any) -> Any:
    # Twice, since a collection may hold multipolygons.
    parts = [part for part in shapely.get_parts(shapely.get_parts(geometry)) if part.geom_type == "Polygon"]
    return polygons_of([part for part in parts if part.area > 0])


def polygons_of(parts: list[Any]) -> Any:
    """One polygon as it is, several as a multipolygon."""
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _widest_gap(geometry: Any) -> tuple[float, float]:
    """West and east end of the widest range of longitudes without area, ±180 not being one; (0, 0) if none."""
    spans = sorted((part.bounds[0], part.bounds[2]) for part in shapely.get_parts(geometry))
    merged = [list(spans[0])]
    for low, high in spans[1:]:
        if low <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], high)
        else:
            merged.append([low, high])
    gaps = [(before[1], after[0]) for before, after in pairwise(merged)]
    return max(gaps, key=lambda gap: gap[1] - gap[0], default=(0.0, 0.0))
