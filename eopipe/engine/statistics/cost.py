"""What measuring costs: for the plan, and for the worker's memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eopipe.cube.estimate import ReadEstimate, estimate_reads
from eopipe.cube.reader import memory as reader_memory
from eopipe.cube.scenes import scenes_from_items
from eopipe.engine.plan.memory import GDAL_CACHE, TileMemory
from eopipe.grid import CELL
from eopipe.kernels.protocol import Measuring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.cube.reader import ReadSettings
    from eopipe.engine.statistics.planning import StagePlan, StatisticsPlan
    from eopipe.kernels.protocol import Kernel, StatisticsStage
    from eopipe.snapshot import Snapshot


@dataclass(frozen=True)
class StatisticsCost:
    """What a run measures before its tiles.

    Args:
        plan: Stages and blocks.
        cells: Cells that are read, all stages together.
        reads: Bytes and requests.
        seconds: Of one worker that measures, reading aside; 0 where nothing was timed.
    """

    plan: StatisticsPlan
    cells: int
    reads: ReadEstimate
    seconds: float

    def summary(self) -> dict[str, Any]:
        """For people and ``--json``."""
        return {
            "stages": [stage.info.name for stage in self.plan.stages],
            "blocks": self.plan.blocks,
            "cells": self.cells,
            "bytes_read": self.reads.bytes,
            "requests": self.reads.requests,
        }


def cost_of(
    plan: StatisticsPlan, *, snapshot: Snapshot, read: ReadSettings, workers: int, seconds: Mapping[str, float]
) -> StatisticsCost:
    """Cost of a plan.

    Args:
        plan: Stages and blocks.
        snapshot: The frozen items.
        read: How tiles are read.
        workers: How many read at once.
        seconds: Of a cell, by stage (:class:`eopipe.engine.work.calibrate.Calibration`).
    """
    reads = [_reads(stage, plan.factor, snapshot=snapshot, read=read, workers=workers) for stage in plan.stages]
    cells = {stage.info.name: sum(len(_read_cells(stage, block)) for block in stage.blocks) for stage in plan.stages}
    return StatisticsCost(
        plan,
        sum(cells.values()),
        ReadEstimate(
            bytes=sum(one.bytes for one in reads),
            requests=sum(one.requests for one in reads),
            tiles=sum(one.tiles for one in reads),
            headers=sum(one.headers for one in reads),
            unread=tuple(dict.fromkeys(line for one in reads for line in one.unread)),
        ),
        sum(seconds.get(name, 0.0) * count for name, count in cells.items()),
    )


def stage_memory(kernel: Kernel, *, base: int, scenes: int) -> list[TileMemory]:
    """Peak of a block's task by stage, as :func:`eopipe.engine.plan.memory.tile_memory` has it of a tile's.

    Args:
        kernel: Not loaded.
        base: Bytes of a worker at rest.
        scenes: Most scenes of one epoch.
    """
    stages = kernel.stages() if isinstance(kernel, Measuring) else ()
    return [_memory(kernel, stage, base, scenes) for stage in stages]


def _memory(kernel: Kernel, stage: StatisticsStage, base: int, scenes: int) -> TileMemory:
    info, inputs = stage.info, kernel.info.inputs
    side = CELL * kernel.info.factor
    outer = (side + 2 * info.halo, side + 2 * info.halo)
    bands, epochs = len(info.bands), inputs.epochs
    return TileMemory(
        base=base,
        reading=reader_memory(outer, scenes, bands, epochs=epochs, modality=inputs.modality),
        gdal=GDAL_CACHE,
        strip=epochs * outer[0] * outer[1] * (4 * bands + 1),
        kernel=stage.memory((side, side)),
        arrays=0,
    )


def _read_cells(stage: StagePlan, block: Any) -> list[Any]:
    return [cell for cell in stage.blocks[block].cells if all(cell.rows)]


def _reads(stage: StagePlan, factor: int, *, snapshot: Snapshot, read: ReadSettings, workers: int) -> ReadEstimate:
    """Each cell is read like a small tile."""
    settings = replace(read, bands=stage.info.bands)
    halo = stage.info.halo
    boxes = [
        (cell.box.scale(factor).pad(halo), [row for rows in cell.rows for row in rows])
        for block in stage.blocks
        for cell in _read_cells(stage, block)
    ]

    def scenes(rows: Sequence[int]) -> list[Any]:
        return scenes_from_items(snapshot.items(rows), settings.bands, settings.mask, settings.sar)

    height = CELL * factor + 2 * halo
    return estimate_reads(boxes, scenes, settings, strip=height, workers=workers, block_cache=GDAL_CACHE)
