"""Which asset of an item holds which band: one table a collection family.

Canonical names: coastal blue green red rededge1 rededge2 rededge3 nir nir08 nir09 swir16
swir22; vv vh hh hv of SAR (:mod:`eopipe.cube.sar_sensors`); and the masks scl, qa_pixel, bqa. A band
is never found by its common name alone where that is ambiguous: ``rededge`` is B05, B06 and B07 of
Sentinel-2, ``nir`` may be B08 or B8A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from eopipe.cube.radiometry import sentinel2_offset, stated
from eopipe.cube.sar import SAR_BANDS
from eopipe.cube.sar_sensors import SarSensor, calibration, sar_sensor_of
from eopipe.cube.scenes import AssetRef, Scene
from eopipe.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eopipe.spec import MaskSpec, SarSpec

Item = "Mapping[str, Any]"

BANDS = (
    "coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3",
    "nir", "nir08", "nir09", "swir16", "swir22",
)  # fmt: skip
"""Canonical reflectance bands, by wavelength."""

MASKS = ("scl", "qa_pixel", "bqa")
"""Canonical mask bands."""

PAYING_BUCKETS = frozenset({"usgs-landsat", "sentinel-s2-l1c", "sentinel-s2-l2a", "sentinel-s1-l1c", "naip-analytic",
                            "naip-source", "naip-visualization", "sentinel-s2-l2a-zips"})  # fmt: skip
"""Buckets that charge whoever reads from them, known by name."""

_S2_CODES = dict(zip(BANDS, ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
                     strict=True))  # fmt: skip


@dataclass(frozen=True)
class Sensor:
    """One family of collections.

    Args:
        name: For messages.
        assets: Canonical band to the names its asset may have, best first. ``image#2`` is band 2 of ``image``.
        scale: Reflectance per DN where the item states none.
        offset: Likewise.
        nodata: DN of no data where the item states none.
        offset_of: The family's own order of truth for the offset.
    """

    name: str
    assets: Mapping[str, tuple[str, ...]]
    scale: float = 1e-4
    offset: float = 0.0
    nodata: float | None = 0.0
    offset_of: Callable[[Any, float | None], float] | None = None


def _sentinel2() -> dict[str, tuple[str, ...]]:
    # The finest copy first: stactools items hold blue, blue_20m and blue_60m side by side.
    bands: dict[str, tuple[str, ...]] = {
        band: (code, code.lower(), band, f"{band}_20m", f"{band}_60m", f"{band}-jp2")
        for band, code in _S2_CODES.items()
    }
    bands["scl"] = ("SCL", "scl", "scl_60m", "scl-jp2")
    return bands


def _landsat(numbers: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {
        band: (band, f"SR_B{n}", f"SR_B{n}.TIF", f"B{n}", f"B{n}.TIF", f"b{n}") for band, n in numbers.items()
    }
    masks: dict[str, tuple[str, ...]] = {
        "qa_pixel": ("qa_pixel", "QA_PIXEL", "QA_PIXEL.TIF", "pixel_qa"),
        "bqa": ("bqa", "BQA", "BQA.TIF", "qa_bqa"),
    }
    return {**found, **masks}


_OLI = {"coastal": 1, "blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6, "swir22": 7}
_ETM = {"blue": 1, "green": 2, "red": 3, "nir08": 4, "swir16": 5, "swir22": 7}

SENTINEL2 = Sensor("Sentinel-2", _sentinel2(), offset_of=sentinel2_offset)
LANDSAT_OLI_C2 = Sensor("Landsat 8/9 Collection 2", _landsat(_OLI), scale=2.75e-5, offset=-0.2)
LANDSAT_ETM_C2 = Sensor("Landsat 4/5/7 Collection 2", _landsat(_ETM), scale=2.75e-5, offset=-0.2)
LANDSAT_OLI_C1 = Sensor("Landsat 8 Collection 1 level 1", _landsat(_OLI), scale=2e-5, offset=-0.1)
NAIP = Sensor(
    "NAIP",
    {"red": ("image#1",), "green": ("image#2",), "blue": ("image#3",), "nir": ("image#4",)},
    scale=1 / 255,
    nodata=None,
)
GA_ARD = Sensor(
    "Geoscience Australia ARD",
    {
        "coastal": ("nbart_coastal_aerosol",), "blue": ("nbart_blue",), "green": ("nbart_green",),
        "red": ("nbart_red",), "rededge1": ("nbart_red_edge_1",), "rededge2": ("nbart_red_edge_2",),
        "rededge3": ("nbart_red_edge_3",), "nir": ("nbart_nir_1",), "nir08": ("nbart_nir", "nbart_nir_2"),
        "swir16": ("nbart_swir_1", "nbart_swir_2"), "swir22": ("nbart_swir_2", "nbart_swir_3"),
    },
    nodata=-999.0,
)  # fmt: skip


def sensor_of(item: Mapping[str, Any]) -> Sensor | None:
    """The family of an item, or None where no table knows it."""
    properties, assets = item.get("properties", {}), item.get("assets", {})
    said = " ".join(
        str(value or "")
        for value in (
            item.get("collection"), properties.get("platform"), properties.get("eo:platform"),
            properties.get("constellation"), properties.get("naip:year") and "naip",
        )
    ).lower().replace("_", "-")  # fmt: skip
    if any(name.startswith("nbart_") for name in assets):
        return GA_ARD
    if "naip" in said:
        return NAIP
    if "sentinel-2" in said or "sentinel2" in said or "sentinel-s2" in said:
        return SENTINEL2
    if "landsat" in said:
        return _landsat_of(item, said)
    return None


def _landsat_of(item: Mapping[str, Any], said: str) -> Sensor:
    properties = item.get("properties", {})
    if any(f"landsat-{number}" in said for number in (4, 5, 7)) or str(item.get("id", ""))[:4] in {
        "LE07", "LT05", "LT04",
    }:  # fmt: skip
        return LANDSAT_ETM_C2
    collection = str(properties.get("landsat:collection_number", "")).lstrip("0")
    level1 = str(properties.get("landsat:correction", item.get("id", ""))).upper()
    if collection == "1" or "L1TP" in level1 or "L1GT" in level1:
        return _top_of_atmosphere(properties)
    return LANDSAT_OLI_C2


def _top_of_atmosphere(properties: Mapping[str, Any]) -> Sensor:
    # Level 1 numbers are not yet divided by the sine of the sun's elevation (USGS Data Users Handbook, 5.3).
    elevation = properties.get("view:sun_elevation", properties.get("eo:sun_elevation"))
    if elevation is None:
        return LANDSAT_OLI_C1
    sine = math.sin(math.radians(float(elevation)))
    if sine <= 0:
        raise ItemError(f"view:sun_elevation is {elevation}; level 1 reflectance needs the sun above the horizon")
    return replace(LANDSAT_OLI_C1, scale=float(f"{2e-5 / sine:.9g}"), offset=float(f"{-0.1 / sine:.9g}"))


def resolve_scene(
    item: Mapping[str, Any],
    bands: Sequence[str],
    mask: MaskSpec | None = None,
    *,
    sar: SarSpec | None = None,
    requester_pays: bool = False,
) -> Scene:
    """Reduce a STAC item to a scene.

    Args:
        item: The item's JSON.
        bands: Canonical band names (see ``BANDS`` and ``SAR_BANDS``).
        mask: The mask to read with it.
        sar: What the spec says of SAR files.
        requester_pays: Whether a file that charges its reader may be preferred as it stands; otherwise
            a free alternate is taken where the item offers one.

    Raises:
        ItemError: No asset holds a band (the message names the assets that exist), or nothing says what a SAR
            file's numbers are (it names the spec's key).
    """
    try:
        return _resolve(item, bands, mask, sar, requester_pays)
    except ItemError as error:
        if repr(item.get("id")) in str(error):
            raise
        raise ItemError(f"item {item.get('id')!r}: {error}") from None
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise ItemError(
            f"item {item.get('id')!r} is malformed ({type(error).__name__}: {error}); correct it in the catalog"
        ) from error


def _resolve(
    item: Mapping[str, Any], bands: Sequence[str], mask: MaskSpec | None, sar: SarSpec | None, requester_pays: bool
) -> Scene:
    sensor = sensor_of(item)
    found = {
        band: _sar_band(item, band, sar, requester_pays)
        if band in SAR_BANDS
        else _band(item, sensor, band, requester_pays)
        for band in bands
    }
    properties = item.get("properties", {})
    cloud = properties.get("eo:cloud_cover")
    return Scene(
        id=str(item["id"]),
        collection=str(item.get("collection") or properties.get("collection") or ""),
        datetime=_datetime(item),
        level=level_of(item),
        bands=found,
        mask=_band(item, sensor, mask.band, requester_pays) if mask else None,
        cloud_cover=None if cloud is None else float(cloud),
        longitude=_longitude(item),
    )


def level_of(item: Mapping[str, Any]) -> str | None:
    """Processing level, ``L1C``, ``L2A``, ``L2SP`` …; None where neither property nor name tells."""
    properties = item.get("properties", {})
    for key in ("processing:level", "s2:product_type", "landsat:correction"):
        value = str(properties.get(key) or "").upper().removeprefix("S2MSI")
        if value:
            return value if value.startswith("L") else f"L{value}"
    collection = " ".join(str(v or "") for v in (item.get("collection"), item.get("id"))).upper()
    for level in ("L1C", "L2A", "L2SP", "L2SR", "L1TP", "L1GT"):
        if level in collection:
            return level
    return None


def _band(item: Mapping[str, Any], sensor: Sensor | None, band: str, requester_pays: bool) -> AssetRef:
    return _asset(item, sensor, *_find(item, sensor, band), band, requester_pays)


def _sar_band(item: Mapping[str, Any], band: str, sar: SarSpec | None, requester_pays: bool) -> AssetRef:
    key, index = _find(item, sar_sensor_of(item), band)
    asset = item["assets"][key]
    entry = _raster_band(asset, index)
    unit, decibels = calibration(item, asset, entry, sar)
    scale, offset = stated(entry, asset, "scale"), stated(entry, asset, "offset")
    return replace(
        _place(item, asset, index, requester_pays),
        nodata=stated(entry, asset, "nodata"),
        scale=1.0 if scale is None else scale,
        offset=0.0 if offset is None else offset,
        unit=unit,
        decibels=decibels,
    )


def _find(item: Mapping[str, Any], sensor: Sensor | SarSensor | None, band: str) -> tuple[str, int]:
    """Asset and band of the file that holds a band."""
    assets = item.get("assets", {})
    for name in sensor.assets.get(band, ()) if sensor else ():
        key, _, index = name.partition("#")
        if key in assets:
            return key, int(index or 1)
    found = _by_band_name(assets, band)
    if len(found) == 1:
        return found[0]
    kind = sensor.name if sensor else "unknown collection"
    problem = f"has no asset for band {band!r}" if not found else f"has {len(found)} assets that call a band {band!r}"
    raise ItemError(
        f"item {item.get('id')!r} ({kind}) {problem}; its assets are {', '.join(map(str, assets)) or 'none'}"
    )


def _by_band_name(assets: Mapping[str, Any], band: str) -> list[tuple[str, int]]:
    """Assets with a data band whose *name* is the canonical one; common names serve where they are unique."""
    named, common = [], []
    for key, asset in assets.items():
        if set(asset.get("roles") or ()) & {"thumbnail", "overview", "visual", "metadata"}:
            continue
        for index, entry in enumerate(_bands(asset), start=1):
            if str(entry.get("name", "")).lower() == band:
                named.append((key, index))
            if band in {entry.get("common_name"), entry.get("eo:common_name")}:
                common.append((key, index))
    return named or common


def _bands(asset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    # Old items hold indices into a list of the properties here: they name nothing.
    found = asset.get("bands") or asset.get("eo:bands") or []
    return [entry if isinstance(entry, dict) else {} for entry in found]


def _asset(
    item: Mapping[str, Any], sensor: Sensor | None, key: str, index: int, band: str, requester_pays: bool
) -> AssetRef:
    asset = item["assets"][key]
    entry = _raster_band(asset, index)
    facts = sensor or Sensor("unknown", {}, scale=1e-4, nodata=None)
    nodata = stated(entry, asset, "nodata")
    ref = replace(
        _place(item, asset, index, requester_pays),
        nodata=facts.nodata if nodata is None and band not in MASKS else nodata,
    )
    if band in MASKS:
        return ref
    scale, offset = stated(entry, asset, "scale"), stated(entry, asset, "offset")
    if facts.offset_of is not None:
        offset = facts.offset_of(item, offset)
    elif offset is None:
        # A stated scale without an offset means none; only an item that states neither takes the table's.
        offset = facts.offset if scale is None else 0.0
    return replace(ref, scale=facts.scale if scale is None else scale, offset=offset)


def _place(item: Mapping[str, Any], asset: Mapping[str, Any], index: int, requester_pays: bool) -> AssetRef:
    """Where a band lies, and what the item says of the file; not yet what its numbers mean."""
    properties = item.get("properties", {})
    href, pays = _href(item, asset, requester_pays)
    size = asset.get("file:size")
    return AssetRef(
        href=href,
        band_index=index,
        file_size=int(size) if size else None,
        crs=_crs(asset, properties),
        shape=_tuple(asset.get("proj:shape", properties.get("proj:shape")), int, 2),
        transform=_tuple(asset.get("proj:transform", properties.get("proj:transform")), float, 6),
        requester_pays=pays,
    )


def _raster_band(asset: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    for key in ("raster:bands", "bands"):
        entries = asset.get(key) or []
        if len(entries) >= index and isinstance(entries[index - 1], dict):
            entry: Mapping[str, Any] = entries[index - 1]
            said = any(word in name for name in entry for word in ("scale", "offset", "nodata", "unit"))
            if key == "raster:bands" or said:
                return entry
    return {}


def _href(item: Mapping[str, Any], asset: Mapping[str, Any], requester_pays: bool) -> tuple[str, bool]:
    """Address to read, and whether reading it is charged; a free alternate wins unless charges were accepted."""
    properties = item.get("properties", {})
    outer = asset.get("storage:requester_pays", properties.get("storage:requester_pays"))
    others = [entry for entry in (asset.get("alternate") or {}).values() if isinstance(entry, dict)]
    choices = [(str(asset["href"]), outer)]
    choices += [(str(o["href"]), o.get("storage:requester_pays", outer)) for o in others if o.get("href")]
    judged = [(_absolute(item, href), _charged(href, flag)) for href, flag in choices]
    if judged[0][1] and not requester_pays:
        return next((choice for choice in judged if not choice[1]), judged[0])
    return judged[0]


def _charged(href: str, flag: object) -> bool:
    url = urlsplit(href)
    bucket = url.netloc if url.scheme == "s3" else url.netloc.partition(".s3")[0] if ".s3" in url.netloc else ""
    if url.scheme != "s3" and not bucket:
        return False
    # The bucket's name outranks a flag: items copied to a free bucket keep the flag of their source, and
    # Earth Search's -jp2 assets carry none although sentinel-s2-l2a charges.
    return bucket in PAYING_BUCKETS or flag is True


def _absolute(item: Mapping[str, Any], href: str) -> str:
    if urlsplit(href).scheme or href.startswith("/"):
        return href
    base = next((link.get("href") for link in item.get("links", ()) if link.get("rel") == "self"), None)
    if not base:
        raise ItemError(
            f"item {item.get('id')!r}: asset href {href!r} is relative and the item has no self link to resolve it by"
        )
    return urljoin(str(base), href)


def _crs(asset: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    for holder in (asset, properties):
        if holder.get("proj:code"):
            return str(holder["proj:code"])
        if holder.get("proj:epsg"):
            return f"EPSG:{holder['proj:epsg']}"
    return None


def _tuple(value: Any, kind: Callable[[Any], Any], length: int) -> Any:
    if not isinstance(value, list | tuple) or len(value) < length:
        return None
    return tuple(kind(entry) for entry in value[:length])


def _datetime(item: Mapping[str, Any]) -> datetime:
    properties = item.get("properties", {})
    text = properties.get("datetime") or properties.get("start_datetime")
    if not text:
        raise ItemError(f"item {item.get('id')!r} has neither datetime nor start_datetime")
    found = datetime.fromisoformat(str(text))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _longitude(item: Mapping[str, Any]) -> float:
    bbox = item.get("bbox")
    if not bbox:
        return 0.0
    west, east = (bbox[0], bbox[2]) if len(bbox) == 4 else (bbox[0], bbox[3])
    middle = (west + east) / 2 if west <= east else (west + east + 360) / 2
    return float((middle + 180) % 360 - 180)
