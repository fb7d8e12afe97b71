"""How much a pixel's colour changed, compared with its surroundings: a comparer of pixels without weights.

Each date is levelled by the wider area's mean and spread. Of the difference, what the surroundings share (season,
haze, the sun's height) is taken off: a mean over some hundred metres. The rest is smoothed a little, and counts less
where the two dates have the same texture, for then it is light that changed and not the ground.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.registration.shift import gaussian, smooth_valid

if TYPE_CHECKING:
    from numpy.typing import NDArray

SURROUNDINGS = gaussian(30.0, 90)
"""Of the local mean that is taken off the difference."""

TEXTURE = gaussian(5.0, 15)
"""Of the local correlation."""

SPECKLE = gaussian(2.0, 8)
"""Of the magnitude's own smoothing."""

MARGIN = (len(SURROUNDINGS) + len(SPECKLE)) // 2 - 1
"""Pixels that the comparison reads around a pixel."""

QUIET = 1e-3
"""Added to local variances of levelled bands: below it there is no texture to compare."""

LEAST_SPREAD = 1.0
"""Of a band, in reflectance x 10000: an area of one colour has none."""


@dataclass(frozen=True)
class Level:
    """What the bands of one date are measured against.

    Args:
        mean: ``[band, y, x]`` or broadcast to it.
        spread: Likewise, above 0.
    """

    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    def of(self, pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
        """``[band, y, x]`` in units of the area's spread; 0 where invalid."""
        return np.where(valid, (pixels - self.mean) / self.spread, np.float32(0)).astype(np.float32)


def compare(before: NDArray[np.float32], after: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How much changed.

    Args:
        before: ``[band, y, x]``, levelled; 0 where invalid.
        after: Likewise, registered on the first.
        valid: ``[y, x]``: on both dates.

    Returns:
        ``[y - 2 MARGIN, x - 2 MARGIN]``, 0 or more; 0 far from any valid pixel.
    """
    inner, edge = len(SPECKLE) // 2, len(SURROUNDINGS) // 2
    difference = np.where(valid, after - before, np.float32(0))
    around = smooth_valid(difference, valid, SURROUNDINGS)
    near = valid[edge:-edge, edge:-edge]
    local = difference[:, edge:-edge, edge:-edge] - around
    magnitude = np.where(near, np.sqrt((local * local).sum(axis=0)), np.float32(0))
    cut = MARGIN - len(TEXTURE) // 2
    window = np.s_[..., cut : before.shape[1] - cut, cut : before.shape[2] - cut]
    alike = correlation(before[window], after[window], valid[window])
    changed = smooth_valid(magnitude[None], near, SPECKLE)[0] * np.sqrt(np.clip(1 - alike, 0, 2))
    return np.where(near[inner:-inner, inner:-inner], changed, np.float32(0))


def correlation(
    before: NDArray[np.float32], after: NDArray[np.float32], valid: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Correlation of two dates around each pixel, -1 to 1, mean of the bands.

    Args:
        before: ``[band, y, x]``; 0 where invalid.
        after: Likewise.
        valid: ``[y, x]``: on both dates.

    Returns:
        ``[y - 2r, x - 2r]`` with the radius of `TEXTURE`; 0 where a date has no texture.
    """
    first, second = (np.where(valid, date, np.float32(0)) for date in (before, after))
    products = np.concatenate([first, second, first * first, second * second, first * second])
    means = smooth_valid(products, valid, TEXTURE)
    a, b, aa, bb, ab = means.reshape(5, len(before), *means.shape[1:])
    spread = (np.maximum(aa - a * a, 0) + QUIET) * (np.maximum(bb - b * b, 0) + QUIET)
    return np.asarray(np.clip((ab - a * b) / np.sqrt(spread), -1, 1).mean(axis=0, dtype=np.float32))
