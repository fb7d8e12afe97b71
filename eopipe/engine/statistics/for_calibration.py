"""Statistics of seeded pixels: what a calibration gives a kernel, and how long each stage takes for a cell."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.grid import CELL, PixelBox
from eopipe.kernels.protocol import Measuring, StripContext
from eopipe.kernels.statistics import Field, merged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.kernels.protocol import Kernel, StatisticsStage
    from eopipe.kernels.statistics import Numbers


@dataclass(frozen=True)
class SeededStatistics:
    """Numbers of every stage, equal at every pixel, and the seconds that each took.

    Args:
        numbers: By stage, in order.
        seconds: Of one cell, by stage.
        step: Side of a cell on the kernel's lattice.
    """

    numbers: Mapping[str, Numbers] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    step: int = CELL

    def around(self, box: PixelBox) -> dict[str, Field]:
        """The same numbers as fields over a box."""
        return {name: Field.constant(numbers, box, self.step) for name, numbers in self.numbers.items()}


def measure_seeded(kernel: Kernel) -> SeededStatistics:
    """Measure one seeded cell with each stage of a loaded kernel; empty where it declares none."""
    if not isinstance(kernel, Measuring):
        return SeededStatistics()
    seeded = SeededStatistics({}, {}, CELL * kernel.info.factor)
    for stage in kernel.stages():
        start = time.perf_counter()
        numbers = _numbers(stage, kernel.info.inputs.epochs, seeded)
        spent = time.perf_counter() - start
        name = stage.info.name
        seeded = SeededStatistics({**seeded.numbers, name: numbers}, {**seeded.seconds, name: spent}, seeded.step)
    return seeded


def _numbers(stage: StatisticsStage, epochs: int, before: SeededStatistics) -> Numbers:
    box = PixelBox(0, 0, before.step, before.step)
    outer = box.pad(stage.info.halo)
    pixels, valid = _seeded(epochs, len(stage.info.bands), outer.shape)
    sums = stage.measure(pixels, valid, box, StripContext(statistics=before.around(outer)))
    return stage.numbers(merged([(1.0, sums)]))


def _seeded(epochs: int, bands: int, shape: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """One scene for all epochs, and a little noise for each: dates that can be compared."""
    rng = np.random.default_rng(0)
    scene = rng.integers(200, 4000, (1, bands, *shape))
    pixels = (scene + rng.integers(0, 20, (epochs, bands, *shape))).astype(np.float32)
    return pixels, np.ones((epochs, *shape), dtype=bool)
