"""Means of upsampled features over masks, without upsampling them.

DynamicEarth stretches a net's features F ``[C, h, w]`` over the picture, bilinearly with aligned corners, and takes
their mean over each mask. That stretching is linear in each direction, F' = A_y F A_x^T, so the mean over a mask M is
<F, A_y^T M A_x> / |M|: the mask is brought down to the features' grid instead, as weights of its cells. Features of
768 channels at 1024² would take 3.2 GB a date; the weights of a mask take a number a cell that it touches.

Sums are float64 and each mask is summed alone, in a fixed order and without a BLAS: a mask's mean depends neither on
the masks beside it nor on threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.runs import Masks


@dataclass(frozen=True, eq=False)
class Axis:
    """One direction of a bilinear stretch with aligned corners: its outer cells lie on the outer pixels.

    Args:
        cells: How many.
        lower: int64 ``[pixels]``: the cell before each pixel; the cell after it is the next, if there is one.
        fraction: float64 ``[pixels]``, 0-1: the weight of the cell after it.
    """

    cells: int
    lower: NDArray[np.int64]
    fraction: NDArray[np.float64]

    @classmethod
    def stretch(cls, cells: int, pixels: int) -> Axis:
        """Cells over pixels, exactly: in integers up to the last division.

        Raises:
            ValueError: There are no cells, or no pixels.
        """
        if cells < 1 or pixels < 1:
            raise ValueError(f"{cells} cells cannot be stretched over {pixels} pixels")
        steps = max(pixels - 1, 1)
        position = np.arange(pixels, dtype=np.int64) * (cells - 1)
        lower = np.minimum(position // steps, max(cells - 2, 0))
        return cls(cells, lower, (position - lower * steps) / steps)

    @property
    def upper(self) -> NDArray[np.int64]:
        """The cell after each pixel."""
        return np.minimum(self.lower + 1, self.cells - 1)

    def sums(self) -> NDArray[np.float64]:
        """Weights of the cells, added up along the pixels.

        Returns:
            ``[pixels + 1, cells]``; row ``b`` less row ``a`` is what the pixels ``a`` to ``b - 1`` add to each cell.
        """
        weights = np.zeros((len(self.lower) + 1, self.cells))
        pixels = np.arange(1, len(self.lower) + 1)
        weights[pixels, self.lower] = 1 - self.fraction
        weights[pixels, self.upper] += self.fraction
        return np.cumsum(weights, axis=0)


def mean_features(masks: Masks, *features: NDArray[np.float32]) -> tuple[NDArray[np.float64], ...]:
    """Mean of some features over each mask, as if they had been stretched over the picture.

    Args:
        masks: N masks.
        features: Each ``[C, h, w]``, of one shape: a picture's, or one of each date.

    Returns:
        ``[N, C]`` for each; an empty mask's is nan.

    Raises:
        ValueError: Shapes differ.
    """
    shapes = {field.shape for field in features}
    if len(shapes) != 1 or features[0].ndim != 3:
        raise ValueError(f"features to compare are [channel, row, column] of one shape, not {sorted(shapes)}")
    channels, height, width = features[0].shape
    rows, columns = Axis.stretch(height, masks.shape[0]), Axis.stretch(width, masks.shape[1])
    # a cell's channels side by side, both dates' after one another: one walk over the cells serves all
    table = np.concatenate([np.asarray(field, np.float32) for field in features]).transpose(1, 2, 0)
    sums = np.zeros((len(masks), channels * len(features)))
    _masked_sums(
        masks.runs,
        masks.offsets,
        rows.lower,
        rows.fraction,
        columns.sums(),
        columns.lower,
        np.ascontiguousarray(table),
        sums,
    )
    areas = masks.areas[:, None].astype(np.float64)
    means = np.divide(sums, areas, out=np.full(sums.shape, np.nan), where=areas > 0)
    return tuple(np.split(means, len(features), axis=1))


@njit(nogil=True, cache=True)
def _bring_down(
    runs: NDArray[Any],
    row_lower: NDArray[Any],
    row_fraction: NDArray[Any],
    column_sums: NDArray[Any],
    column_lower: NDArray[Any],
    weights: NDArray[Any],
) -> None:
    """Add a mask's weights up, ``weights[h, w]``; only cells beside its pixels are touched."""
    last_row, last_column = weights.shape[0] - 1, weights.shape[1] - 1
    for n in range(len(runs)):
        row, start, stop = runs[n, 0], runs[n, 1], runs[n, 2]
        above, share = row_lower[row], row_fraction[row]
        below = min(above + 1, last_row)
        for column in range(column_lower[start], min(column_lower[stop - 1] + 1, last_column) + 1):
            across = column_sums[stop, column] - column_sums[start, column]
            weights[above, column] += (1 - share) * across
            weights[below, column] += share * across


@njit(nogil=True, cache=True)
def _masked_sums(
    runs: NDArray[Any],
    offsets: NDArray[Any],
    row_lower: NDArray[Any],
    row_fraction: NDArray[Any],
    column_sums: NDArray[Any],
    column_lower: NDArray[Any],
    table: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """``out[n] = sum over cells of weight * table[cell]``, one mask at a time."""
    height, width = table.shape[0], table.shape[1]
    weights = np.zeros((height, width))
    for n in range(len(offsets) - 1):
        mask = runs[offsets[n] : offsets[n + 1]]
        if len(mask) == 0:
            continue
        _bring_down(mask, row_lower, row_fraction, column_sums, column_lower, weights)
        first, last = row_lower[mask[0, 0]], min(row_lower[mask[-1, 0]] + 1, height - 1)
        for i in range(first, last + 1):
            for j in range(width):
                weight = weights[i, j]
                if weight != 0:
                    weights[i, j] = 0
                    for c in range(table.shape[2]):
                        out[n, c] += weight * table[i, j, c]
