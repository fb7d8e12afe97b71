"""``spectral`` as a comparer of objects: the mean of its pixels' scores, over the threshold of their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.score import THRESHOLD, hundredths
from eopipe.kernels.change.spectral.colour_difference import LEAST_SPREAD, MARGIN, Level, compare
from eopipe.kernels.change.spectral.threshold import counts_of, threshold_of
from eopipe.kernels.change.stages.identify.rules import class_means
from eopipe.kernels.change.stages.protocols import Comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.runs import Masks
    from eopipe.kernels.change.stages.pair import DatePair


@dataclass(frozen=True, eq=False)
class SpectralComparer:
    """Objects and pixels whose colour differs from their surroundings more than the wider area's threshold.

    Args:
        ratio: float32 ``[H, W]``: score over threshold of each pixel of the pair that it compares.
    """

    ratio: NDArray[np.float32]

    def __call__(self, pair: DatePair, masks: Masks | None) -> Comparison:  # noqa: ARG002  (a comparer's arguments)
        """Means of the pixels' ratios, ``[N]``, nan for an empty mask; or (None) the ratios, ``[H, W]``."""
        ratio = self.ratio.astype(np.float64) if masks is None else class_means(masks, self.ratio[None])[:, 0]
        changed = hundredths(np.nan_to_num(ratio)) >= THRESHOLD  # what a map shows as a change; nan is none
        return Comparison(ratio, ratio, changed)


def ratio_of(pair: DatePair, bands: Sequence[int], likelihood: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Score over threshold of a pair by itself: levels and threshold of its own pixels, for there is no wider area.

    Args:
        pair: Two dates.
        bands: Its visible ones.
        likelihood: ``[H, W]``: what the score is weighed with; None: nothing.

    Returns:
        float32 ``[H, W]``, 0 where a date has no valid pixel.
    """
    common = pair.common
    if not common.any():
        return np.zeros(pair.shape, np.float32)
    around = ((MARGIN, MARGIN), (MARGIN, MARGIN))
    valid = np.pad(common, around)
    before, after = (
        _level(date[list(bands)], common).of(np.pad(date[list(bands)], ((0, 0), *around)), valid)
        for date in pair.pixels
    )
    score = compare(before, after, valid)
    if likelihood is not None:
        score *= likelihood
    ratio = score / np.float32(threshold_of(counts_of(score[common])))
    return np.where(common, ratio, np.float32(0))


def _level(bands: NDArray[np.float32], valid: NDArray[np.bool_]) -> Level:
    values = bands[:, valid].astype(np.float64)
    mean, spread = values.mean(axis=1), np.maximum(values.std(axis=1), LEAST_SPREAD)
    return Level(*(moment[:, None, None].astype(np.float32) for moment in (mean, spread)))
