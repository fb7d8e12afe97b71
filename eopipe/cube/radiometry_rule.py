"""The one radiometry rule: what a band's numbers mean, from the most to the least trusted source.

Scale, offset and no-data come from the asset's metadata, else from the family's table (:mod:`eopipe.cube.sensors`).
Sentinel-2's offset has an order of its own: the provider's flag, then the asset's metadata, then the processing
baseline. The unit of SAR comes from the spec, the asset or a table (:mod:`eopipe.cube.sar_sensors`).

Sources: Sentinel-2 Products Specification (baseline 04.00, RADIO_ADD_OFFSET and BOA_ADD_OFFSET = -1000), Earth
Search's ``earthsearch:boa_offset_applied``, USGS Landsat Collection 2 Level-2 Science Product Guide (2.75e-5, -0.2).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eopipe.cube.sar_sensors import calibration
from eopipe.cube.sensors import MASKS
from eopipe.errors import ITEM_REMEDY, ItemError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.cube.scenes import AssetRef
    from eopipe.cube.sensors import Sensor
    from eopipe.spec import SarSpec

OFFSET_BASELINE = (4, 0)
"""Sentinel-2 processing baseline from which products carry an offset of -1000 DN."""

_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})(\d{2})_R\d{3}_")
_STATED = ("scale", "offset", "nodata", "unit")


def with_reflectance(
    ref: AssetRef, band: str, *, item: Mapping[str, Any], asset: Mapping[str, Any], sensor: Sensor
) -> AssetRef:
    """The file's band with scale, offset and no-data of reflectance; a mask has no-data alone."""
    entry = _band_entry(asset, ref.band_index)
    nodata = stated(entry, asset, "nodata")
    if band in MASKS:
        return replace(ref, nodata=nodata)
    scale, offset = stated(entry, asset, "scale"), stated(entry, asset, "offset")
    if sensor.offset_by_baseline:
        offset = sentinel2_offset(item, offset)
    elif offset is None:
        # A stated scale without an offset means none; only an item that states neither takes the table's.
        offset = sensor.offset if scale is None else 0.0
    return replace(
        ref,
        scale=sensor.scale if scale is None else scale,
        offset=offset,
        nodata=sensor.nodata if nodata is None else nodata,
    )


def with_backscatter(
    ref: AssetRef, *, item: Mapping[str, Any], asset: Mapping[str, Any], sar: SarSpec | None
) -> AssetRef:
    """The file's band with unit, scale, offset and no-data of SAR backscatter.

    Raises:
        ItemError: Nothing says what the file's numbers are; the message names the spec's key.
    """
    entry = _band_entry(asset, ref.band_index)
    unit, decibels = calibration(item, asset, entry, sar)
    scale, offset = stated(entry, asset, "scale"), stated(entry, asset, "offset")
    return replace(
        ref,
        nodata=stated(entry, asset, "nodata"),
        scale=1.0 if scale is None else scale,
        offset=0.0 if offset is None else offset,
        unit=unit,
        decibels=decibels,
    )


def stated(band: Mapping[str, Any] | None, asset: Mapping[str, Any], key: str) -> float | None:
    """Scale, offset or no-data of an asset: ``raster:bands``, STAC 1.1 ``bands``, or the asset itself."""
    values = [(holder.get(name), name) for holder in (band or {}, asset) for name in (f"raster:{key}", key)]
    value, name = next((pair for pair in values if pair[0] is not None), (None, key))
    try:
        # STAC's raster extension lets no-data be "nan", "inf" or "-inf".
        return None if value is None else float(value)
    except (TypeError, ValueError):
        raise ItemError(f"{name} is {value!r}, not a number; {ITEM_REMEDY}") from None


def sentinel2_offset(item: Mapping[str, Any], metadata: float | None) -> float:
    """Offset in reflectance for a Sentinel-2 L1C or L2A item.

    Args:
        item: The STAC item.
        metadata: What the asset's metadata states, if anything.

    Returns:
        0 or -0.1, as a rule.
    """
    if boa_offset_applied(item):
        return 0.0
    if metadata is not None:
        return metadata
    version = baseline(item)
    return -0.1 if version is not None and version >= OFFSET_BASELINE else 0.0


def baseline(item: Mapping[str, Any]) -> tuple[int, int] | None:
    """Processing baseline of a Sentinel-2 item: stated, or read from the product's name."""
    fields = {**item.get("properties", {}), "id": item.get("id")}
    keys = ("s2:processing_baseline", "sentinel2:processing_baseline", "processing:version")
    names = ("s2:product_uri", "sentinel:product_id", "title", "id")
    matches = [
        *(re.match(r"^\s*(\d{1,2})\.(\d{1,2})", str(fields.get(key, ""))) for key in keys),
        *(_BASELINE_IN_NAME.search(str(fields.get(name) or "")) for name in names),
    ]
    return next(((int(match[1]), int(match[2])) for match in matches if match), None)


def boa_offset_applied(item: Mapping[str, Any]) -> bool | None:
    """The provider's flag: True means that the file's numbers need no offset any more."""
    properties = item.get("properties", {})
    flag = next((properties[key] for key in _FLAGS if key in properties), None)
    # Some mirrors write booleans as text, and bool("False") is True.
    return None if flag is None else str(flag).strip().lower() == "true"


def _band_entry(asset: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    """What the asset says of one of its bands; empty where it says nothing of its numbers."""
    for key in ("raster:bands", "bands"):
        entries = asset.get(key) or []
        if len(entries) >= index and isinstance(entries[index - 1], dict):
            entry: Mapping[str, Any] = entries[index - 1]
            if key == "raster:bands" or any(word in name for name in entry for word in _STATED):
                return entry
    return {}
