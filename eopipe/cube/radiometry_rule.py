"""The one radiometry rule: what a band's numbers mean, field by field, from the most to the least trusted source.

Scale, offset, no-data and unit come from the spec, else from the item's asset, else from the Collection's
``item_assets`` (:mod:`eopipe.cube.stated_numbers`), else from the file's own tags, else from the family's table
(:mod:`eopipe.cube.sensors`). Everything but the tags is resolved here; the tags follow when the file is opened
(:mod:`eopipe.cube.file_radiometry`), where the file's no-data, mask and alpha count beside whatever is stated.
Sentinel-2's offset has an order of its own: the provider's flag, then what is stated, then the processing
baseline. The unit of SAR comes from the spec, the asset or a table (:mod:`eopipe.cube.sar_sensors`).

Sources: Sentinel-2 Products Specification (baseline 04.00, RADIO_ADD_OFFSET and BOA_ADD_OFFSET = -1000), Earth
Search's ``earthsearch:boa_offset_applied``, USGS Landsat Collection 2 Level-2 Science Product Guide (2.75e-5, -0.2).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from eopipe.cube.sar_sensors import calibration
from eopipe.cube.scenes import Origins
from eopipe.cube.sensors import MASKS
from eopipe.cube.stated_numbers import contradicts_reflectance, data_bands, stated_numbers
from eopipe.errors import ITEM_REMEDY, ItemError
from eopipe.spec import RadiometrySpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from eopipe.cube.scenes import AssetRef, Origin
    from eopipe.cube.sensors import Sensor
    from eopipe.cube.stated_numbers import StatedNumbers
    from eopipe.spec import SarSpec

OFFSET_BASELINE = (4, 0)
"""Sentinel-2 processing baseline from which products carry an offset of -1000 DN."""

OFFSET_DATE = "2022-01-25"
"""Day from which ESA produced with that baseline."""

_MOST_OFFSET = 2.0
"""Reflectance; a larger offset is one of DN."""

_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})(\d{2})_R\d{3}_")
_NONE = RadiometrySpec()


def with_reflectance(
    ref: AssetRef,
    band: str,
    *,
    item: Mapping[str, Any],
    asset: Mapping[str, Any],
    sensor: Sensor,
    spec: RadiometrySpec | None = None,
) -> AssetRef:
    """The file's band with scale, offset and no-data of reflectance; a mask has no-data alone.

    Raises:
        ItemError: Its numbers are no reflectance, or nothing says how they become it; the message names the key.
    """
    stated, spec = stated_numbers(item, asset, ref.band_index), spec or _NONE
    if band in MASKS:
        nodata, origin = stated.number("nodata")
        return replace(ref, nodata=nodata, unit="codes", origins=Origins(None, None, origin))
    _refuse_unit(stated, spec, band)
    ref = replace(ref, data_bands=data_bands(asset))
    neutral = spec.of("scale", band) is None and stated.is_neutral
    if not neutral or sensor.refusal:
        return _reflectance(ref, band, item, stated.without_neutral() if neutral else stated, sensor, spec)
    of_integers = _reflectance(ref, band, item, stated.without_neutral(), sensor, spec)
    return replace(_reflectance(ref, band, item, stated, sensor, spec), of_integers=of_integers)


def _reflectance(
    ref: AssetRef, band: str, item: Mapping[str, Any], stated: StatedNumbers, sensor: Sensor, spec: RadiometrySpec
) -> AssetRef:
    scale, scale_origin = _first(spec, stated, "scale", band)
    if sensor.refusal and scale is None:
        raise ItemError(
            f"band {band} ({sensor.name}): {sensor.refusal}; take a Level-2 collection (surface reflectance), or "
            f"state source.scale and source.offset, by which the numbers become reflectance"
        )
    offset, offset_origin = _offset(item, spec, stated, sensor, band, scale is not None)
    if abs(offset) > _MOST_OFFSET and offset_origin in {"item", "collection"}:
        raise ItemError(
            f"band {band}: the {offset_origin} states an offset of {offset:g}, which is no reflectance; set "
            f"source.offset (reflectance, such as -0.1), or {ITEM_REMEDY}"
        )
    nodata, nodata_origin = _first(spec, stated, "nodata", band)
    return replace(
        ref,
        scale=sensor.scale if scale is None else scale,
        offset=offset,
        nodata=sensor.nodata if nodata is None else nodata,
        origins=Origins(
            scale_origin or ("table" if sensor.scale is not None else None),
            offset_origin,
            nodata_origin or ("table" if sensor.nodata is not None else None),
        ),
        table_nodata=sensor.nodata,
        dtypes=sensor.dtypes,
        family=sensor.name,
        unit_stated=spec.unit is not None or bool(stated.units()),
        remarks=tuple(_conflicts(spec, stated, sensor, band)),
    )


def with_backscatter(
    ref: AssetRef,
    band: str,
    *,
    item: Mapping[str, Any],
    asset: Mapping[str, Any],
    sar: SarSpec | None,
    spec: RadiometrySpec | None = None,
) -> AssetRef:
    """The file's band with unit, scale, offset and no-data of SAR backscatter.

    Raises:
        ItemError: Nothing says what the file's numbers are; the message names the spec's key.
    """
    stated, spec = stated_numbers(item, asset, ref.band_index), spec or _NONE
    unit, decibels = calibration(item, stated, sar)
    scale, scale_origin = _first(spec, stated, "scale", band)
    offset, offset_origin = _first(spec, stated, "offset", band)
    nodata, nodata_origin = _first(spec, stated, "nodata", band)
    return replace(
        ref,
        nodata=nodata,
        scale=1.0 if scale is None else scale,
        offset=0.0 if offset is None else offset,
        unit=unit,
        decibels=decibels,
        # The table of SAR families has units alone, of numbers as they are: a scale of 1.
        origins=Origins(scale_origin or "table", offset_origin, nodata_origin),
        unit_stated=True,
    )


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


def _first(
    spec: RadiometrySpec, stated: StatedNumbers, key: Literal["scale", "offset", "nodata"], band: str
) -> tuple[float | None, Origin | None]:
    number = spec.of(key, band)
    return (number, "spec") if number is not None else stated.number(key)


def _offset(
    item: Mapping[str, Any], spec: RadiometrySpec, stated: StatedNumbers, sensor: Sensor, band: str, scaled: bool
) -> tuple[float, Origin | None]:
    offset, origin = _first(spec, stated, "offset", band)
    if origin == "spec" and offset is not None:
        return offset, origin
    if sensor.offset_by_baseline:
        if boa_offset_applied(item):
            return 0.0, "flag"
        if offset is not None:
            return offset, origin
        # A stated scale without an offset means none.
        return sentinel2_offset(item, None), "assumed" if _offset_unknown(item) and not scaled else "baseline"
    if offset is not None:
        return offset, origin
    # A stated scale without an offset means none; only an item that states neither takes the table's.
    return (0.0, None) if scaled else (sensor.offset, "table")


def _refuse_unit(stated: StatedNumbers, spec: RadiometrySpec, band: str) -> None:
    if spec.unit is not None:
        return
    thermal = stated.common_name().startswith("lwir")
    unit, source = next(iter(stated.units()), ("kelvin (common name lwir)" if thermal else "", "item"))
    if unit and contradicts_reflectance(unit):
        raise ItemError(
            f"band {band}: the {source} states the unit {unit!r}, which is not reflectance; take a collection of "
            f"reflectance, or where the statement is wrong set source.unit: reflectance (and source.scale)"
        )


def _conflicts(spec: RadiometrySpec, stated: StatedNumbers, sensor: Sensor, band: str) -> list[str]:
    """Conflicts between spec, item and Collection, one line each."""
    remarks = []
    keys: tuple[Literal["scale", "offset"], ...] = ("scale", "offset")
    for key in keys:
        number = spec.of(key, band)
        values: dict[str, float] = {} if number is None else {"spec": number}
        values.update(stated.numbers(key).items())
        first = next(iter(values), None)
        if key == "offset" and sensor.offset_by_baseline and first != "spec":
            continue  # the flag or the baseline settles it
        remarks += [
            f"{key}: {first} says {values[first]:g}, {source} {value:g}; that of the {first} counts"
            for source, value in values.items()
            if first is not None and not same(values[first], value)
        ]
    return remarks


def _offset_unknown(item: Mapping[str, Any]) -> bool:
    date = str(item.get("properties", {}).get("datetime") or "")
    return baseline(item) is None and boa_offset_applied(item) is None and date[:10] >= OFFSET_DATE


def same(first: float, second: float) -> bool:
    """Whether two statements of a number agree; a float32 holds seven digits."""
    return math.isclose(first, second, rel_tol=1e-6, abs_tol=1e-12)
