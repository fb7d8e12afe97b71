"""Where an item's rasters lie, from its projection (extension 1 and 2), or from its footprint."""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple

from pyproj.exceptions import CRSError, ProjError

from eopipe.area.crs import LONLAT, code_or_wkt, crs_of, transformer
from eopipe.errors import ITEM_REMEDY, ItemError, one_line
from eopipe.stac.footprints import flat_box, item_bbox

FOOTPRINT_PAD = 0.01
"""Degrees by which a footprint grows where it is used as raster bounds: footprints are rounded and smoothed."""

_NOT_DATA = frozenset({"thumbnail", "overview", "metadata", "tiles", "visual", "preview", "index", "rendered"})
_RASTER_TYPES = ("tiff", "jp2", "jpeg2000", "x-hdf", "netcdf", "zarr", "cloud-optimized", "vrt", "x-erdas")
_RASTER_ENDINGS = (".tif", ".tiff", ".jp2", ".vrt", ".nc", ".h5", ".hdf", ".img", ".zarr")

Bounds = tuple[float, float, float, float]


class RasterBounds(NamedTuple):
    """Where an item's rasters lie.

    Args:
        crs: ``AUTHORITY:code``, or WKT.
        bounds: Left, bottom, right, top in ``crs``.
        source: ``proj`` or ``footprint``.
        remarks: What was odd, one line each.
    """

    crs: str
    bounds: Bounds
    source: str
    remarks: tuple[str, ...] = ()


def raster_bounds(item: dict[str, Any], geometry: Any | None) -> RasterBounds:
    """Bounds of an item's rasters: the union over its data assets, else its padded footprint.

    Raises:
        ItemError: It has neither a projection nor a geometry.
    """
    remarks: tuple[str, ...] = ()
    try:
        placed = _from_assets(item)
        if placed is not None:
            return RasterBounds(*placed, "proj")
    except (CRSError, ProjError, ValueError, TypeError, KeyError, IndexError) as error:
        reason = one_line(error, 120)
        remarks = (f"projection cannot be read ({reason}); its footprint is used",)
    if geometry is None:
        raise ItemError(
            f"item {item['id']!r} has neither proj:transform and proj:shape, nor proj:bbox, nor a geometry, so its "
            f"rasters cannot be placed; {ITEM_REMEDY}"
        )
    remarks = (*remarks, "no projection, the footprint stands in for the raster's bounds")
    return RasterBounds(LONLAT, _of_footprint(item, geometry), "footprint", remarks)


def _from_assets(item: dict[str, Any]) -> tuple[str, Bounds] | None:
    properties = item["properties"]
    placed = [bounds for asset in data_assets(item) if (bounds := _of_asset(asset, properties)) is not None]
    if not placed:
        return _of_asset({}, properties)
    # The commonest CRS, whatever the order of the assets.
    crs = max(Counter(name for name, _ in placed).items(), key=lambda pair: (pair[1], pair[0]))[0]
    boxes = [box if name == crs else _into(crs, name, box) for name, box in dict.fromkeys(placed)]
    left, bottom, right, top = zip(*boxes, strict=True)
    return crs, (min(left), min(bottom), max(right), max(top))


def data_assets(item: dict[str, Any]) -> list[dict[str, Any]]:
    """Assets that hold raster data: not thumbnails, overviews or metadata; those where nothing else is raster."""
    rasters = {name: asset for name, asset in item["assets"].items() if _is_raster(asset)}
    data = {name: asset for name, asset in rasters.items() if not _NOT_DATA & set(asset.get("roles") or ())}
    # Older items have no roles; there an overview shows by its name only.
    named = {name: asset for name, asset in data.items() if name.lower() not in _NOT_DATA}
    return list((named or data or rasters).values())


def _is_raster(asset: dict[str, Any]) -> bool:
    kind = str(asset.get("type") or "").lower()
    href = str(asset.get("href") or "").partition("?")[0].lower()
    return any(word in kind for word in _RASTER_TYPES) or (not kind and href.endswith(_RASTER_ENDINGS))


def _of_asset(asset: dict[str, Any], properties: dict[str, Any]) -> tuple[str, Bounds] | None:
    """CRS and bounds of one asset: from its own fields, else from the item's."""
    asset_crs, item_crs = _crs(asset), _crs(properties)
    crs = asset_crs or item_crs
    if crs is None:
        return None
    extent = _extent(asset)
    if extent is None and asset_crs in {None, item_crs}:  # the item's extent means nothing in another CRS
        extent = _extent(properties)
    return None if extent is None else (crs, extent)


def _crs(fields: dict[str, Any]) -> str | None:
    epsg, projjson = fields.get("proj:epsg"), fields.get("proj:projjson")
    text = fields.get("proj:code") or (epsg and f"EPSG:{int(epsg)}") or fields.get("proj:wkt2")
    text = text or (projjson and json.dumps(projjson, sort_keys=True))
    return crs_text(str(text)) if text else None


@lru_cache(maxsize=1024)
def crs_text(text: str) -> str:
    """The CRS as ``AUTHORITY:code`` where it has one, else as WKT.

    Raises:
        CRSError: It is no CRS.
    """
    return code_or_wkt(crs_of(text), confidence=90)


def _extent(fields: dict[str, Any]) -> Bounds | None:
    """Bounds from transform and shape, which are exact, else from the bbox."""
    transform, shape = fields.get("proj:transform"), fields.get("proj:shape")
    if transform is not None and shape is not None:
        return _of_transform(list(map(float, transform)), list(map(int, shape)))
    bbox = fields.get("proj:bbox")
    if bbox is None:
        return None
    numbers = flat_box(bbox)
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise ValueError(f"proj:bbox {bbox}")
    left, bottom, right, top = numbers
    return (min(left, right), min(bottom, top), max(left, right), max(bottom, top))


def _of_transform(transform: list[float], shape: list[int]) -> Bounds:
    if len(transform) < 6 or len(shape) != 2 or min(shape) <= 0 or not all(map(math.isfinite, transform)):
        raise ValueError(f"proj:transform {transform} with proj:shape {shape}")
    a, b, c, d, e, f = transform[:6]
    if a * e - b * d == 0.0:
        raise ValueError(f"proj:transform {transform} is singular")
    rows, columns = shape
    corners = [(a * i + b * j + c, d * i + e * j + f) for i in (0, columns) for j in (0, rows)]
    xs, ys = zip(*corners, strict=True)
    return (min(xs), min(ys), max(xs), max(ys))


def _into(target: str, source: str, box: Bounds) -> Bounds:
    left, bottom, right, top = transformer(source, target).transform_bounds(*box)
    if not all(map(math.isfinite, (left, bottom, right, top))):
        raise ValueError(f"asset bounds {box} of {source} do not fit into {target}")
    return (left, bottom, right, top)


def _of_footprint(item: dict[str, Any], geometry: Any) -> Bounds:
    """The footprint's box in lon/lat, padded; its right edge passes 180 across the antimeridian."""
    west, south, east, north = geometry.bounds
    box = item_bbox(item)
    if box is not None and box[0] > box[2]:
        west, east = box[0], box[2] + 360.0
    elif east - west > 180.0 and geometry.geom_type == "MultiPolygon":
        # Parts on either side of the antimeridian, as RFC 7946 has it.
        sides = [(polygon.bounds[0], polygon.bounds[2]) for polygon in geometry.geoms]
        west = min((left for left, _ in sides if left >= 0), default=west)
        east = max((right + 360.0 for _, right in sides if right <= 0), default=east)
    pad = FOOTPRINT_PAD
    return (west - pad, max(-90.0, south - pad), east + pad, min(90.0, north + pad))
