"""Between masks and maps: values of objects painted on a map, and values of a map under each object."""

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
    """Raise a map's scores to those of a picture's objects, in place: each pixel has the greatest that covers it.

    A greatest value does not depend on the order, so neither does the map on that of pictures or objects.

    Args:
        score: ``[y, x]`` over ``box``.
        box: On the lattice.
        masks: N objects of the picture.
        picture: The picture's box on the lattice.
        values: uint8 ``[N]``.
    """
    _paint(
        score, masks.runs, masks.offsets, np.asarray(values, np.uint8),
        picture.row0 - box.row0, picture.col0 - box.col0,
    )  # fmt: skip


def most_frequent(masks: Masks, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The most frequent label under each mask, ``[N]``: the lowest of equals; 0 counts only where there is no other.

    Args:
        masks: N masks, none empty.
        labels: uint8 ``[H, W]``.
    """
    modes = np.zeros(len(masks), np.uint8)
    for number in range(len(masks)):
        counts = np.bincount(_under(masks, number, labels))
        counts[0] = 0
        modes[number] = counts.argmax()
    return modes


def greatest(masks: Masks, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The greatest value under each mask, ``[N]``; arguments as `most_frequent`."""
    return np.array([_under(masks, number, values).max() for number in range(len(masks))], np.uint8)


def _under(masks: Masks, number: int, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, left, bottom, right = masks.boxes[number].tolist()
    return values[top:bottom, left:right][masks.crop(number)]


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
