"""What the kernel measures of the wider area beside the shift: how bright the dates are, and which score is a change.

Each stage gives sums that add: moments of the bands, a histogram of the score.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import TileFault
from eopipe.kernels.change.registration.alignment import VISIBLE
from eopipe.kernels.change.spectral import threshold
from eopipe.kernels.change.spectral.cell import CELL_BYTES, HALO, LEVELS, SCORES, compare_cell
from eopipe.kernels.change.spectral.colour_difference import LEAST_SPREAD
from eopipe.kernels.statistics import StageInfo
from eopipe.models.registry import NINE_BANDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.prompt_classes import PromptClasses
    from eopipe.kernels.protocol import StripContext
    from eopipe.kernels.statistics import Numbers, Sums
    from eopipe.models.dynamicworld.net import DynamicWorldRunner


class LevelStage:
    """Mean and spread of the visible bands of each date, over pixels that both have."""

    info = StageInfo(LEVELS, NINE_BANDS[:VISIBLE])

    def measure(
        self,
        pixels: NDArray[np.float32],
        valid: NDArray[np.bool_],
        box: PixelBox,  # noqa: ARG002  (a stage's arguments)
        context: StripContext,  # noqa: ARG002
    ) -> Sums:
        """A cell's moments; sums of whole numbers, so exact."""
        common = pixels[:, :, valid.all(axis=0)].astype(np.float64)
        return {
            "count": np.asarray(float(common.shape[2])),
            "total": common.sum(axis=2),
            "square": (common * common).sum(axis=2),
        }

    def numbers(self, sums: Sums) -> Numbers:
        """``mean`` and ``spread``, ``[epoch, band]``."""
        if not sums["count"] > 0:
            raise _no_common_pixel()
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
        prompts: What may have changed.
    """

    info = StageInfo(SCORES, NINE_BANDS, halo=HALO)

    def __init__(self, runner: Callable[[], DynamicWorldRunner], prompts: PromptClasses) -> None:
        self._runner, self._prompts = runner, prompts

    def measure(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext
    ) -> Sums:
        """A cell's scores, counted."""
        cell = compare_cell(pixels, valid, box, context.statistics, runner=self._runner(), prompts=self._prompts)
        return {"counts": threshold.counts_of(cell.score[cell.valid])}

    def numbers(self, sums: Sums) -> Numbers:
        """``threshold``."""
        if not sums["counts"].any():
            raise _no_common_pixel()
        return {"threshold": threshold.threshold_of(sums["counts"])}

    def memory(self, shape: tuple[int, int]) -> int:  # noqa: ARG002  (always a cell)
        """What comparing a cell takes."""
        return CELL_BYTES


def _no_common_pixel() -> TileFault:
    return TileFault(
        "no_common_pixel",
        "no sampled cell around has a pixel that both dates show: widen the dates, or take another composite",
    )
