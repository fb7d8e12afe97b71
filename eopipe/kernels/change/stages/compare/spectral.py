"""``spectral`` as a comparer of objects: the mean of its pixels' scores, over the threshold of their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.cut import AT
from eopipe.kernels.change.score import hundredths
from eopipe.kernels.change.spectral.colour_difference import MARGIN, Level, compare
from eopipe.kernels.change.spectral.statistics import LEAST_SPREAD
from eopipe.kernels.change.spectral.threshold import counts_of, threshold_of
from eopipe.kernels.change.stages.identify.rules import class_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.runs import Masks
    from eopipe.kernels.change.stages.protocols import Pair


@dataclass(frozen=True, eq=False)
class Coloured:
    """What `SpectralComparer` says.

    Args:
        ratio: Score over threshold of each object ``[N]`` or pixel ``[H, W]``; nan: nothing to compare.
    """

    ratio: NDArray[np.float64]

    @property
    def score(self) -> NDArray[np.float64]:
        """The ratio."""
        return self.ratio

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Which of them have changed: what a map shows as 100 hundredths or more; nan has not."""
        return hundredths(np.nan_to_num(self.ratio)) >= AT


@dataclass(frozen=True, eq=False)
class SpectralComparer:
    """What differs in colour from its surroundings more than the wider area's threshold.

    Args:
        ratio: float32 ``[H, W]``: score over threshold of each pixel of the pair that it will be asked about.
    """

    ratio: NDArray[np.float32]

    def objects(self, pair: Pair, masks: Masks) -> Coloured:  # noqa: ARG002  (a comparer's arguments)
        """Means of the pixels' ratios, ``[N]``; nan for an empty mask."""
        return Coloured(class_means(masks, self.ratio[None])[:, 0])

    def pixels(self, pair: Pair) -> Coloured:  # noqa: ARG002  (a comparer's arguments)
        """The ratios, ``[H, W]``."""
        return Coloured(self.ratio.astype(np.float64))


def ratio_of(pair: Pair, bands: tuple[int, ...], likely: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Score over threshold of a pair by itself: levels and threshold of its own pixels, for there is no wider area.

    Args:
        pair: Two dates.
        bands: Its visible ones.
        likely: ``[H, W]``: what the score is weighed with; None: nothing.

    Returns:
        float32 ``[H, W]``, 0 where a date has no valid pixel.
    """
    if not pair.seen.any():
        return np.zeros(pair.shape, np.float32)
    around = ((MARGIN, MARGIN), (MARGIN, MARGIN))
    seen = np.pad(pair.seen, around)
    before, after = (
        _level(date[list(bands)], pair.seen).of(np.pad(date[list(bands)], ((0, 0), *around)), seen)
        for date in pair.pixels
    )
    score = compare(before, after, seen)
    if likely is not None:
        score *= likely
    found: NDArray[np.float32] = score / np.float32(threshold_of(counts_of(score[pair.seen])))
    return np.where(pair.seen, found, np.float32(0))


def _level(bands: NDArray[np.float32], seen: NDArray[np.bool_]) -> Level:
    values = bands[:, seen].astype(np.float64)
    mean, spread = values.mean(axis=1), np.maximum(values.std(axis=1), LEAST_SPREAD)
    return Level(*(part[:, None, None].astype(np.float32) for part in (mean, spread)))
