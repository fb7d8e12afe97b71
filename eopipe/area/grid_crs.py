"""Which CRS a run's grid has: authority codes, WKT, PROJJSON, ``utm``, equal-area names.

UTM zones are those of the military grid (MGRS), with its wider zones in south-west Norway and
Svalbard, because Sentinel-2 delivers its scenes in them: choosing plain six-degree zones there
would reproject every scene.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely
from pyproj.exceptions import CRSError
from shapely.affinity import translate

from eopipe.area.crs import LONLAT, code_or_wkt, crs_of
from eopipe.errors import AreaError, SpecError
from eopipe.text import cut

if TYPE_CHECKING:
    from pyproj import CRS

    from eopipe.area.lonlat import Area

NAMED = {
    "equal-earth": "EPSG:8857",
    "ease2": "EPSG:6933",
    "ease2-north": "EPSG:6931",
    "ease2-south": "EPSG:6932",
    "laea-europe": "EPSG:3035",
    "albers-conus": "EPSG:5070",
    "albers-australia": "EPSG:3577",
    "albers-africa": "ESRI:102022",
    "albers-south-america": "ESRI:102033",
    "albers-north-asia": "ESRI:102025",
    "polar-north": "EPSG:3413",
    "polar-south": "EPSG:3031",
}
"""Names that a spec may give instead of a code."""

OVERHANG = 0.5
"""Degrees by which an area may reach out of its UTM zone: scale there is off by less than 0.2 %."""

_SOUTH, _NORTH = -80.0, 84.0
_EXCEPTIONS = {
    56.0: {31: (0.0, 3.0), 32: (3.0, 12.0)},
    72.0: {31: (0.0, 9.0), 33: (9.0, 21.0), 35: (21.0, 33.0), 37: (33.0, 42.0), 32: (0, 0), 34: (0, 0), 36: (0, 0)},
}
"""West and east edges of the zones that are not six degrees wide, by the south edge of their band of latitude."""

_LISTED = 8


def resolve_crs(crs: str, area: Area) -> str:
    """Canonical text of the spec's CRS: ``EPSG:32632``, or WKT where there is no code.

    Args:
        crs: Authority code, WKT, PROJJSON or PROJ text, ``utm`` (chosen from the area), or a name of ``NAMED``.
        area: Where ``utm`` must hold.

    Raises:
        SpecError: The text is no CRS, or one that a grid cannot have.
        AreaError: ``utm``, and the area is polar or lies over several zones; the message lists the choices.
    """
    name = crs.strip()
    if name.lower() == "utm":
        return _utm(area)
    return _canonical(NAMED.get(name.lower(), name))


def _canonical(text: str) -> str:
    try:
        crs = crs_of(text)
    except CRSError:
        raise SpecError(
            f"grid.crs: {cut(text, 60)!r} is no CRS; give a code such as EPSG:32632, WKT, utm, or one of "
            f"{', '.join(NAMED)}"
        ) from None
    _check_kind(crs)
    code = code_or_wkt(crs)
    return LONLAT if code == "OGC:CRS84" else code  # the same lattice: axes are always x, y in eopipe


def _check_kind(crs: CRS) -> None:
    planar = crs.is_projected or (crs.is_geographic and not crs.is_derived)
    if not planar or crs.is_compound or len(crs.axis_info) != 2:
        raise SpecError(f"grid.crs: {crs.name!r} is {crs.type_name}; give a projected or geographic CRS of two axes")
    if any(axis.direction == "west" for axis in crs.axis_info):
        raise SpecError(f"grid.crs: {crs.name!r} counts westwards, so its maps would be mirrored; give another CRS")


def _utm(area: Area) -> str:
    _, south, _, north = area.bbox
    if north > _NORTH + OVERHANG:
        raise AreaError(
            f"grid.crs: utm ends at {_NORTH:g} N and the area reaches {north:g}; "
            "give EPSG:3413, EPSG:5041 or EPSG:6931 (polar-north, UPS, ease2-north)"
        )
    if south < _SOUTH - OVERHANG:
        raise AreaError(
            f"grid.crs: utm ends at {-_SOUTH:g} S and the area reaches {-south:g}; "
            "give EPSG:3031, EPSG:5042 or EPSG:6932 (polar-south, UPS, ease2-south)"
        )
    shares = _zone_shares(area.geometry)
    hemisphere = _hemisphere(area.geometry)
    for zone in sorted(shares, key=lambda zone: (-shares[zone], zone)):
        if _zone_shape(zone, OVERHANG).covers(area.geometry):
            return f"EPSG:{hemisphere + zone}"
    codes = [f"EPSG:{hemisphere + zone}" for zone in sorted(shares)]
    shown = ", ".join(codes[:_LISTED]) + (f" … {codes[-1]}" if len(codes) > _LISTED else "")
    raise AreaError(
        f"grid.crs: utm: the area lies over {len(codes)} UTM zones; choose one of {shown}, "
        "or an equal-area grid such as equal-earth or laea-europe, or cut the area and run once per zone"
    )


def _hemisphere(geometry: Any) -> int:
    north = shapely.clip_by_rect(geometry, -180, 0, 180, 90).area
    return 32600 if 2 * north >= geometry.area else 32700


def _zone_shares(geometry: Any) -> dict[int, float]:
    """UTM zone to the part of the area (square degrees) in it."""
    shares = {zone: float((geometry & _zone_shape(zone, 0.0)).area) for zone in range(1, 61)}
    return {zone: share for zone, share in shares.items() if share > 0}


def _zone_shape(zone: int, margin: float) -> Any:
    """Where an MGRS zone holds, grown by ``margin`` degrees, in -180..180 (parts beyond are brought round)."""
    boxes = []
    for south, north in ((_SOUTH, 56.0), (56.0, 64.0), (64.0, 72.0), (72.0, _NORTH)):
        west, east = _zone_span(zone, south)
        if west < east:
            boxes.append(shapely.box(west - margin, south - margin, east + margin, north + margin))
    shape = shapely.union_all(boxes)
    return shapely.union_all([shape, translate(shape, xoff=-360), translate(shape, xoff=360)])


def _zone_span(zone: int, south: float) -> tuple[float, float]:
    """West and east edge of a zone in the band that starts at ``south``; equal where it is absent."""
    west = zone * 6.0 - 186.0
    return _EXCEPTIONS.get(south, {}).get(zone, (west, west + 6))
