"""Families of optical collections: which asset holds which band, and what its numbers mean where nothing states it.

Canonical names: coastal blue green red rededge1 rededge2 rededge3 nir nir08 nir09 swir16
swir22; vv vh hh hv of SAR (:mod:`eopipe.cube.sar_sensors`); and the masks scl, qa_pixel, bqa, fmask, oa_fmask. A band
is never found by its common name alone where that is ambiguous: ``rededge`` is B05, B06 and B07 of
Sentinel-2, ``nir`` may be B08 or B8A.

A platform alone makes no family of numbers: HLS and geomedians of Landsat scenes are no Landsat products. Such items
lend the names of the platform's bands; item, collection, file or spec must state their numbers.

Sources: Sentinel-2 Products Specification; USGS Landsat Collection 2 Level-2 Science Product Guide; USGS Landsat 8
Data Users Handbook, 5.3 (Level-1 reflectance); HLS Product User Guide v2.0 (scale 0.0001, no data -9999, Fmask);
Geoscience Australia, Analysis Ready Data collection 3 (nbart x 10000, no data -999); Digital Earth Africa,
``s2_l2a`` and ``ls5_sr`` to ``ls9_sr`` (the numbers of the products that they copy).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eopipe.errors import ITEM_REMEDY, ItemError
from eopipe.moved import moved_function

if TYPE_CHECKING:
    from collections.abc import Mapping


def __getattr__(name: str) -> Any:
    return moved_function(__name__, name)


BANDS = (
    "coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3",
    "nir", "nir08", "nir09", "swir16", "swir22",
)  # fmt: skip
"""Canonical reflectance bands, by wavelength."""

MASKS = ("scl", "qa_pixel", "bqa", "fmask", "oa_fmask")
"""Canonical mask bands."""

_S2_CODES = dict(zip(BANDS, ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
                     strict=True))  # fmt: skip
_WIDE = ("int16", "uint16", "int32", "uint32")


@dataclass(frozen=True)
class Sensor:
    """One family of collections.

    Args:
        name: For messages.
        assets: Canonical band to the names its asset may have, best first. ``image#2`` is band 2 of ``image``.
        scale: Reflectance per DN where nothing states it; None: something must.
        offset: Likewise, added after scaling.
        nodata: DN of no data where neither spec nor item states it.
        dtypes: Types of the files that scale and offset are of.
        offset_by_baseline: Whether the offset hangs on Sentinel-2's processing baseline.
        refusal: Why its numbers cannot become reflectance unless a scale is stated; empty where they can.
    """

    name: str
    assets: Mapping[str, tuple[str, ...]]
    scale: float | None = 1e-4
    offset: float = 0.0
    nodata: float | None = 0.0
    dtypes: tuple[str, ...] = _WIDE
    offset_by_baseline: bool = False
    refusal: str = ""


def _sentinel2() -> dict[str, tuple[str, ...]]:
    # The finest copy first: stactools items hold blue, blue_20m and blue_60m side by side.
    bands: dict[str, tuple[str, ...]] = {
        band: (
            *(code, code.lower(), band),
            *(f"{code}_{res}m" for res in (10, 20, 60)),
            *(f"{band}_20m", f"{band}_60m", f"{band}-jp2"),
        )
        for band, code in _S2_CODES.items()
    }
    bands["scl"] = ("SCL", "scl", "SCL_20m", "SCL_60m", "scl_60m", "scl-jp2")
    return bands


def _landsat(numbers: Mapping[str, int], *, pixel_qa: bool = True) -> dict[str, tuple[str, ...]]:
    bands: dict[str, tuple[str, ...]] = {
        band: (band, f"SR_B{n}", f"SR_B{n}.TIF", f"B{n}", f"B{n}.TIF", f"b{n}") for band, n in numbers.items()
    }
    masks: dict[str, tuple[str, ...]] = {
        # Collection 1 has a pixel_qa too, whose bits mean other things.
        "qa_pixel": ("qa_pixel", "QA_PIXEL", "QA_PIXEL.TIF", *(("pixel_qa",) if pixel_qa else ())),
        "bqa": ("bqa", "BQA", "BQA.TIF", "qa_bqa"),
    }
    return {**bands, **masks}


def _hls(codes: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    bands: dict[str, tuple[str, ...]] = {band: (code, code.lower()) for band, code in codes.items()}
    return {**bands, "fmask": ("Fmask", "fmask", "FMASK")}


_OLI = {"coastal": 1, "blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6, "swir22": 7}
_ETM = {"blue": 1, "green": 2, "red": 3, "nir08": 4, "swir16": 5, "swir22": 7}

SENTINEL2 = Sensor("Sentinel-2", _sentinel2(), offset_by_baseline=True)
LANDSAT_OLI_C2 = Sensor(
    "Landsat 8/9 Collection 2", _landsat(_OLI), scale=2.75e-5, offset=-0.2, dtypes=("uint16", "int32", "uint32")
)
LANDSAT_ETM_C2 = replace(LANDSAT_OLI_C2, name="Landsat 4/5/7 Collection 2", assets=_landsat(_ETM))
LANDSAT_OLI_C1 = Sensor(
    "Landsat 8 Collection 1 level 1",
    _landsat(_OLI),
    scale=2e-5,
    offset=-0.1,
    dtypes=("uint16", "int32", "uint32"),
    refusal="its Level-1 numbers become reflectance by the sun's elevation (view:sun_elevation), which it lacks",
)
LANDSAT_OLI_C1_SR = Sensor("Landsat 8 Collection 1 level 2", _landsat(_OLI, pixel_qa=False), nodata=-9999.0)
LANDSAT_ETM_C1_SR = replace(LANDSAT_OLI_C1_SR, name="Landsat 4/5/7 Collection 1 level 2",
                            assets=_landsat(_ETM, pixel_qa=False))  # fmt: skip
LANDSAT_LEVEL1 = Sensor(
    "Landsat 1 to 7 level 1",
    {band: (band,) for band in BANDS},
    scale=None,
    refusal="its numbers are Level-1 DN, whose coefficients stand in the scene's MTL file and not in the item",
)
HLS_L30 = Sensor(
    "HLS L30",
    _hls({"coastal": "B01", "blue": "B02", "green": "B03", "red": "B04", "nir08": "B05", "swir16": "B06",
          "swir22": "B07"}),
    nodata=-9999.0,
    dtypes=("int16", "int32"),
)  # fmt: skip
HLS_S30 = replace(HLS_L30, name="HLS S30", assets=_hls(_S2_CODES))
NAIP = Sensor(
    "NAIP",
    {"red": ("image#1",), "green": ("image#2",), "blue": ("image#3",), "nir": ("image#4",)},
    scale=1 / 255,
    nodata=None,
    dtypes=("uint8",),
)
GA_ARD = Sensor(
    "Geoscience Australia ARD",
    {
        "coastal": ("nbart_coastal_aerosol",), "blue": ("nbart_blue",), "green": ("nbart_green",),
        "red": ("nbart_red",), "rededge1": ("nbart_red_edge_1",), "rededge2": ("nbart_red_edge_2",),
        "rededge3": ("nbart_red_edge_3",), "nir": ("nbart_nir_1",), "nir08": ("nbart_nir", "nbart_nir_2"),
        # Sentinel-2's short-wave bands are numbered 2 and 3, Landsat's 1 and 2.
        "swir16": ("nbart_swir_1", "nbart_swir_2"), "swir22": ("nbart_swir_3", "nbart_swir_2"),
        "oa_fmask": ("oa_fmask",),
    },
    nodata=-999.0,
    dtypes=("int16", "int32"),
)  # fmt: skip
LANDSAT_OLI_OTHER = Sensor("Landsat 8/9, unknown product", _landsat(_OLI), scale=None, nodata=None)
LANDSAT_ETM_OTHER = Sensor("Landsat, unknown product", _landsat(_ETM), scale=None, nodata=None)
UNKNOWN = Sensor("unknown collection", {}, scale=None, nodata=None)

_HLS = re.compile(r"hls(?:\d?[-_.]?)(?:v2[-_.]?)?([ls])30")
_USGS = re.compile(r"landsat-(?:[a-z0-9]+-)?(?:c[12]|l1)|^ls[4-9]-s[rt]$")
"""Collections of USGS products: ``landsat-c2l2-sr``, ``landsat-c2-l2``, ``landsat-8-l1-c1``, ``ls8_sr`` …"""

_PRODUCT = re.compile(r"^l([cotem])0?([1-9])-(l[12][a-z]{2})-\d{6}-")
"""Ids of USGS products: ``LC08_L2SP_028030_20200114_…``."""


def sensor_of(item: Mapping[str, Any]) -> Sensor | None:
    """The family of an item, or None where no table knows it."""
    properties, assets = item.get("properties", {}), item.get("assets", {})
    collection = _plain(item.get("collection") or properties.get("collection") or properties.get("odc:product"))
    names = " ".join(
        (
            collection, _plain(properties.get("platform")), _plain(properties.get("eo:platform")),
            _plain(properties.get("constellation")), "naip" if properties.get("naip:year") else "",
        )
    )  # fmt: skip
    hls = _HLS.search(collection) or _HLS.match(_plain(item.get("id")))
    if hls:
        return HLS_L30 if hls[1] == "l" else HLS_S30
    if any(name.startswith("nbart_") for name in assets):
        return GA_ARD
    if "naip" in names:
        return NAIP
    if "sentinel-2" in names or "sentinel2" in names or "sentinel-s2" in names or collection.startswith("s2-l"):
        return SENTINEL2
    if "landsat" in names or _PRODUCT.match(_plain(item.get("id"))) or _USGS.search(collection):
        return _landsat_of(item, names, collection)
    return None


def _landsat_of(item: Mapping[str, Any], names: str, collection: str) -> Sensor:
    properties, identifier = item.get("properties", {}), _plain(item.get("id"))
    product = _PRODUCT.match(identifier)
    mission = product or re.search(r"landsat-?()([1-9])", names) or re.search(r"^ls()([4-9])", collection)
    mss = "mss" in _plain(properties.get("instruments")) or (product is not None and product[1] == "m")
    number = 1 if mss else int(mission[2]) if mission else 8
    correction = _plain(properties.get("landsat:correction")) or (product[3] if product else "")
    named = re.search(r"l1(?:tp|gt|gs)", identifier) or re.search(r"[-\d](l[12])(?![a-z\d])", collection)
    level = (correction or (named[0].lstrip("-0123456789") if named else "l2"))[:2]
    if not (correction or named or _USGS.search(collection)):
        return LANDSAT_OLI_OTHER if number >= 8 else LANDSAT_ETM_OTHER
    stated = str(properties.get("landsat:collection_number") or "").lstrip("0")
    first = stated == "1" or (not stated and re.search(r"c1(?!\d)|-01-(?:t1|t2|rt)", f"{collection} {identifier}"))
    if level == "l1":
        return _top_of_atmosphere(properties) if number >= 8 else LANDSAT_LEVEL1
    if first:
        return LANDSAT_OLI_C1_SR if number >= 8 else LANDSAT_ETM_C1_SR
    return LANDSAT_OLI_C2 if number >= 8 else LANDSAT_ETM_C2


def _top_of_atmosphere(properties: Mapping[str, Any]) -> Sensor:
    # Level 1 numbers are not yet divided by the sine of the sun's elevation (USGS Data Users Handbook, 5.3).
    elevation = properties.get("view:sun_elevation", properties.get("eo:sun_elevation"))
    if elevation is None:
        return LANDSAT_OLI_C1
    sine = math.sin(math.radians(float(elevation)))
    if sine <= 0:
        raise ItemError(
            f"view:sun_elevation is {elevation}; level 1 reflectance needs the sun above the horizon; {ITEM_REMEDY}"
        )
    scale, offset = float(f"{2e-5 / sine:.9g}"), float(f"{-0.1 / sine:.9g}")
    return replace(LANDSAT_OLI_C1, scale=scale, offset=offset, refusal="")


def _plain(value: object) -> str:
    return str(value or "").lower().replace("_", "-")
