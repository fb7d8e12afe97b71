"""Composites of several scenes, on canonical integers, pixel by pixel.

``median`` of an even count is (a + b + 1) // 2 of the middle two, so it stays an integer and
rounds halves up. It is taken per band over the scenes that are valid at the pixel. ``first``
takes the first valid scene; ``least-cloudy`` is ``first`` over scenes sorted by cloud cover.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from eopipe.cube.radiometry import INVALID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.cube.scenes import Scene

MOST_OBSERVATIONS = 254

_INVALID = np.uint16(INVALID)


def scene_order(scenes: Sequence[Scene], composite: str) -> list[int]:
    """Order in which scenes are tried: as given, or by cloud cover (unknown last), ties as given."""
    order = range(len(scenes))
    if composite != "least-cloudy":
        return list(order)
    cover = [scene.cloud_cover for scene in scenes]
    return sorted(order, key=lambda n: (cover[n] is None, cover[n] or 0.0, n))


@njit(nogil=True, cache=True)
def combine(  # noqa: PLR0913, C901, PLR0912  (one flat loop is what numba compiles well)
    stack: NDArray[Any],
    passed: NDArray[Any],
    order: NDArray[Any],
    median: bool,
    values: NDArray[Any],
    valid: NDArray[Any],
    observations: NDArray[Any],
) -> None:
    """Composite a stack of scenes.

    Args:
        stack: ``[scene, band, y, x]`` uint16; INVALID where there is no data.
        passed: ``[scene, y, x]`` bool, or ``[0, 0, 0]`` where there is no mask.
        order: Scenes in the order in which they are tried.
        median: Median, else the first valid scene.
        values: ``[band, y, x]`` uint16, written; 0 where invalid.
        valid: ``[y, x]`` bool, written.
        observations: ``[y, x]`` uint8, written: valid scenes, 254 for more.
    """
    scenes, bands, height, width = stack.shape
    masked = passed.shape[0] > 0
    good = np.empty((scenes, width), np.bool_)
    count = np.empty(width, np.int64)
    row = np.empty((width, scenes), np.uint16)
    for y in range(height):
        count[:] = 0
        for s in range(scenes):
            for x in range(width):
                good[s, x] = passed[s, y, x] if masked else True
            for b in range(bands):
                for x in range(width):
                    good[s, x] &= stack[s, b, y, x] != _INVALID
            for x in range(width):
                count[x] += good[s, x]
        for x in range(width):
            valid[y, x] = count[x] > 0
            observations[y, x] = min(count[x], MOST_OBSERVATIONS)
        for b in range(bands):
            count[:] = 0
            for k in range(scenes):
                s = order[k]
                for x in range(width):
                    if not good[s, x]:
                        continue
                    n = count[x]
                    if not median:
                        if n == 0:
                            row[x, 0] = stack[s, b, y, x]
                            count[x] = 1
                        continue
                    value = stack[s, b, y, x]
                    while n > 0 and row[x, n - 1] > value:
                        row[x, n] = row[x, n - 1]
                        n -= 1
                    row[x, n] = value
                    count[x] += 1
            for x in range(width):
                n = count[x]
                if n == 0:
                    values[b, y, x] = 0
                elif n % 2 == 1:
                    values[b, y, x] = row[x, n // 2]
                else:
                    values[b, y, x] = (np.int64(row[x, n // 2 - 1]) + np.int64(row[x, n // 2]) + 1) // 2
