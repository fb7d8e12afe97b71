"""Comparison of objects, or pixels, by the angle between their features of the two dates.

An object's score is minus the cosine of its mean features; it has changed where that is greater than cos(beta), which
is to say where the angle between its features is greater than 180° - beta: a larger beta keeps more. Source:
DynamicEarth (arXiv 2501.12931), M-C-I, comparator; the bitemporal latent matching of AnyChange.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import SpecError
from eopipe.kernels.change.spectral.threshold import otsu
from eopipe.kernels.change.stages.compare.pooling import Axis, mean_features
from eopipe.kernels.change.stages.protocols import Comparison

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.runs import Masks
    from eopipe.kernels.change.stages.pair import DatePair
    from eopipe.kernels.change.stages.protocols import Encoder

_SHORTEST = 1e-8
"""Length below which a feature counts as this long, as torch's cosine similarity: a zero vector has cosine 0."""


@dataclass(frozen=True, eq=False)
class AngleComparison(Comparison):
    """Of features; the score is minus the cosine: -1 the same, 1 opposite.

    Args:
        limit: Scores above it are changes.
    """

    limit: float

    @classmethod
    def of(cls, score: NDArray[np.float64], limit: float) -> AngleComparison:
        """Scores above a limit, by the ratio of their angles."""
        angle, least = _angle(score), 180 - math.degrees(math.acos(limit))
        ratio = np.divide(angle, least, out=np.where(angle > 0, np.inf, 0.0), where=least > 0)
        return cls(score, ratio, score > limit, limit)

    @property
    def angle(self) -> NDArray[np.float64]:
        """Degrees between the features of the two dates, 0 the same; changed where it is above 180 - `beta`."""
        return _angle(self.score)

    @property
    def beta(self) -> float:
        """The limit as the paper's confidence threshold, degrees."""
        return math.degrees(math.acos(self.limit))


@dataclass(frozen=True)
class LatentComparer:
    """The paper's comparer, with any encoder: the angle between features.

    Args:
        encoder: DINO, DINOv2, or any other.
        beta: Degrees; a larger one keeps more. None: Otsu's threshold over this pair's pixels.
    """

    encoder: Encoder
    beta: float | None

    def __call__(self, pair: DatePair, masks: Masks | None) -> AngleComparison:
        """By the objects' mean features, or (None) by each pixel's."""
        features = self.encoder(pair, 0), self.encoder(pair, 1)
        if masks is None:
            return compare_pixels(*features, pair.shape, beta=self.beta, valid=pair.common)
        return compare_objects(*features, masks, beta=self.beta, valid=pair.common)


def limit_of(beta: float) -> float:
    """The least score of a change.

    Args:
        beta: The paper's change confidence threshold, degrees.

    Raises:
        SpecError: It is no angle of 0 to 180.
    """
    if not 0 <= beta <= 180:
        raise SpecError(f"kernel.beta: {beta} is no angle; give 0 to 180 degrees, 145 as published for buildings")
    return math.cos(math.radians(beta))


def compare_objects(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    masks: Masks,
    *,
    beta: float | None,
    valid: NDArray[np.bool_] | None = None,
) -> AngleComparison:
    """Compare objects by their features.

    Args:
        before: ``[C, h, w]`` of the first date, not normalised.
        after: Of the second.
        masks: N masks of the picture over which the features are stretched.
        beta: Degrees; None: Otsu's threshold over all pixels, `auto_threshold` of the released code.
        valid: ``[H, W]``: pixels that count for Otsu's threshold; None: all.

    Returns:
        Scores ``[N]``; an empty mask's is nan.

    Raises:
        SpecError: ``beta`` is no angle.
        ValueError: The features differ in shape.
    """
    limit = _otsu(pixel_scores(before, after, masks.shape), valid) if beta is None else limit_of(beta)
    first, second = mean_features(masks, before, after)
    lengths = np.maximum(np.linalg.norm(first, axis=1), _SHORTEST) * np.maximum(
        np.linalg.norm(second, axis=1), _SHORTEST
    )
    return AngleComparison.of(np.clip(-np.einsum("nc,nc->n", first, second) / lengths, -1, 1), limit)


