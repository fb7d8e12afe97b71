"""Families of optical collections: which asset holds which band, and what its numbers mean where no item says it.

Canonical names: coastal blue green red rededge1 rededge2 rededge3 nir nir08 nir09 swir16
swir22; vv vh hh hv of SAR (:mod:`eopipe.cube.sar_sensors`); and the masks scl, qa_pixel, bqa. A band
is never found by its common name alone where that is ambiguous: ``rededge`` is B05, B06 and B07 of
Sentinel-2, ``nir`` may be B08 or B8A.
"""

from __future__ import annotations

import math
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

MASKS = ("scl", "qa_pixel", "bqa")
"""Canonical mask bands."""

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
        offset_by_baseline: Whether the offset hangs on Sentinel-2's processing baseline.
    """

    name: str
    assets: Mapping[str, tuple[str, ...]]
    scale: float = 1e-4
    offset: float = 0.0
    nodata: float | None = 0.0
    offset_by_baseline: bool = False


def _sentinel2() -> dict[str, tuple[str, ...]]:
    # The finest copy first: stactools items hold blue, blue_20m and blue_60m side by side.
    bands: dict[str, tuple[str, ...]] = {
        band: (code, code.lower(), band, f"{band}_20m", f"{band}_60m", f"{band}-jp2")
        for band, code in _S2_CODES.items()
    }
    bands["scl"] = ("SCL", "scl", "scl_60m", "scl-jp2")
    return bands


def _landsat(numbers: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    bands: dict[str, tuple[str, ...]] = {
        band: (band, f"SR_B{n}", f"SR_B{n}.TIF", f"B{n}", f"B{n}.TIF", f"b{n}") for band, n in numbers.items()
    }
    masks: dict[str, tuple[str, ...]] = {
        "qa_pixel": ("qa_pixel", "QA_PIXEL", "QA_PIXEL.TIF", "pixel_qa"),
        "bqa": ("bqa", "BQA", "BQA.TIF", "qa_bqa"),
    }
    return {**bands, **masks}


_OLI = {"coastal": 1, "blue": 2, "green": 3, "red": 4, "nir08": 5, "swir16": 6, "swir22": 7}
_ETM = {"blue": 1, "green": 2, "red": 3, "nir08": 4, "swir16": 5, "swir22": 7}

SENTINEL2 = Sensor("Sentinel-2", _sentinel2(), offset_by_baseline=True)
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
UNKNOWN = Sensor("unknown collection", {}, nodata=None)


def sensor_of(item: Mapping[str, Any]) -> Sensor | None:
    """The family of an item, or None where no table knows it."""
    properties, assets = item.get("properties", {}), item.get("assets", {})
    names = " ".join(
        str(value or "")
        for value in (
            item.get("collection"), properties.get("platform"), properties.get("eo:platform"),
            properties.get("constellation"), properties.get("naip:year") and "naip",
        )
    ).lower().replace("_", "-")  # fmt: skip
    if any(name.startswith("nbart_") for name in assets):
        return GA_ARD
    if "naip" in names:
        return NAIP
    if "sentinel-2" in names or "sentinel2" in names or "sentinel-s2" in names:
        return SENTINEL2
    if "landsat" in names:
        return _landsat_of(item, names)
    return None


def _landsat_of(item: Mapping[str, Any], names: str) -> Sensor:
    properties = item.get("properties", {})
    if any(f"landsat-{number}" in names for number in (4, 5, 7)) or str(item.get("id", ""))[:4] in {
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
        raise ItemError(
            f"view:sun_elevation is {elevation}; level 1 reflectance needs the sun above the horizon; {ITEM_REMEDY}"
        )
    return replace(LANDSAT_OLI_C1, scale=float(f"{2e-5 / sine:.9g}"), offset=float(f"{-0.1 / sine:.9g}"))
