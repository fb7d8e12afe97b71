"""2 x 2 reductions: the mode for classes, the mean for quantities.

**Mode.** Among the four pixels, a code that is not a *loser* beats any loser (``label``: 0 and 255 lose, so a
valid class is never covered by missing data); then the more frequent wins; ties go to the lowest code. So the
result depends on the four values only, not on their order.

**Mean.** The sum of the valid pixels over their number, a half rounded up: ``floor((2 sum + n) / 2n)``, in
integers, so that every machine gets the same. Losers and fill are left out; where nothing else is there, the
mode of them stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.kernelinfo import ArraySpec


def reduce(array: NDArray[Any], spec: ArraySpec) -> NDArray[Any]:
    """Halve an array as its spec says: mode where it has classes, else mean.

    Args:
        array: ``[y, x]`` or ``[plane, y, x]``; an odd last row or column is completed with the fill value.
        spec: Names losers and fill.

    Returns:
        An array of half the height and width, rounded up.
    """
    losers = (*spec.losers, spec.fill)
    how = reduce_mode if spec.classes else reduce_mean
    even = _even(array, spec.fill)
    if even.ndim == 2:
        return how(even, losers)
    return np.stack([how(plane, losers) for plane in even])


def reduce_mode(array: NDArray[Any], losers: Sequence[int] = ()) -> NDArray[Any]:
    """The most frequent code of each 2 x 2 block; see the module for ties and losers.

    Args:
        array: ``[y, x]`` integers, both sides even.
        losers: Codes that never win over another.
    """
    return np.asarray(_mode(np.ascontiguousarray(array), *_losing(array.dtype, losers)))


def reduce_mean(array: NDArray[Any], losers: Sequence[int] = ()) -> NDArray[Any]:
    """The rounded mean of each 2 x 2 block, losers left out; see the module.

    Args:
        array: ``[y, x]`` integers, both sides even.
        losers: Codes that are no quantity.
    """
    return np.asarray(_mean(np.ascontiguousarray(array), *_losing(array.dtype, losers)))


def histogram(array: NDArray[Any]) -> dict[int, int]:
    """Pixels by code, codes that occur only; without numpy's int64 copy of the array.

    Args:
        array: Integers of 8 or 16 bits, any shape.
    """
    info = np.iinfo(array.dtype)
    counts = _count(np.ascontiguousarray(array).reshape(-1), -int(info.min), int(info.max) - int(info.min) + 1)
    return {int(code) + int(info.min): int(counts[code]) for code in np.flatnonzero(counts)}


def _even(array: NDArray[Any], fill: int) -> NDArray[Any]:
    rows, cols = array.shape[-2] % 2, array.shape[-1] % 2
    if not (rows or cols):
        return array
    pad = [(0, 0)] * (array.ndim - 2) + [(0, rows), (0, cols)]
    return np.pad(array, pad, constant_values=fill)


def _losing(dtype: np.dtype[Any], losers: Sequence[int]) -> tuple[NDArray[np.bool_], int]:
    info = np.iinfo(dtype)
    table = np.zeros(int(info.max) - int(info.min) + 1, dtype=np.bool_)
    table[[code - int(info.min) for code in losers if info.min <= code <= info.max]] = True
    return table, -int(info.min)


@njit(cache=True, nogil=True)
def _winner(four: Any, loses: Any, shift: int) -> Any:  # pragma: no cover  (compiled)
    best = four[0]
    best_count = 0
    best_loses = True
    for k in range(4):
        value = four[k]
        count = 0
        for m in range(4):
            if four[m] == value:
                count += 1
        lost = loses[value + shift]
        if lost != best_loses:
            better = best_loses
        elif count != best_count:
            better = count > best_count
        else:
            better = value < best
        if better:
            best, best_count, best_loses = value, count, lost
    return best


@njit(cache=True, nogil=True)
def _mode(array: Any, loses: Any, shift: int) -> Any:  # pragma: no cover  (compiled)
    rows, cols = array.shape[0] // 2, array.shape[1] // 2
    out = np.empty((rows, cols), array.dtype)
    four = np.empty(4, np.int64)
    for i in range(rows):
        for j in range(cols):
            four[0], four[1] = array[2 * i, 2 * j], array[2 * i, 2 * j + 1]
            four[2], four[3] = array[2 * i + 1, 2 * j], array[2 * i + 1, 2 * j + 1]
            if four[0] == four[1] and four[1] == four[2] and four[2] == four[3]:
                out[i, j] = four[0]
            else:
                out[i, j] = _winner(four, loses, shift)
    return out


@njit(cache=True, nogil=True)
def _mean(array: Any, loses: Any, shift: int) -> Any:  # pragma: no cover  (compiled)
    rows, cols = array.shape[0] // 2, array.shape[1] // 2
    out = np.empty((rows, cols), array.dtype)
    four = np.empty(4, np.int64)
    for i in range(rows):
        for j in range(cols):
            four[0], four[1] = array[2 * i, 2 * j], array[2 * i, 2 * j + 1]
            four[2], four[3] = array[2 * i + 1, 2 * j], array[2 * i + 1, 2 * j + 1]
            total = 0
            valid = 0
            for k in range(4):
                if not loses[four[k] + shift]:
                    total += four[k]
                    valid += 1
            if valid:
                out[i, j] = (2 * total + valid) // (2 * valid)
            else:
                out[i, j] = _winner(four, loses, shift)
    return out


@njit(cache=True, nogil=True)
def _count(flat: Any, shift: int, size: int) -> Any:  # pragma: no cover  (compiled)
    counts = np.zeros(size, np.int64)
    for value in flat:
        counts[value + shift] += 1
    return counts
