"""Scores of objects on a map: each pixel has the greatest of the objects that cover it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.masks.runs import Masks


def paint(
    score: NDArray[np.uint8], box: PixelBox, masks: Masks, picture: PixelBox, values: NDArray[np.uint8]
) -> None:
    """Raise a map's scores to those of a picture's objects, in place.

    A greatest value does not depend on the order, so neither does the map on that of pictures or objects.

    Args:
        score: ``[y, x]`` over ``box``.
        box: On the lattice.
        masks: N objects of the picture.
        picture: Where it lies.
        values: uint8 ``[N]``.
    """
    _paint(
        score, masks.runs, masks.offsets, np.asarray(values, np.uint8),
        picture.row0 - box.row0, picture.col0 - box.col0,
    )  # fmt: skip


@njit(nogil=True, cache=True)
def _paint(
    score: NDArray[Any], runs: NDArray[Any], offsets: NDArray[Any], values: NDArray[Any], down: int, right: int
) -> None:
    rows, cols = score.shape
    for n in range(len(offsets) - 1):
        value = values[n]
        for run in range(offsets[n], offsets[n + 1]):
            row = runs[run, 0] + down
            if row < 0 or row >= rows:
                continue
            for col in range(max(runs[run, 1] + right, 0), min(runs[run, 2] + right, cols)):
                if score[row, col] < value:  # noqa: PLR1730  (compiled: a store only where it is needed)
                    score[row, col] = value
