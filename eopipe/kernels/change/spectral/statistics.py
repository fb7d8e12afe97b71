"""What a change map must know of the wider area: how the dates lie, how bright they are, which score is a change.

Three stages, each of sums that add: correlation surfaces, moments of the bands, a histogram of the score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import TileFault
from eopipe.kernels.change.registration import phase_correlation
from eopipe.kernels.change.spectral import threshold
from eopipe.kernels.change.spectral.cell import HALO, LEVELS, SCORES, SHIFT, VISIBLE, compare_cell
from eopipe.kernels.land_cover import BANDS
from eopipe.kernels.statistics import StageInfo

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.prompt_classes import Meaning
    from eopipe.kernels.protocol import StripContext
    from eopipe.kernels.statistics import Numbers, Sums
    from eopipe.models.dynamicworld.net import DynamicWorldRunner

LEAST_SPREAD = 1.0
"""Of a band, in reflectance x 10000: an area of one colour has none."""


class ShiftStage:
    """How far the second date lies beside the first: phase correlation of the visible mean."""

    info = StageInfo(SHIFT, BANDS[:VISIBLE])

    def measure(
        self,
        pixels: NDArray[np.float32],
        valid: NDArray[np.bool_],
        box: PixelBox,  # noqa: ARG002  (a stage's arguments)
        context: StripContext,  # noqa: ARG002
    ) -> Sums:
        """A cell's surface."""
        before, after = pixels.mean(axis=1)
        return {"surface": phase_correlation.surface(before, after, valid[0] & valid[1])}

    def numbers(self, sums: Sums) -> Numbers:
        """``down`` and ``right``, pixels."""
        return phase_correlation.peak(sums["surface"])

    def memory(self, shape: tuple[int, int]) -> int:
        """Spectra in double precision, and what they are made of."""
        return 120 * shape[0] * shape[1]


class LevelStage:
    """Mean and spread of the visible bands of each date, over pixels that both have."""

    info = StageInfo(LEVELS, BANDS[:VISIBLE])

    def measure(
        self,
        pixels: NDArray[np.float32],
        valid: NDArray[np.bool_],
        box: PixelBox,  # noqa: ARG002  (a stage's arguments)
        context: StripContext,  # noqa: ARG002
    ) -> Sums:
        """A cell's moments; sums of whole numbers, so exact."""
        seen = pixels[:, :, valid.all(axis=0)].astype(np.float64)
        return {
            "count": np.asarray(float(seen.shape[2])),
            "total": seen.sum(axis=2),
            "square": (seen * seen).sum(axis=2),
        }

    def numbers(self, sums: Sums) -> Numbers:
        """``mean`` and ``spread``, ``[epoch, band]``."""
        if not sums["count"] > 0:
            raise _apart()
        mean = sums["total"] / sums["count"]
        variance = np.maximum(sums["square"] / sums["count"] - mean**2, 0)
        return {"mean": mean, "spread": np.maximum(np.sqrt(variance), LEAST_SPREAD)}

    def memory(self, shape: tuple[int, int]) -> int:
        """Two copies in double precision."""
        return 2 * 2 * VISIBLE * 8 * shape[0] * shape[1]


class ScoreStage:
    """The histogram of the score, from which the threshold follows.

    Args:
        runner: Gives Dynamic World once it is loaded.
        meaning: What was asked for.
        memory: Bytes that a cell takes.
    """

    info = StageInfo(SCORES, BANDS, halo=HALO)

    def __init__(self, runner: Callable[[], DynamicWorldRunner], meaning: Meaning, memory: int) -> None:
        self._runner, self._meaning, self._memory = runner, meaning, memory

    def measure(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext
    ) -> Sums:
        """A cell's scores, counted."""
        found = compare_cell(pixels, valid, box, context.statistics, runner=self._runner(), meaning=self._meaning)
        return {"counts": threshold.counts_of(found.score[found.seen])}

    def numbers(self, sums: Sums) -> Numbers:
        """``threshold``."""
        if not sums["counts"].any():
            raise _apart()
        return {"threshold": threshold.threshold_of(sums["counts"])}

    def memory(self, shape: tuple[int, int]) -> int:  # noqa: ARG002  (always a cell)
        """What comparing a cell takes."""
        return self._memory


def _apart() -> TileFault:
    return TileFault(
        "no_common_pixel",
        "no sampled cell around has a pixel that both dates show: widen the dates, or take another composite",
    )
