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
    from collections.abc import Sequence

    from numpy.typing import NDArray

UNIT = 10000
"""Canonical integers per unit of reflectance."""

TOP = 65534
"""Largest canonical value; brighter pixels are clipped."""

_HUGE = 1e30
"""Beyond it lies no measurement: a no-data value may be stated as -3.4e+38, and be stored with all its digits."""

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


def missing_floats(values: NDArray[Any], nodata: Sequence[float]) -> NDArray[np.bool_]:
    """Which floats have no data: NaN, infinities, and the no-data values, as the type holds them."""
    missing: NDArray[np.bool_] = ~np.isfinite(values)
    for value in nodata:
        with np.errstate(over="ignore"):
            missing |= values == values.dtype.type(value)
        if math.isfinite(value) and abs(value) > _HUGE:
            missing |= (values < -_HUGE) if value < 0 else (values > _HUGE)
    return missing


def canonical_floats(
    values: NDArray[Any], scale: float, offset: float, nodata: float | Sequence[float] | None
) -> NDArray[np.uint16]:
    """Canonical values of a floating-point band; NaN, infinities and no-data become INVALID."""
    bad = missing_floats(values, () if nodata is None else (nodata,) if isinstance(nodata, int | float) else nodata)
    clean = np.where(bad, 0, values).astype(np.float64)
    scaled = np.floor(clean * (scale * UNIT) + offset * UNIT + 0.5)
    canonical: NDArray[np.uint16] = np.clip(scaled, 0, TOP).astype(np.uint16)
    canonical[bad] = INVALID
    return canonical
