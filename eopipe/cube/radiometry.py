"""From digital numbers to canonical integers: reflectance x 10000 in uint16, exactly.

Scale and offset are taken as the decimal fractions that their shortest text spells
(0.0001 is 1/10000, not the nearest double), and a table over all DN is computed in
integers, rounding halves up. So no platform and no library version can change a value.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNIT = 10000
"""Canonical integers per unit of reflectance."""

TOP = 65534
"""Largest canonical value; brighter pixels are clipped."""

INVALID = 65535
"""Marks a pixel without data inside the reader; never leaves it."""


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
    canonical: NDArray[np.uint16] = np.clip(values, 0, TOP).astype(np.uint16)
    if nodata is not None and float(nodata).is_integer() and info.min <= nodata <= info.max:
        canonical[int(nodata) - info.min] = INVALID
    canonical.flags.writeable = False
    return canonical


def canonical_floats(values: NDArray[Any], scale: float, offset: float, nodata: float | None) -> NDArray[np.uint16]:
    """Canonical values of a floating-point band; NaN, infinities and no-data become INVALID."""
    bad = ~np.isfinite(values)
    if nodata is not None and not np.isnan(nodata):
        bad |= values == values.dtype.type(nodata)
    clean = np.where(bad, 0, values).astype(np.float64)
    scaled = np.floor(clean * (scale * UNIT) + offset * UNIT + 0.5)
    canonical: NDArray[np.uint16] = np.clip(scaled, 0, TOP).astype(np.uint16)
    canonical[bad] = INVALID
    return canonical
