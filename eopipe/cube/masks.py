"""Quality masks: which classes or flags are dropped, as a table over the mask's values.

Sources: Sentinel-2 Level-2A Algorithm Overview (scene classification, 0 to 11); USGS Landsat
Collection 2 Level-2 Science Product Guide, table 6-2 (QA_PIXEL); USGS Landsat Collection 1 Level-1
Quality Assessment Band (BQA); HLS Product User Guide v2.0, table 9 (Fmask); Geoscience Australia, ARD collection 3
(oa_fmask).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.spec import MaskSpec

SCL = {
    "no_data": (0,), "saturated": (1,), "dark": (2,), "cloud_shadow": (3,), "vegetation": (4,), "bare": (5,),
    "water": (6,), "unclassified": (7,), "cloud_medium": (8,), "cloud_high": (9,), "cirrus": (10,), "snow": (11,),
    "cloud": (8, 9), "shadow": (3,),
}  # fmt: skip
"""Scene classes by name; ``cloud`` is medium and high probability together."""

QA_PIXEL = {
    "fill": (0, 1, 1), "dilated_cloud": (1, 1, 1), "cirrus": (2, 1, 1), "cloud": (3, 1, 1), "cloud_shadow": (4, 1, 1),
    "shadow": (4, 1, 1), "snow": (5, 1, 1), "clear": (6, 1, 1), "water": (7, 1, 1),
}  # fmt: skip
"""Flag name to (first bit, bits, least value)."""

BQA = {
    "fill": (0, 1, 1), "terrain_occlusion": (1, 1, 1), "saturated": (2, 2, 1), "cloud": (4, 1, 1),
    "cloud_medium": (5, 2, 2), "cloud_high": (5, 2, 3), "cloud_shadow": (7, 2, 3), "shadow": (7, 2, 3),
    "snow": (9, 2, 3), "cirrus": (11, 2, 3),
}  # fmt: skip
"""As QA_PIXEL, for Collection 1."""

FMASK = {
    "cirrus": (0, 1, 1), "cloud": (1, 1, 1), "adjacent": (2, 1, 1), "cloud_shadow": (3, 1, 1), "shadow": (3, 1, 1),
    "snow": (4, 1, 1), "water": (5, 1, 1), "aerosol_high": (6, 2, 3), "fill": (0, 8, 255),
}  # fmt: skip
"""As QA_PIXEL, for HLS; 255 is fill."""

OA_FMASK = {
    "no_data": (0,), "clear": (1,), "cloud": (2,), "cloud_shadow": (3,), "shadow": (3,), "snow": (4,), "water": (5,),
}  # fmt: skip
"""Classes by name, of Geoscience Australia."""

DEFAULTS = {
    "scl": ("saturated", "cloud_shadow", "cloud", "cirrus"),
    "qa_pixel": ("dilated_cloud", "cloud", "cloud_shadow", "cirrus"),
    "bqa": ("saturated", "cloud", "cloud_shadow", "cirrus"),
    "fmask": ("cloud", "cloud_shadow"),
    "oa_fmask": ("cloud", "cloud_shadow"),
}
"""What is dropped where the spec does not say."""

_CLASSES: Mapping[str, Mapping[str, tuple[int, ...]]] = {"scl": SCL, "oa_fmask": OA_FMASK}
_FLAGS: Mapping[str, Mapping[str, tuple[int, int, int]]] = {"qa_pixel": QA_PIXEL, "bqa": BQA, "fmask": FMASK}
_FILL, _DROP = 1, 2


def describe(mask: MaskSpec) -> str:
    """What a mask drops, for people: ``fmask bits 1, 3`` or ``scl classes 1, 3, 8, 9, 10``."""
    names = mask.drop if mask.drop is not None else DEFAULTS[mask.band]
    if mask.band in _CLASSES:
        known = _CLASSES[mask.band]
        numbers = {code for name in names for code in known.get(name, (int(name),) if name.isdigit() else ())}
        return f"{mask.band} classes {', '.join(map(str, sorted(numbers)))}"
    bits = {
        bit
        for name in names
        for first, count, _ in [_FLAGS[mask.band].get(name, (0, 0, 0))]
        for bit in range(first, first + count)
    }
    return f"{mask.band} bits {', '.join(map(str, sorted(bits)))}"


@lru_cache(maxsize=64)
def mask_table(mask: MaskSpec, fill: tuple[float, ...] = ()) -> NDArray[np.uint8]:
    """For each value of the mask: 0 keep, 1 fill (dropped, never dilated), 2 dropped.

    Args:
        mask: Which classes or flags are dropped.
        fill: Values that a file declares to be no data, beside those of the kind of mask.

    Returns:
        uint8 of length 65536 (the mask is read as uint16).

    Raises:
        SpecError: A class is unknown; the message lists those that exist.
    """
    values = np.arange(65536)
    table = np.zeros(65536, np.uint8)
    for name in mask.drop if mask.drop is not None else DEFAULTS[mask.band]:
        table[_hit(mask.band, name, values)] = _DROP
    table[_hit(mask.band, "no_data" if mask.band in _CLASSES else "fill", values)] = _FILL
    for value in fill:
        if 0 <= value < len(table) and float(value).is_integer():
            table[int(value)] = _FILL
    table.flags.writeable = False
    return table


def _hit(band: str, name: str, values: NDArray[np.int64]) -> NDArray[np.bool_]:
    classes, flags = _CLASSES.get(band), _FLAGS.get(band, {})
    highest = max(code for codes in classes.values() for code in codes) if classes else -1
    number = (int(name),) if name.isdigit() and int(name) <= highest else None
    if number is None and name not in (classes or flags):
        raise SpecError(f"source.mask.drop: {band} has no class {name!r}; it has {', '.join(classes or flags)}")
    if classes:
        return np.isin(values, number or classes[name])
    first, bits, least = flags[name]
    hit: NDArray[np.bool_] = ((values >> first) & ((1 << bits) - 1)) >= least
    return hit


@njit(nogil=True, cache=True)
def passes(  # noqa: C901  (three plain passes, one function for numba)
    codes: NDArray[Any], present: NDArray[Any], table: NDArray[Any], grow: int, out: NDArray[Any]
) -> None:
    """Which pixels a mask lets through; what is dropped grows by ``grow`` pixels (a square).

    Args:
        codes: ``[y + 2 grow, x + 2 grow]`` mask values, with their own halo, so that a pixel's
            answer depends on no box.
        present: Whether the mask's file covers the pixel; uncovered pixels are dropped.
        table: From :func:`mask_table`.
        grow: Pixels of the grid.
        out: ``[y, x]`` bool, written.
    """
    height, width = codes.shape
    wide = np.zeros((height, width - 2 * grow), np.bool_)
    for y in range(height):
        last = -(10**9)
        for x in range(width):
            if present[y, x] and table[codes[y, x]] == 2:
                last = x
            if x >= 2 * grow:
                wide[y, x - 2 * grow] = last >= x - 2 * grow
    for x in range(width - 2 * grow):
        last = -(10**9)
        for y in range(height):
            if wide[y, x]:
                last = y
            if y >= 2 * grow:
                out[y - 2 * grow, x] = not last >= y - 2 * grow
    for y in range(height - 2 * grow):
        for x in range(width - 2 * grow):
            if not present[y + grow, x + grow] or table[codes[y + grow, x + grow]] != 0:
                out[y, x] = False
