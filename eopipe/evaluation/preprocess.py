"""Model input from an image's pixels, as the papers' own tools prepare it (arXiv 2410.01768, 2508.18067).

`benchmark_input` is the pipeline of the published tables (mmsegmentation's): resized as 8-bit numbers, then
normalised. `demo_input` is that of the authors' demonstration script: normalised, then resized as float to a square.
Truth is never resized; logits are resized to its shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

_BITS = 11
"""Bits of a weight in OpenCV's 8-bit interpolation."""


def resized_shape(height: int, width: int, *, long_side: int) -> tuple[int, int]:
    """Rows and columns once the longer side has ``long_side`` pixels; small pictures grow."""
    scale = long_side / max(height, width)
    return int(height * scale + 0.5), int(width * scale + 0.5)


def resize_bilinear(picture: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """``cv2.resize`` with ``INTER_LINEAR`` on 8-bit pictures, to the bit, without OpenCV.

    Its sums are integers: weights have 11 bits, rows are combined after four bits have been dropped. There is no
    antialiasing, also where a picture shrinks.

    Args:
        picture: ``[H, W, C]``.
        shape: Rows and columns of the result.
    """
    if picture.shape[:2] == shape:
        return picture
    left, right, across = _taps(picture.shape[1], shape[1], snap=True)
    above, below, down = _taps(picture.shape[0], shape[0], snap=False)
    used, rows = np.unique(np.concatenate([above, below]), return_inverse=True)
    source = picture[used].astype(np.int32)
    lines = source[:, left] * across[0][:, None] + source[:, right] * across[1][:, None]
    lines >>= 4
    first, second = lines[rows[: shape[0]]], lines[rows[shape[0] :]]
    total = (first * down[0][:, None, None] >> 16) + (second * down[1][:, None, None] >> 16)
    resized: NDArray[np.uint8] = ((total + 2) >> 2).clip(0, 255).astype(np.uint8)
    return resized


def _taps(size: int, target: int, *, snap: bool) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.int32]]:
    """The two source pixels of each target pixel, and their weights ``[2, target]``, which sum to 2048.

    Beyond the outermost pixels' centres both are the same pixel. Along a row OpenCV then gives one of them all the
    weight (``snap``), along a column it does not: the same value, except for rounding each product down.
    """
    scale = 1 / (target / size)
    position = ((np.arange(target) + 0.5) * scale - 0.5).astype(np.float32)
    low = np.floor(position).astype(np.intp)
    fraction = position - low.astype(np.float32)
    if snap:
        fraction = np.where((low < 0) | (low >= size - 1), np.float32(0), fraction)
    weights = np.rint(np.stack([np.float32(1) - fraction, fraction]) * np.float32(1 << _BITS)).astype(np.int32)
    return low.clip(0, size - 1), (low + 1).clip(0, size - 1), weights


def benchmark_input(
    picture: NDArray[np.uint8], *, long_side: int, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """The model input of the published tables' pipeline.

    Args:
        picture: uint8 ``[H, W, 3]``, red, green, blue.
        long_side: Long side of the result, pixels.
        mean: Mean of each channel on 0-1, of the model; times 255 it is rounded to three decimals, as published.
        std: The standard deviations, the same way.

    Returns:
        float32 ``[3, h, w]``, normalised.
    """
    small = resize_bilinear(picture, resized_shape(*picture.shape[:2], long_side=long_side))
    return torch.from_numpy(normalised(small, mean=mean, std=std))


def normalised(picture: NDArray[np.uint8], *, mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """``[H, W, 3]`` 0-255 to ``[3, H, W]`` float32; mean and deviation are on 0-1, times 255 with three decimals."""
    middle, spread = (np.round(np.asarray(values) * 255, 3).astype(np.float32) for values in (mean, std))
    return np.ascontiguousarray(((picture - middle) / spread).astype(np.float32).transpose(2, 0, 1))


def demo_input(
    picture: NDArray[np.uint8], *, side: int, mean: Sequence[float], std: Sequence[float], antialias: bool = True
) -> Tensor:
    """The model input of the authors' demonstration script: a square, aspect not kept.

    Args:
        picture: uint8 ``[H, W, 3]``, red, green, blue.
        side: Side of the result, pixels.
        mean: Mean of each channel on 0-1.
        std: Standard deviation of each channel on 0-1.
        antialias: Whether a picture that shrinks is smoothed, as torchvision does by default since 0.17.

    Returns:
        float32 ``[3, side, side]``, normalised.
    """
    values = torch.from_numpy(picture.astype(np.float32).transpose(2, 0, 1)) / 255
    middle, spread = (torch.tensor(tuple(numbers), dtype=torch.float32)[:, None, None] for numbers in (mean, std))
    image = ((values - middle) / spread)[None]
    return functional.interpolate(image, (side, side), mode="bilinear", align_corners=False, antialias=antialias)[0]
