"""A block's task: measure the sampled cells of a block for a statistics stage, add them up, write the sums.

A failed block is recorded, and fails the tiles which need it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from eopipe.cube.reader import TileReader
from eopipe.engine.statistics.block_file import BlockSums
from eopipe.engine.statistics.interpolate import EMPTY
from eopipe.engine.statistics.store import StatisticsStore
from eopipe.engine.work.task_shell import TaskReport, run_task
from eopipe.engine.work.worker_state import state_of
from eopipe.errors import DamageError, TileFault
from eopipe.kernels.protocol import Measuring, StripContext
from eopipe.kernels.statistics import merged

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eopipe.cube.asset_file import ReadStats
    from eopipe.engine.output.record import Failure
    from eopipe.engine.statistics.planning import PlannedCell
    from eopipe.engine.work.strips import Stopwatch
    from eopipe.engine.work.worker_state import WorkerState
    from eopipe.grid import PixelBox, Tile
    from eopipe.kernels.protocol import StatisticsStage
    from eopipe.kernels.statistics import Field, Sums


class BlockTask:
    """One block and stage on a worker.

    Args:
        state: The worker's.
        number: Of the stage.
        block: The block.
    """

    attempt = 1

    def __init__(self, state: WorkerState, number: int, block: Tile) -> None:
        assert state.context.statistics is not None
        self.planned = state.context.statistics.stages[number].blocks[block]
        self._state, self._number = state, number
        self._store = StatisticsStore(state.context.storage)

    def recorded(self) -> bool:
        """Whether sound sums exist; damaged ones are measured anew."""
        try:
            self._store.get(self.planned.stage, *self.planned.key)
        except (FileNotFoundError, DamageError):
            return False
        return True

    def run(self, watch: Stopwatch) -> TaskReport:
        """Measure the cells of which scenes of every epoch exist, and write the sums."""
        planned = self.planned
        cells = [cell for cell in planned.cells if all(cell.rows)]
        measured = [(cell.cell.name, *self._measure(cell, watch)) for cell in cells]
        valid = [(name, sums) for name, sums, _ in measured if sums is not None]
        with watch("write"):
            total = merged((1.0, sums) for _, sums in valid)
            names = tuple(name for name, _ in valid)
            warning = self._store.create(BlockSums(planned.stage, *planned.key, names, total))
        return TaskReport(
            planned.subject,
            "done",
            seconds=dict(watch.seconds),
            bytes_read=sum(reads.bytes_read for _, _, reads in measured),
            retries=sum(reads.retries for _, _, reads in measured),
            warnings=(warning,) if warning else (),
        )

    def on_failure(self, failure: Failure) -> Mapping[str, Callable[[], object]]:
        """The failure is recorded: its tiles read the reason there."""
        return {"record": lambda: self._store.fail(self.planned.stage, failure)}

    def _measure(self, cell: PlannedCell, watch: Stopwatch) -> tuple[Sums | None, ReadStats]:
        """A cell's sums, None where an epoch has no valid pixel in it; and how much was read."""
        kernel, settings = self._state.kernel, self._state.context.read
        assert isinstance(kernel, Measuring)
        stages = kernel.stages()
        stage = stages[self._number]
        box = cell.box.scale(kernel.info.factor)
        outer = box.pad(stage.info.halo)
        with watch("scenes"):
            scenes = self._state.scenes_of(cell.rows, stage.info.bands)
        with watch("read"), TileReader(scenes, replace(settings, bands=stage.info.bands)) as reader:
            pixels = reader.read(outer)
        if not pixels.valid[:, *box.slices(outer)].any(axis=(1, 2)).all():
            return None, reader.stats
        with watch("kernel"):
            before = self._before(stages[: self._number], outer)
            if before is None:
                return None, reader.stats
            values = pixels.for_kernel(kernel.info.inputs.modality)
            return stage.measure(values, pixels.valid, box, StripContext(statistics=before)), reader.stats

    def _before(self, stages: Sequence[StatisticsStage], box: PixelBox) -> dict[str, Field] | None:
        """The earlier stages' numbers; None where one of them, on other bands, has no valid pixel around the box."""
        assert self._state.statistics is not None
        try:
            return self._state.statistics.around(stages, box)
        except TileFault as fault:
            if fault.reason == EMPTY:
                return None
            raise


def run_block(block: Tile, *, run_id: str, number: int) -> TaskReport:
    """Measure one block for the stage of this number, on this worker."""
    return run_task(BlockTask(state_of(run_id), number, block))
