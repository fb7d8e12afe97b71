"""From digital numbers to canonical integers: reflectance x 10000 in uint16, exactly.

Scale and offset are taken as the decimal fractions that their shortest text spells
(0.0001 is 1/10000, not the nearest double), and a table over all DN is computed in
integers, rounding halves up. So no platform and no library version can change a value.

Order of truth for the offset: the provider's flag, then the asset's metadata, then the
processing baseline. Sources: Sentinel-2 Products Specification (baseline 04.00,
RADIO_ADD_OFFSET and BOA_ADD_OFFSET = -1000), Earth Search's ``earthsearch:boa_offset_applied``,
USGS Landsat Collection 2 Level-2 Science Product Guide (2.75e-5, -0.2).
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.errors import ItemError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

UNIT = 10000
"""Canonical integers per unit of reflectance."""

TOP = 65534
"""Largest canonical value; brighter pixels are clipped."""

INVALID = 65535
"""Marks a pixel without data inside the reader; never leaves it."""

OFFSET_BASELINE = (4, 0)
"""Sentinel-2 processing baseline from which products carry an offset of -1000 DN."""

_FLAGS = ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied")
_BASELINE_IN_NAME = re.compile(r"_N(\d{2})(\d{2})_R\d{3}_")


def baseline(item: Mapping[str, Any]) -> tuple[int, int] | None:
    """Processing baseline of a Sentinel-2 item: stated, or read from the product's name."""
    properties = item.get("properties", {})
    for key in ("s2:processing_baseline", "sentinel2:processing_baseline", "processing:version"):
        match = re.match(r"^\s*(\d{1,2})\.(\d{1,2})", str(properties.get(key, "")))
        if match:
            return int(match[1]), int(match[2])
    names = (properties.get(key) for key in ("s2:product_uri", "sentinel:product_id", "title"))
    for name in (*names, item.get("id")):
        match = _BASELINE_IN_NAME.search(str(name or ""))
        if match:
            return int(match[1]), int(match[2])
    return None


def boa_offset_applied(item: Mapping[str, Any]) -> bool | None:
    """The provider's flag: True means that the file's numbers need no offset any more."""
    properties = item.get("properties", {})
    flags = [properties[key] for key in _FLAGS if key in properties]
    if not flags:
        return None
    # Some mirrors write booleans as text, and bool("False") is True.
    return str(flags[0]).strip().lower() == "true"


def stated(band: Mapping[str, Any] | None, asset: Mapping[str, Any], key: str) -> float | None:
    """Scale, offset or no-data of an asset: ``raster:bands``, STAC 1.1 ``bands``, or the asset itself."""
    for holder in (band or {}, asset):
        for name in (f"raster:{key}", key):
            if holder.get(name) is not None:
                return _number(holder[name], name)
    return None


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


def _number(value: object, name: str) -> float:
    # STAC's raster extension lets no-data be "nan", "inf" or "-inf".
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ItemError(f"{name} is {value!r}, not a number; correct the item's asset metadata") from None


@lru_cache(maxsize=64)
def table(dtype: str, scale: float, offset: float, nodata: float | None) -> NDArray[np.uint16]:
    """Canonical value of every DN of an integer type.

    Args:
        dtype: ``uint8``, ``int8``, ``uint16`` or ``int16``.
        scale: Reflectance per DN.
        offset: Added after scaling.
        nodata: DN without data, or None.

    Returns:
        uint16 of length 256 or 65536, indexed by DN minus the type's minimum; no-data gives INVALID,
        everything else 0 to TOP. Halves round up.
    """
    info = np.iinfo(dtype)
    factor, shift = Fraction(repr(float(scale))) * UNIT, Fraction(repr(float(offset))) * UNIT
    common = math.lcm(factor.denominator, shift.denominator)
    a, b = int(factor * common), int(shift * common)
    numbers = np.arange(info.min, info.max + 1, dtype=object if abs(a) > 2**44 or common > 2**44 else np.int64)
    values = (2 * (numbers * a + b) + common) // (2 * common)
    found: NDArray[np.uint16] = np.clip(values, 0, TOP).astype(np.uint16)
    if nodata is not None and float(nodata).is_integer() and info.min <= nodata <= info.max:
        found[int(nodata) - info.min] = INVALID
    found.flags.writeable = False
    return found


def canonical_floats(values: NDArray[Any], scale: float, offset: float, nodata: float | None) -> NDArray[np.uint16]:
    """Canonical values of a floating-point band; NaN, infinities and no-data become INVALID."""
    bad = ~np.isfinite(values)
    if nodata is not None and not np.isnan(nodata):
        bad |= values == values.dtype.type(nodata)
    clean = np.where(bad, 0, values).astype(np.float64)
    scaled = np.floor(clean * (scale * UNIT) + offset * UNIT + 0.5)
    found: NDArray[np.uint16] = np.clip(scaled, 0, TOP).astype(np.uint16)
    found[bad] = INVALID
    return found
