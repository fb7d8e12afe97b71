"""Change-vector analysis, so that a figure never stands alone: how far a pixel's colour moved, cut by Otsu."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.kernels.change.spectral.threshold import otsu

if TYPE_CHECKING:
    from numpy.typing import NDArray


def change_vectors(before: NDArray[Any], after: NDArray[Any], *, levelled: bool = False) -> NDArray[np.bool_]:
    """Pixels whose difference of all bands is longer than Otsu's threshold of all these pixels.

    Args:
        before: ``[band, ...]``, every pixel valid.
        after: Likewise.
        levelled: Whether each band of each date is first brought to mean 0 and deviation 1.

    Returns:
        ``[...]``.
    """
    dates = [np.asarray(date, np.float64) for date in (before, after)]
    if levelled:
        dates = [_levelled(date) for date in dates]
    length = np.sqrt(((dates[1] - dates[0]) ** 2).sum(axis=0))
    found: NDArray[np.bool_] = length > otsu(length)
    return found


class ChangeVectors:
    """The same as a predictor of pairs of pictures.

    Args:
        levelled: See `change_vectors`.
    """

    def __init__(self, *, levelled: bool = False) -> None:
        self._levelled = levelled

    def __call__(self, pair: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """0 and 1, ``[H, W]``, of pictures ``[2, H, W, 3]``."""
        before, after = pair.transpose(0, 3, 1, 2)
        return change_vectors(before, after, levelled=self._levelled).astype(np.uint8)


def _levelled(date: NDArray[np.float64]) -> NDArray[np.float64]:
    axes = tuple(range(1, date.ndim))
    spread = date.std(axis=axes, keepdims=True)
    found: NDArray[np.float64] = (date - date.mean(axis=axes, keepdims=True)) / np.where(spread > 0, spread, 1)
    return found
