"""Pictures as the foundation models take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

Colours = tuple[float, float, float]


def check_picture(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """Rows and columns of a picture.

    Raises:
        ValueError: It is not uint8 ``[H, W, 3]`` with a pixel.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or not picture.size:
        raise ValueError(f"a picture is uint8 [H, W, 3], not {picture.dtype} {list(picture.shape)}")
    return int(picture.shape[0]), int(picture.shape[1])


def normalised(picture: NDArray[np.uint8], mean: Colours, std: Colours, device: str) -> Tensor:
    """A picture less the mean, over the standard deviation.

    Args:
        picture: uint8 ``[H, W, 3]``.
        mean: Per channel, of 0-1.
        std: Per channel, of 0-1.
        device: Where it goes.

    Returns:
        float32 ``[1, 3, H, W]``.
    """
    values = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).to(device).float() / 255
    return coloured(values[None], mean, std)


def coloured(values: Tensor, mean: Colours, std: Colours) -> Tensor:
    """Values in 0-1, ``[N, 3, H, W]``, less the mean, over the standard deviation."""
    centre = torch.tensor(mean, device=values.device).view(1, 3, 1, 1)
    return (values - centre) / torch.tensor(std, device=values.device).view(1, 3, 1, 1)


def resized(picture: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture at another size by Pillow, as SAM's and mmdet's own code do: bilinear, and smoothed where it shrinks.

    Args:
        picture: uint8 ``[H, W, 3]``.
        shape: Rows and columns.

    Returns:
        uint8 ``[*shape, 3]``.
    """
    if picture.shape[:2] == shape:
        return picture
    return np.asarray(Image.fromarray(picture).resize(shape[::-1], Image.Resampling.BILINEAR))
