"""What a tile is made of: the one thing in which kinds of runs differ.

Tiles are made of scenes (:mod:`~eopipe.engine.sources.scenes`), of scenes and the window features that another run
kept (:mod:`~eopipe.engine.sources.kept_features`), or of the scores that another run stored
(:mod:`~eopipe.engine.sources.stored_scores`). A run holds one source; plan, calibration, preflight, tasks and summary
call it, and never ask which kind it is. The keys of a run's tiles follow from its recipe alone
(:mod:`eopipe.engine.plan.tiles`), so ``status`` and ``validate`` work without the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.cube.asset_file import ReadStats
    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import Scene
    from eopipe.engine.output.record import Record
    from eopipe.engine.output.run_json import Derived
    from eopipe.engine.plan.model import Calibration, Plan, PlanRequest
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.statistics.interpolate import Statistics
    from eopipe.engine.work.strips import Sink, Stopwatch
    from eopipe.grid import PixelBox
    from eopipe.kernels.protocol import Kernel
    from eopipe.run_folder import Key


class Worker(Protocol):
    """The worker's part of a run, as far as a source uses it."""

    device: str

    @property
    def unloaded_kernel(self) -> Kernel:
        """The kernel as it came: enough for a tile of which no pixel is mapped."""

    @property
    def kernel(self) -> Kernel:
        """The kernel, loaded: once a worker."""

    @property
    def read(self) -> ReadSettings:
        """How pixels are read, on the kernel's lattice."""

    @property
    def statistics(self) -> Statistics | None:
        """The run's statistics; None where the kernel declares no stage."""

    @property
    def tiles(self) -> Sequence[PlannedTile]:
        """The tiles still to be done."""

    def scenes(self, tile: PlannedTile) -> list[list[Scene]]:
        """A tile's scenes by epoch, assets resolved."""


@dataclass(frozen=True)
class Readiness:
    """What a worker showed in the preflight.

    Args:
        slowdown: How many times longer the kernel's precision takes there than float32.
        warning: One line, empty where there is none.
    """

    slowdown: float = 1.0
    warning: str = ""


class TileSource(Protocol):
    """What a run's tiles are made of. Picklable: it travels to the workers with the run's context."""

    @property
    def derived(self) -> Derived | None:
        """The run that tiles are made of, for ``run.json``; None where they are made of scenes."""

    @property
    def remark(self) -> str:
        """A remark behind the kernel's name in the quicklook's subtitle, or nothing."""

    def plan(self, request: PlanRequest) -> Plan:
        """Plan a run.

        Raises:
            PlanError: It cannot fit.
        """

    def calibrate(self, kernel: Kernel) -> Calibration:
        """Warm this process up, measure its memory, and time the kernel if tiles need it; runs on a worker."""

    def ready(self, worker: Worker, watch: Stopwatch) -> Readiness:
        """Show on a worker, before any tile, that tiles can be made there.

        Args:
            worker: The worker's part of the run.
            watch: Enters a stage for each step: an error is named by it.

        Raises:
            Exception: Any; it ends the run and names the worker.
        """

    def make(
        self, worker: Worker, tile: PlannedTile, box: PixelBox, inside: NDArray[np.bool_] | None, sink: Sink
    ) -> tuple[Mapping[str, NDArray[Any]], ReadStats]:
        """A tile's arrays, ``observations`` included, and how much was read of assets.

        Args:
            worker: The worker's part of the run.
            tile: The tile.
            box: Its pixels.
            inside: ``[y, x]``: whether the area holds a pixel; None where it holds all.
            sink: Takes figures, objects and window features; times the stages.

        Raises:
            TileFault: Something of the source is missing or damaged.
        """

    def summary(self, plan: Plan, records: Mapping[Key, Record]) -> dict[str, Any]:
        """The run's summary on its source, against these records of its tiles; empty of scenes."""
