"""Weighted means around every pixel, and a picture moved by fractions of a pixel.

Both are the same few operations in the same order for every pixel, whatever the array around it is: that is why sums
are written out instead of being left to a transform or to a running sum.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

REACH = 3
"""Pixels that :func:`move` reads beyond the box it makes, beside the shift itself: two taps, and one for rounding."""


def gaussian(sigma: float, radius: int) -> NDArray[np.float32]:
    """Weights ``[2 * radius + 1]`` that sum to 1, cut off at the radius."""
    distance = np.arange(-radius, radius + 1)
    weights = np.exp(-(distance**2) / (2 * sigma**2))
    return np.asarray(weights / weights.sum(), np.float32)


def smooth(planes: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weighted sums along rows and columns.

    Args:
        planes: ``[n, y, x]``.
        weights: ``[2r + 1]``.

    Returns:
        ``[n, y - 2r, x - 2r]``: only pixels whose whole neighbourhood lies in the array.
    """
    around = len(weights) - 1
    count, rows, cols = planes.shape
    out = np.zeros((count, rows - around, cols - around), np.float32)
    _smooth(np.ascontiguousarray(planes), weights, out)
    return out


def smooth_valid(
    planes: NDArray[np.float32], valid: NDArray[np.bool_], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weighted means of the valid pixels, as :func:`smooth`; 0 where none is near.

    Args:
        planes: ``[n, y, x]``, 0 where invalid.
        valid: ``[y, x]``.
        weights: ``[2r + 1]``.
    """
    total = smooth(planes, weights)
    if valid.all():
        return total
    share = smooth(valid[None].astype(np.float32), weights)
    return np.where(share > 0, total / np.maximum(share, np.float32(1e-6)), np.float32(0))


def move(
    planes: NDArray[np.float32],
    valid: NDArray[np.bool_],
    down: NDArray[np.float64],
    right: NDArray[np.float64],
    margin: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The value ``(down, right)`` pixels away from each pixel: cubic (Keys 1981, a = -1/2), of 4 x 4 pixels.

    Where one of the sixteen is invalid, bilinear of the valid ones; where the nearest is invalid, so is the pixel.

    Args:
        planes: ``[n, y, x]``.
        valid: ``[y, x]``.
        down: ``[y - 2 margin, x - 2 margin]``, at most ``margin - REACH`` either way.
        right: Likewise.
        margin: Pixels that the input has around the output.

    Returns:
        ``[n, y - 2 margin, x - 2 margin]``, 0 where invalid, and its validity.
    """
    count = len(planes)
    out, out_valid = np.zeros((count, *down.shape), np.float32), np.zeros(down.shape, bool)
    _move(np.ascontiguousarray(planes), np.ascontiguousarray(valid), down, right, margin, out, out_valid)
    return out, out_valid


@njit(nogil=True, cache=True)
def _smooth(planes: NDArray[Any], weights: NDArray[Any], out: NDArray[Any]) -> None:
    taps, rows = len(weights), out.shape[1]
    line = np.empty(planes.shape[2], np.float32)
    for plane in range(len(planes)):
        for row in range(rows):
            line[:] = 0
            for tap in range(taps):
                weight, source = weights[tap], planes[plane, row + tap]
                for col in range(len(line)):
                    line[col] += weight * source[col]
            target = out[plane, row]
            for tap in range(taps):
                weight = weights[tap]
                for col in range(len(target)):
                    target[col] += weight * line[col + tap]


@njit(nogil=True, cache=True, inline="always")
def _cubic(t: float, out: NDArray[Any]) -> None:
    out[0] = ((-0.5 * t + 1.0) * t - 0.5) * t
    out[1] = (1.5 * t - 2.5) * t * t + 1.0
    out[2] = ((-1.5 * t + 2.0) * t + 0.5) * t
    out[3] = (0.5 * t - 0.5) * t * t


@njit(nogil=True, cache=True, inline="always")
def _linear(t: float, out: NDArray[Any]) -> None:
    out[0], out[1], out[2], out[3] = 0.0, 1.0 - t, t, 0.0


@njit(nogil=True, cache=True)
def _weigh(ty: float, tx: float, near: NDArray[Any], wy: NDArray[Any], wx: NDArray[Any], out: NDArray[Any]) -> float:
    """Weights of 4 x 4 pixels, and their sum."""
    if near.all():
        _cubic(ty, wy)
        _cubic(tx, wx)
    else:
        _linear(ty, wy)
        _linear(tx, wx)
    total = 0.0
    for i in range(4):
        for j in range(4):
            out[i, j] = wy[i] * wx[j] if near[i, j] else 0.0
            total += out[i, j]
    return total


@njit(nogil=True, cache=True)
def _move(
    planes: NDArray[Any],
    valid: NDArray[Any],
    down: NDArray[Any],
    right: NDArray[Any],
    margin: int,
    out: NDArray[Any],
    out_valid: NDArray[Any],
) -> None:
    wy, wx, weights = np.empty(4), np.empty(4), np.empty((4, 4))
    for y in range(out_valid.shape[0]):
        for x in range(out_valid.shape[1]):
            at_y, at_x = y + margin + down[y, x], x + margin + right[y, x]
            row, col = int(np.floor(at_y)), int(np.floor(at_x))
            if not valid[int(np.floor(at_y + 0.5)), int(np.floor(at_x + 0.5))]:
                continue
            out_valid[y, x] = True
            near = valid[row - 1 : row + 3, col - 1 : col + 3]
            total = _weigh(at_y - row, at_x - col, near, wy, wx, weights)
            for plane in range(len(planes)):
                value = 0.0
                for i in range(4):
                    for j in range(4):
                        value += weights[i, j] * planes[plane, row - 1 + i, col - 1 + j]
                out[plane, y, x] = value / total
