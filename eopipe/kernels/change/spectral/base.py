"""What the two kernels of change share: nets loaded once, pickled without them, and a map that can be cut anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from eopipe.kernels.change.objects import rethresholded
from eopipe.kernels.change.registration.alignment import ShiftStage
from eopipe.kernels.change.score import THRESHOLD
from eopipe.kernels.change.spectral.statistics import LevelStage, ScoreStage
from eopipe.models.dynamicworld.net import load_dynamic_world

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernel_info import KernelInfo
    from eopipe.kernels.change.prompt_classes import PromptClasses
    from eopipe.kernels.protocol import Result, StatisticsStage
    from eopipe.models.dynamicworld.net import DynamicWorldRunner


class ChangeKernel:
    """A change kernel without its strips. Picklable until :meth:`load`, and again after it (weights are re-read).

    Args:
        info: What the kernel is.
        prompts: What may have changed, where colours are compared and Dynamic World weighs them; else None.
        registration: Whether the second date is moved onto the first.
        threshold: Where ``change_score`` is cut, in hundredths of the threshold; None: `THRESHOLD`.
    """

    LOADED: ClassVar[tuple[str, ...]] = ("_runner", "_loaded")
    """Attributes that are not pickled."""

    def __init__(
        self, info: KernelInfo, *, prompts: PromptClasses | None, registration: bool, threshold: int | None
    ) -> None:
        self._info, self._prompts, self._registration = info, prompts, registration
        self._threshold = THRESHOLD if threshold is None else threshold
        self._runner: DynamicWorldRunner | None = None
        self._loaded: tuple[str, int] | None = None

    @property
    def info(self) -> KernelInfo:
        """What the kernel is."""
        return self._info

    def stages(self) -> tuple[StatisticsStage, ...]:
        """Shift (if dates are registered); levels and scores where colours are compared."""
        shift = [ShiftStage()] if self._registration else []
        if self._prompts is None:
            return tuple(shift)
        return (*shift, LevelStage(), ScoreStage(self._net, self._prompts))

    def load(self, *, device: str, threads: int) -> None:
        """Load Dynamic World once, where it is needed."""
        if self._prompts is not None and self._loaded != (device, threads):
            self._runner = load_dynamic_world(device=device)
        self._loaded = (device, threads)

    def recompute(self, arrays: Mapping[str, NDArray[Any]], box: PixelBox) -> Result:
        """Arrays of a box as they were stored, with ``change`` as this threshold makes it, and its regions."""
        return rethresholded(arrays, box, self._threshold)

    def _net(self) -> DynamicWorldRunner:
        assert self._runner is not None, "load() comes before the first strip"
        return self._runner

    def __getstate__(self) -> dict[str, Any]:
        """Leave the loaded nets out."""
        return {**self.__dict__, **dict.fromkeys(self.LOADED)}
