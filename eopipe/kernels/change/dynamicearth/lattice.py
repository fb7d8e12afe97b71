"""The pictures that objects are found in: squares of one size at half their size's distance, on the absolute lattice.

An object's mask and its class depend on the whole picture that a net sees. So that no tile can be seen in the map,
pictures lie on the lattice and not on the tile, and each is computed whole, by itself, with the same pixels. Each
decides the objects whose boxes have their middle in its **core**, the middle square; cores lie side by side, so
exactly one picture decides an object that two of them see alike. A box of at most half a picture's side lies whole in
the picture whose core holds its middle: that is the largest object which no edge can cut. A larger object comes in
parts, one from each picture that it crosses; in the map they meet again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe.grid import PixelBox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.runs import Masks


def stride_of(side: int) -> int:
    """Distance of pictures; the side of the largest object that is never cut. It divides a cell."""
    return side // 2


def pictures(box: PixelBox, side: int) -> Iterator[PixelBox]:
    """The pictures that touch a box, row by row.

    Args:
        box: Corners at multiples of `stride_of` the side.
        side: Of a picture.
    """
    stride = stride_of(side)
    for row in range(box.row0 - stride, box.row1, stride):
        for col in range(box.col0 - stride, box.col1, stride):
            yield PixelBox(row, col, row + side, col + side)


def core_of(picture: PixelBox) -> PixelBox:
    """The middle square of a picture, half its side: what it decides."""
    return picture.pad(-(picture.shape[0] // 4))


def in_core(masks: Masks) -> NDArray[np.bool_]:
    """Which of a picture's objects it decides, ``[N]``: those whose boxes have their middle in its core."""
    side = masks.shape[0]
    top, left, bottom, right = masks.boxes.astype(np.int64).T
    first, last = side // 2, 3 * side // 2  # of twice the middle
    rows, cols = top + bottom, left + right
    inside = (masks.areas > 0) & (rows >= first) & (rows < last) & (cols >= first) & (cols < last)
    return np.asarray(inside)


def beyond_core(masks: Masks) -> NDArray[np.bool_]:
    """Which of a picture's objects reach out of its core, ``[N]``: the next picture may have them too."""
    side = masks.shape[0]
    top, left, bottom, right = masks.boxes.T
    margin = side // 4
    return np.asarray((top < margin) | (left < margin) | (bottom > side - margin) | (right > side - margin))