def compare_pixels(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    shape: tuple[int, int],
    *,
    beta: float | None,
    valid: NDArray[np.bool_] | None = None,
) -> AngleComparison:
    """Compare the features of every pixel.

    Args:
        before: ``[C, h, w]`` of the first date.
        after: Of the second.
        shape: Rows and columns of the picture.
        beta: As `compare_objects`.
        valid: Likewise.

    Returns:
        Scores ``[H, W]``.

    Raises:
        SpecError: ``beta`` is no angle.
        ValueError: The features differ in shape.
    """
    score = pixel_scores(before, after, shape)
    return AngleComparison.of(score, _otsu(score, valid) if beta is None else limit_of(beta))


def _angle(score: NDArray[np.float64]) -> NDArray[np.float64]:
    return 180 - np.degrees(np.arccos(np.clip(score, -1, 1)))


def _otsu(score: NDArray[np.float64], valid: NDArray[np.bool_] | None) -> float:
    return otsu(score if valid is None or not valid.any() else score[valid])


def pixel_scores(
    before: NDArray[np.float32], after: NDArray[np.float32], shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Minus the cosine of each pixel's stretched features, without stretching them.

    A pixel's vector is a sum of four cells', so its products and lengths are sums over sixteen pairs of cells:
    products are made once for each pair of neighbours, and stretched instead of the channels, first along the rows.

    Args:
        before: ``[C, h, w]`` of the first date.
        after: Of the second.
        shape: Rows and columns of the picture.

    Returns:
        ``[H, W]``.

    Raises:
        ValueError: The features differ in shape.
    """
    if before.shape != after.shape or before.ndim != 3:
        raise ValueError(f"features to compare are of one shape, not {before.shape} and {after.shape}")
    rows, columns = Axis.stretch(before.shape[1], shape[0]), Axis.stretch(before.shape[2], shape[1])
    first, second = _neighbourly(before), _neighbourly(after)
    product = _stretched_product(first, second, rows, columns)
    squares = (_stretched_product(date, date, rows, columns) for date in (first, second))
    lengths = [np.maximum(np.sqrt(np.maximum(square, 0)), _SHORTEST) for square in squares]
    return np.asarray(-np.clip(product / (lengths[0] * lengths[1]), -1, 1))


def _stretched_product(
    first: NDArray[np.float64], second: NDArray[np.float64], rows: Axis, columns: Axis
) -> NDArray[np.float64]:
    """Product of two fields' stretched vectors at each pixel, ``[H, W]``."""
    product = np.zeros((len(rows.lower), len(columns.lower)))
    for i, first_row_weight in _corners(rows):
        for k, second_row_weight in _corners(rows):
            across = np.zeros((rows.cells, len(columns.lower)))
            for j, first_weight in _corners(columns):
                for m, second_weight in _corners(columns):
                    cells = np.einsum("hwc,hwc->hw", _from(first, i, j), _from(second, k, m))
                    across += cells[:, columns.lower] * (first_weight * second_weight)
            product += across[rows.lower] * (first_row_weight * second_row_weight)[:, None]
    return product


def _corners(axis: Axis) -> tuple[tuple[int, NDArray[np.float64]], ...]:
    return (0, 1 - axis.fraction), (1, axis.fraction)


def _neighbourly(field: NDArray[np.float32]) -> NDArray[np.float64]:
    """A cell's channels side by side, and one more row and column, which weigh nothing: ``[h + 1, w + 1, C]``."""
    return np.pad(field.transpose(1, 2, 0).astype(np.float64), ((0, 1), (0, 1), (0, 0)), mode="edge")


def _from(field: NDArray[np.float64], row: int, column: int) -> NDArray[np.float64]:
    """Each cell's neighbour, so many rows and columns further on."""
    height, width = field.shape[0] - 1, field.shape[1] - 1
    return field[row : row + height, column : column + width]
