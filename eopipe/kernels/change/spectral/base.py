"""What the two kernels of change share: Dynamic World, the statistics stages, and a map that can be cut anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.kernels.base import BaseKernel
from eopipe.kernels.change.objects import changed_regions
from eopipe.kernels.change.registration.alignment import ShiftStage
from eopipe.kernels.change.score import THRESHOLD, change_of
from eopipe.kernels.change.spectral.statistics import LevelStage, ScoreStage
from eopipe.kernels.protocol import Result
from eopipe.models.dynamicworld.net import DynamicWorldRunner, load_dynamic_world

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernelinfo import KernelInfo
    from eopipe.kernels.change.prompt_classes import PromptClasses
    from eopipe.kernels.protocol import StatisticsStage


class ChangeKernel(BaseKernel[DynamicWorldRunner]):
    """A change kernel without its strips; its net is Dynamic World, where it is needed.

    Args:
        info: What the kernel is.
        prompts: What may have changed, where colours are compared and Dynamic World weighs them; else None.
        registration: Whether the second date is moved onto the first.
        threshold: Where ``change_score`` is cut, in hundredths of the threshold; None: `THRESHOLD`.
    """

    def __init__(
        self, info: KernelInfo, *, prompts: PromptClasses | None, registration: bool, threshold: int | None
    ) -> None:
        super().__init__(info)
        self._prompts, self._registration = prompts, registration
        self._threshold = THRESHOLD if threshold is None else threshold

    def stages(self) -> tuple[StatisticsStage, ...]:
        """Shift (if dates are registered); levels and scores where colours are compared."""
        shift = [ShiftStage()] if self._registration else []
        if self._prompts is None:
            return tuple(shift)
        return (*shift, LevelStage(), ScoreStage(lambda: self.net, self._prompts))

    def recompute(self, arrays: Mapping[str, NDArray[Any]], box: PixelBox) -> Result:
        """A map of pixels cut anew: ``change`` from ``change_score`` as it was stored, and the regions of that.

        Args:
            arrays: All of a box, as they were stored: pixels outside the area hold no score.
            box: Whole cells.
        """
        recut = {**arrays, "change": change_of(arrays["change_score"], self._threshold)}
        return Result(recut, changed_regions(recut, box))

    def _read(self, *, device: str, threads: int) -> DynamicWorldRunner | None:  # noqa: ARG002  (the net needs none)
        return None if self._prompts is None else load_dynamic_world(device=device)
