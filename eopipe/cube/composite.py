"""Composites of several scenes, on canonical integers, pixel by pixel.

``median`` of an even count is (a + b + 1) // 2 of the middle two, so it stays an integer and
rounds halves up; of SAR it is the code of the middle two's mean power (:mod:`eopipe.cube.sar`). It is taken per
band over the scenes that are valid at the pixel. ``first`` takes the first valid scene; ``least-cloudy`` is
``first`` over scenes sorted by cloud cover.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from eopipe.cube.radiometry import INVALID
from eopipe.cube.sar import mean_of_two, power_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.cube.scenes import Scene

MOST_OBSERVATIONS = 254

_INVALID = np.uint16(INVALID)
_NONE = np.empty(0)
_NONE.flags.writeable = False


def scene_order(scenes: Sequence[Scene], composite: str) -> list[int]:
    """Order in which scenes are tried: as given, or by cloud cover (unknown last), ties as given."""
    order = range(len(scenes))
    if composite != "least-cloudy":
        return list(order)
    cover = [scene.cloud_cover for scene in scenes]
    return sorted(order, key=lambda n: (cover[n] is None, cover[n] or 0.0, n))


@lru_cache(maxsize=64)
def network(count: int) -> NDArray[np.int64]:
    """Batcher's odd-even merge sort of ``count`` values, as pairs to put in order, ``[n, 2]``.

    A network makes the same comparisons whatever the values, so that a whole row of pixels
    is sorted at once with vector instructions (K. Batcher, AFIPS 1968).
    """
    pairs: list[tuple[int, int]] = []
    p = 1
    while p < count:
        k = p
        while k >= 1:
            for j in range(k % p, count - k, 2 * k):
                group = range(j, min(j + k, count - k))
                pairs += [(i, i + k) for i in group if i // (2 * p) == (i + k) // (2 * p)]
            k //= 2
        p *= 2
    return np.array(pairs, np.int64).reshape(-1, 2)


@njit(nogil=True, cache=True)
def _judge(stack: NDArray[Any], passed: NDArray[Any], y: int, good: NDArray[Any], count: NDArray[Any]) -> None:
    """Which scenes are valid in row y, and how many at each pixel: data in all bands, and the mask passes."""
    scenes, bands, _, width = stack.shape
    count[:] = 0
    for s in range(scenes):
        if passed.shape[0] > 0:
            good[s, :] = passed[s, y, :]
        else:
            good[s, :] = True
        for b in range(bands):
            for x in range(width):
                good[s, x] &= stack[s, b, y, x] != _INVALID
        for x in range(width):
            count[x] += good[s, x]


@njit(nogil=True, cache=True)
def _first(stack: NDArray[Any], y: int, good: NDArray[Any], order: NDArray[Any], values: NDArray[Any]) -> None:
    for b in range(stack.shape[1]):
        values[b, y, :] = 0
        for k in range(order.size - 1, -1, -1):
            s = order[k]
            for x in range(stack.shape[3]):
                values[b, y, x] = stack[s, b, y, x] if good[s, x] else values[b, y, x]


@njit(nogil=True, cache=True)
def _median(
    stack: NDArray[Any],
    y: int,
    good: NDArray[Any],
    count: NDArray[Any],
    pairs: NDArray[Any],
    rows: NDArray[Any],
    tables: tuple[NDArray[Any], NDArray[Any]],
    values: NDArray[Any],
) -> None:
    scenes, bands, _, width = stack.shape
    lower, upper = np.empty(width, np.uint16), np.empty(width, np.uint16)
    for b in range(bands):
        for s in range(scenes):
            for x in range(width):
                rows[s, x] = stack[s, b, y, x] if good[s, x] else _INVALID
        for n in range(pairs.shape[0]):
            low, high = rows[pairs[n, 0]], rows[pairs[n, 1]]
            for x in range(width):
                one, two = low[x], high[x]
                low[x] = min(two, one)
                high[x] = max(one, two)
        if tables[0].size > 0:
            _middles(rows, count, lower, upper)
            mean_of_two(lower, upper, tables[0], tables[1])
            for x in range(width):
                values[b, y, x] = lower[x] if count[x] else 0
            continue
        for x in range(width):
            n = count[x]
            if n == 0:
                values[b, y, x] = 0
            else:
                values[b, y, x] = (np.uint32(rows[(n - 1) // 2, x]) + np.uint32(rows[n // 2, x]) + np.uint32(1)) // 2


@njit(nogil=True, cache=True)
def _middles(rows: NDArray[Any], count: NDArray[Any], one: NDArray[Any], two: NDArray[Any]) -> None:
    """The middle two of each sorted column (the same one twice where the count is odd); any where it is 0."""
    for x in range(one.size):
        n = max(count[x], 1)
        one[x], two[x] = rows[(n - 1) // 2, x], rows[n // 2, x]


@njit(nogil=True, cache=True)
def _combine(
    stack: NDArray[Any],
    passed: NDArray[Any],
    order: NDArray[Any],
    pairs: NDArray[Any],
    tables: tuple[NDArray[Any], NDArray[Any]],
    values: NDArray[Any],
    valid: NDArray[Any],
    observations: NDArray[Any],
) -> None:
    scenes, _, height, width = stack.shape
    good = np.empty((scenes, width), np.bool_)
    count = np.empty(width, np.int32)
    rows = np.empty((scenes, width), np.uint16)
    for y in range(height):
        _judge(stack, passed, y, good, count)
        for x in range(width):
            valid[y, x] = count[x] > 0
            observations[y, x] = min(count[x], MOST_OBSERVATIONS)
        if pairs.shape[0] > 0:
            _median(stack, y, good, count, pairs, rows, tables, values)
        else:
            _first(stack, y, good, order, values)


def combine(
    stack: NDArray[np.uint16],
    passed: NDArray[np.bool_] | None,
    order: Sequence[int],
    *,
    median: bool,
    sar: bool = False,
    values: NDArray[np.uint16],
    valid: NDArray[np.bool_],
    observations: NDArray[np.uint8],
) -> None:
    """Composite a stack of scenes.

    Args:
        stack: ``[scene, band, y, x]`` uint16; INVALID where there is no data.
        passed: ``[scene, y, x]`` bool, or None where there is no mask.
        order: Scenes in the order in which ``first`` tries them.
        median: Median, else the first valid scene.
        sar: Whether values are codes of backscatter, whose means are means of power.
        values: ``[band, y, x]`` uint16, written; 0 where invalid.
        valid: ``[y, x]`` bool, written.
        observations: ``[y, x]`` uint8, written: valid scenes, 254 for more.
    """
    mask = np.empty((0, 0, 0), np.bool_) if passed is None else passed
    pairs = network(len(stack) if median else 1)  # nothing to sort: the first valid scene
    means = power_tables() if sar else (_NONE, _NONE)
    _combine(stack, mask, np.asarray(order, np.int64), pairs, means, values, valid, observations)
