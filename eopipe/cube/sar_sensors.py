"""What a SAR file's numbers are: as the spec, the item or a table of collections says; never guessed from them.

Decibels, power and amplitude overlap (2.5 may be any of them), so an unknown file is refused with the key to set.
Ground Range Detected products as ESA distributes them are refused too: their DN become sigma nought only with the
calibration table of the annotation file, which varies along the range, and their ground control points miss relief
by the height over the tangent of the incidence angle (1.6 m a metre of height on the product under test).

Sources: Planetary Computer, collection ``sentinel-1-rtc`` (gamma nought, linear power, no data -32768; some scenes
are filled with 0, which has no decibels and so is no data here); OPERA RTC-S1 product specification (linear
backscatter intensity, gamma nought); JAXA, Global 25 m PALSAR mosaic (gamma nought = 10 log10(DN^2) - 83.0 dB);
Sentinel-1 Product Specification (GRD: detected amplitude, uncalibrated, 0 is no data).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from eopipe.cube.sar import SAR_BANDS
from eopipe.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.cube.sar import Unit
    from eopipe.cube.stated_numbers import StatedNumbers
    from eopipe.spec import SarSpec

ASSETS: Mapping[str, tuple[str, ...]] = {
    band: (band, band.upper(), f"gamma0_{band}", f"sigma0_{band}", f"{band}_gamma0", f"{band}_sigma0")
    for band in SAR_BANDS
}
"""Canonical band to the names its asset may have, best first: a polarisation is called alike everywhere."""

_UNITS: Mapping[str, Unit] = {
    "db": "dB", "decibel": "dB", "decibels": "dB",
    "power": "power", "linear power": "power", "intensity": "power", "linear intensity": "power",
    "amplitude": "amplitude", "linear amplitude": "amplitude",
}  # fmt: skip
"""Units as items write them. ``1`` and ``linear`` may be power or amplitude, and say nothing."""


@dataclass(frozen=True)
class SarSensor:
    """One family of SAR collections.

    Args:
        name: For messages.
        collection: Regular expression that the collection's id matches, in any case.
        unit: What its numbers are; None where the spec must say it.
        decibels: Added in decibels.
        why: Why the spec must say it.
    """

    name: str
    collection: str
    unit: Unit | None
    decibels: float = 0.0
    why: str = "the item does not say whether its numbers are decibels, power or amplitude"
    assets: ClassVar[Mapping[str, tuple[str, ...]]] = ASSETS


_GRD_WHY = (
    "its numbers are amplitudes that only the annotation's table calibrates, and its pixels are not "
    "terrain-corrected; take an RTC collection, such as sentinel-1-rtc of the Planetary Computer"
)

SENSORS = (
    SarSensor("Sentinel-1 RTC", r"^sentinel-1-rtc$", "power"),
    SarSensor("OPERA RTC-S1", r"opera.*rtc", "power"),
    SarSensor("PALSAR mosaic", r"^alos-palsar-mosaic$", "amplitude", decibels=-83.0),
    SarSensor("Sentinel-1 GRD", r"^sentinel-?1-grd", None, why=_GRD_WHY),
)
"""Families by collection id, the first that matches. A family that is missing needs ``source.sar``."""

UNKNOWN = SarSensor("unknown SAR collection", r"", None)


def sar_sensor_of(item: Mapping[str, Any]) -> SarSensor:
    """The family of an item; UNKNOWN where no table has it."""
    name = str(item.get("collection") or item.get("properties", {}).get("collection") or "")
    return next((sensor for sensor in SENSORS if re.search(sensor.collection, name, re.IGNORECASE)), UNKNOWN)


def calibration(item: Mapping[str, Any], stated: StatedNumbers, sar: SarSpec | None) -> tuple[Unit, float]:
    """Unit of an asset's numbers, and decibels to add.

    From the spec, the asset, the Collection's ``item_assets``, or the table, in this order.

    Args:
        item: The item's JSON.
        stated: What asset and Collection state of the band.
        sar: What the spec says.

    Raises:
        ItemError: None of them says it.
    """
    if sar is not None:
        return sar.unit, sar.offset
    known = [_UNITS[text] for text in (unit.replace("-", " ") for unit, _ in stated.units()) if text in _UNITS]
    if known:
        return known[0], 0.0
    sensor = sar_sensor_of(item)
    if sensor.unit is None:
        raise ItemError(
            f"item {item.get('id')!r} ({sensor.name}): {sensor.why}; "
            "or say what your files hold: source.sar: {unit: dB | power | amplitude}"
        )
    return sensor.unit, sensor.decibels
