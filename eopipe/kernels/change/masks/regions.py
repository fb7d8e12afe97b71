"""Objects of a map of classes: pixels of one class that touch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from eopipe.kernels.change.masks.runs import Masks, offsets_of, value_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray


def regions(classes: NDArray[Any]) -> Masks:
    """Pixels of one class that touch, by sides or corners.

    Args:
        classes: Integers ``[H, W]``; 0 and below are no object.

    Returns:
        N masks, in the order of their first pixels.

    Raises:
        ValueError: It is no map of integers.
    """
    if classes.ndim != 2 or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"classes are integers [H, W], and these are {classes.dtype} {classes.shape}")
    runs, values = value_runs(classes)
    inside = values > 0
    runs, values = runs[inside], values[inside].astype(np.int64)
    roots = _touching(runs, values)  # a root is its region's first run
    _, counts = np.unique(roots, return_counts=True)
    shape = (int(classes.shape[0]), int(classes.shape[1]))
    return Masks(shape, runs[np.argsort(roots, kind="stable")], offsets_of(counts))


@njit(nogil=True, cache=True)
def _root(parents: NDArray[Any], run: int) -> int:
    while parents[run] != run:
        parents[run] = parents[parents[run]]
        run = parents[run]
    return run


@njit(nogil=True, cache=True)
def _touching(runs: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """The first run of each run's region; runs in row order, walked beside those of the row above."""
    parents = np.arange(len(runs))
    above, row_start, previous_start, previous_row = 0, 0, 0, -2
    for n in range(len(runs)):
        row, start, stop = runs[n, 0], runs[n, 1], runs[n, 2]
        if row != previous_row:  # a new row: the last one is now above
            previous_start, row_start = row_start, n
            above = previous_start if row == previous_row + 1 else n
            previous_row = row
        while above < row_start and runs[above, 2] < start:
            above += 1
        neighbour = above
        while neighbour < row_start and runs[neighbour, 1] <= stop:
            if values[neighbour] == values[n]:
                a, b = _root(parents, n), _root(parents, neighbour)
                parents[max(a, b)] = min(a, b)
            neighbour += 1
    return np.array([_root(parents, n) for n in range(len(runs))])
