"""I-M-C: objects of a class on each date, and those that have no counterpart on the other (spec 03 §2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from eopipe.kernels.change.masks.overlap import mask_iou
from eopipe.kernels.change.masks.runs import Masks, value_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNTERPART = 0.01
"""An object whose intersections over union with the other date's objects sum to more is still there."""


def unmatched(before: Masks, after: Masks, *, limit: float = COUNTERPART) -> NDArray[np.bool_]:
    """The paper's instance-level comparison: objects that the other date lacks.

    Args:
        before: N objects of the first date.
        after: M objects of the second.
        limit: Greatest sum of an object's intersections over union with all objects of the other date.

    Returns:
        ``[N + M]``, the first date's first; all where the other date has none.

    Raises:
        ValueError: The pictures differ in shape.
    """
    table = mask_iou(before, after)
    return np.concatenate([table.sum(axis=1), table.sum(axis=0)]) <= limit


def regions(classes: NDArray[Any], *, smallest: int = 1) -> tuple[Masks, NDArray[np.int64]]:
    """Objects of a map of classes: pixels of one class that touch, by sides or corners.

    Args:
        classes: Integers ``[H, W]``; 0 and below, background, is no object.
        smallest: Pixels that an object must have.

    Returns:
        N masks, in the order of their first pixels; and the class of each, ``[N]``.

    Raises:
        ValueError: It is no map of integers.
    """
    if classes.ndim != 2 or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"classes are integers [H, W], and these are {classes.dtype} {classes.shape}")
    runs, values = value_runs(classes)
    inside = values > 0
    runs, values = runs[inside], values[inside].astype(np.int64)
    roots = _touching(runs, values)
    order = np.argsort(roots, kind="stable")  # a root is its region's first run
    first, counts = np.unique(roots, return_counts=True)
    shape = (int(classes.shape[0]), int(classes.shape[1]))
    masks = Masks(shape, runs[order], np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]))
    large = masks.areas >= smallest
    return masks.take(large), values[first[large]]


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
        other = above
        while other < row_start and runs[other, 1] <= stop:
            if values[other] == values[n]:
                a, b = _root(parents, n), _root(parents, other)
                parents[max(a, b)] = min(a, b)
            other += 1
    return np.array([_root(parents, n) for n in range(len(runs))])
