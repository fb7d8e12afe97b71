"""The picture that the identifier sees, and the optional match of histograms.

Source: DynamicEarth (arXiv 2501.12931) and its released code; M-C-I, mask proposal and identifier.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor


def identifier_picture(
    rgb: NDArray[np.uint8], *, size: int, mean: Sequence[float], std: Sequence[float], antialias: bool = True
) -> Tensor:
    """A picture as DynamicEarth shows it to SegEarth-OV: normalised first, then resized to a square.

    Args:
        rgb: ``[H, W, 3]``.
        size: Side of the result; 448, or 224 on small tiles.
        mean: Of each channel, on 0-1 (CLIP's).
        std: Likewise.
        antialias: As torchvision does it from 0.17 on; the authors' call leaves it to the version. Only shrinking
            depends on it.

    Returns:
        ``[3, size, size]`` float32.
    """
    picture = torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1).to(torch.float32) / 255
    centred = (picture - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    return functional.interpolate(
        centred[None], (size, size), mode="bilinear", align_corners=False, antialias=antialias
    )[0]


def match_histogram(
    picture: NDArray[Any], reference: NDArray[Any], valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Give each band the values of a reference, quantile by quantile; off in all published experiments.

    Args:
        picture: ``[..., y, x]``; each band alone.
        reference: Bands whose values are taken, of the same shape.
        valid: ``[y, x]``; pixels that count and are changed; None: all.

    Returns:
        float64 of that shape; where ``valid`` is false, ``picture``.
    """
    inside = np.ones(picture.shape[-2:], bool) if valid is None else valid
    matched = picture.astype(np.float64)
    if not inside.any():
        return matched
    bands = matched.reshape(-1, *picture.shape[-2:])
    for band, target in zip(bands, reference.reshape(bands.shape), strict=True):
        _, ranks, counts = np.unique(band[inside], return_inverse=True, return_counts=True)
        values, target_counts = np.unique(target[inside], return_counts=True)
        shares = np.cumsum(counts) / counts.sum()
        target_shares = np.cumsum(target_counts) / target_counts.sum()
        band[inside] = np.interp(shares, target_shares, values)[ranks]
    return matched
