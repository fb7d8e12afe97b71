"""What one task does: measure the sampled cells of a block for a stage, add them up, write the sums.

It never raises for a block's fault: that is recorded, and fails the tiles which need the block.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import torch

from eopipe.cube.reader import TileReader
from eopipe.engine.output.ledger import Failure
from eopipe.engine.statistics.block_file import BlockSums
from eopipe.engine.statistics.interpolate import EMPTY
from eopipe.engine.statistics.store import StatisticsStore
from eopipe.engine.work.reasons import fault_of
from eopipe.engine.work.strips import Stopwatch
from eopipe.engine.work.worker_state import state_of
from eopipe.errors import DamageError, EopipeError, TileFault
from eopipe.kernels.protocol import Measuring, StripContext
from eopipe.kernels.statistics import merged
from eopipe.run_folder import Key
from eopipe.stac.signing import redact

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.cube.reader import ReadStats
    from eopipe.engine.statistics.planning import PlannedBlock, PlannedCell
    from eopipe.engine.work.worker_state import WorkerState
    from eopipe.grid import PixelBox, Tile
    from eopipe.kernels.protocol import StatisticsStage
    from eopipe.kernels.statistics import Field, Sums

LOG = logging.getLogger("eopipe.statistics")


@dataclass(frozen=True)
class BlockReport:
    """What a task tells the driver.

    Args:
        stage: Name of the stage.
        block: Name of the block.
        status: ``done``, ``failed``, or ``present`` when another had measured it.
        reason: Such as ``read.corrupt`` where it failed.
        detail: One line for people where it failed.
        seconds: By step.
        bytes_read: Estimated from what was asked of the sources.
        retries: Reads that were tried again.
        warnings: Such as ``write.nondeterministic``.
    """

    stage: str
    block: str
    status: str
    reason: str = ""
    detail: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    bytes_read: int = 0
    retries: int = 0
    warnings: tuple[str, ...] = ()


def run_block(run_id: str, number: int, block: Tile) -> BlockReport:
    """Measure one block for the stage of this number, on this worker."""
    state, watch = state_of(run_id), Stopwatch()
    assert state.context.statistics is not None
    planned = state.context.statistics.stages[number].blocks[block]
    store = StatisticsStore(state.context.storage)
    try:
        torch.set_num_threads(state.context.threads)
        with watch("check"):
            if _measured(store, planned):
                return BlockReport(planned.stage, planned.block.name, "present")
        return _run(state, store, number, planned, watch=watch)
    except Exception as error:  # noqa: BLE001  (the seam: whatever stops a block becomes a record, and is named)
        return _failed(store, planned, watch=watch, error=error)


def _run(
    state: WorkerState, store: StatisticsStore, number: int, planned: PlannedBlock, *, watch: Stopwatch
) -> BlockReport:
    measured: list[tuple[str, Sums]] = []
    reads = []
    for cell in planned.cells:
        if not all(cell.rows):
            continue  # an epoch lacks it: nothing can be told of both
        sums, stats = _cell(state, number, cell, watch)
        reads.append(stats)
        if sums is not None:
            measured.append((cell.cell.name, sums))
    with watch("write"):
        total = merged((1.0, sums) for _, sums in measured)
        names = tuple(name for name, _ in measured)
        warning = store.create(BlockSums(planned.stage, planned.block.name, planned.inputs, names, total))
    return BlockReport(
        planned.stage,
        planned.block.name,
        "done",
        seconds=dict(watch.seconds),
        bytes_read=sum(stats.bytes_read for stats in reads),
        retries=sum(stats.retries for stats in reads),
        warnings=(warning,) if warning else (),
    )


def _cell(state: WorkerState, number: int, cell: PlannedCell, watch: Stopwatch) -> tuple[Sums | None, ReadStats]:
    """A cell's sums, None where an epoch has no valid pixel in it; and what reading took."""
    kernel, read = state.kernel, state.context.read
    assert isinstance(kernel, Measuring)
    stages = kernel.stages()
    stage = stages[number]
    box = cell.box.scale(kernel.info.factor)
    outer = box.pad(stage.info.halo)
    with watch("scenes"):
        scenes = state.scenes_of(cell.rows, stage.info.bands)
    with watch("read"), TileReader(scenes, replace(read, bands=stage.info.bands)) as reader:
        pixels = reader.read(outer)
    if not pixels.valid[:, *box.slices(outer)].any(axis=(1, 2)).all():
        return None, reader.stats
    with watch("kernel"):
        before = _before(state, stages[:number], outer)
        if before is None:
            return None, reader.stats
        values = pixels.for_kernel(kernel.info.inputs.modality)
        return stage.measure(values, pixels.valid, box, StripContext(statistics=before)), reader.stats


def _before(state: WorkerState, stages: Sequence[StatisticsStage], box: PixelBox) -> dict[str, Field] | None:
    """The stages before; None where one of them saw nothing around here, for it looks at other bands."""
    assert state.statistics is not None
    try:
        return state.statistics.around(stages, box)
    except TileFault as fault:
        if fault.reason == EMPTY:
            return None
        raise


def _measured(store: StatisticsStore, planned: PlannedBlock) -> bool:
    """Whether sound sums exist; damaged ones are measured anew."""
    try:
        store.get(planned.stage, planned.block.name, planned.inputs)
    except (FileNotFoundError, DamageError):
        return False
    return True


def _failed(store: StatisticsStore, planned: PlannedBlock, *, watch: Stopwatch, error: Exception) -> BlockReport:
    fault = fault_of(error, watch.stage)
    if not isinstance(error, (TileFault, EopipeError, MemoryError)):  # those say all there is to say
        told = redact("".join(traceback.format_exception(error)))
        LOG.warning("stage %s, block %s failed in %s:\n%s", planned.stage, planned.block.name, watch.stage, told)
    notes = []
    try:
        record_failure(store, planned, reason=fault.reason, step=watch.stage, detail=fault.detail)
    except Exception as second:  # noqa: BLE001  (the first fault is the one to report; this one is told beside it)
        notes.append(f"record after the failure failed too: {fault_of(second, 'record').detail}")
    return BlockReport(
        planned.stage,
        planned.block.name,
        "failed",
        fault.reason,
        fault.detail,
        seconds=dict(watch.seconds),
        warnings=tuple(notes),
    )


def record_failure(store: StatisticsStore, planned: PlannedBlock, *, reason: str, step: str, detail: str) -> None:
    """Say in the folder why a block is not measured: its tiles read it there."""
    key = Key(planned.block.name, planned.inputs)
    store.fail(
        planned.stage,
        Failure(tile=key.tile, inputs=key.inputs, reason=reason, stage=step, detail=detail, time=datetime.now(UTC)),
    )
