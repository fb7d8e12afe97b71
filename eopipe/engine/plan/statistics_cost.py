"""Cost of measuring statistics: bytes, requests, seconds, and a worker's memory."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING, Any

from eopipe.cube.estimate import ReadEstimate, estimate_reads
from eopipe.cube.file_layout import read_layouts, spread
from eopipe.cube.item_scenes import scenes_from_items
from eopipe.cube.reader import block_memory
from eopipe.cube.reader import memory as reader_memory
from eopipe.engine.plan.memory import GDAL_CACHE, TileMemory
from eopipe.grid import CELL
from eopipe.kernels.protocol import Measuring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.cube.file_layout import FileLayout
    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import Scene
    from eopipe.engine.statistics.planning import PlannedCell, StagePlan, StatisticsPlan
    from eopipe.grid import PixelBox, Tile
    from eopipe.kernels.protocol import Kernel, StatisticsStage
    from eopipe.snapshot import Snapshot


SAMPLED = 3
"""Scenes of a collection whose files' blocks are looked at."""


@dataclass(frozen=True)
class StatisticsCost:
    """Cost of what a run measures before its tiles.

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
        seconds: Of a cell, by stage (:class:`eopipe.engine.plan.model.Calibration`).
    """
    reads = [_reads(stage, plan.factor, snapshot=snapshot, read=read, workers=workers) for stage in plan.stages]
    cells = {stage.info.name: sum(len(_read_cells(stage, block)) for block in stage.blocks) for stage in plan.stages}
    return StatisticsCost(
        plan,
        sum(cells.values()),
        reduce(add_reads, reads, ReadEstimate(bytes=0, requests=0)),
        sum(seconds.get(name, 0.0) * count for name, count in cells.items()),
    )


def sample_layouts(snapshot: Snapshot, read: ReadSettings, rows: Sequence[int]) -> dict[str, FileLayout]:
    """Layouts of the files of a few scenes of each collection, by address; files that cannot be read are left out."""
    names, by_collection = snapshot.index.column("collection").to_pylist(), defaultdict(list)
    for row in rows:
        by_collection[names[row]].append(row)
    few = [row for group in by_collection.values() for row in spread(group, SAMPLED)]
    items = snapshot.items(few)
    scenes = scenes_from_items(items, read.bands, read.mask, read.sar, read.choice, radiometry=read.radiometry)
    return read_layouts(scenes, read)


def estimate(
    boxes: Sequence[tuple[PixelBox, Sequence[int]]],
    snapshot: Snapshot,
    read: ReadSettings,
    *,
    strip: int,
    workers: int,
    known: Mapping[str, FileLayout] | None = None,
) -> ReadEstimate:
    """Bytes and requests of reading boxes of the kernel's lattice, each from the scenes of some snapshot rows."""

    def scenes(rows: Sequence[int]) -> list[Scene]:
        items = snapshot.items(rows)
        return scenes_from_items(items, read.bands, read.mask, read.sar, read.choice, radiometry=read.radiometry)

    return estimate_reads(
        boxes, scenes, read, strip=strip, workers=workers, block_cache=GDAL_CACHE, known=known or {}
    )


def add_reads(first: ReadEstimate, second: ReadEstimate) -> ReadEstimate:
    """Both together."""
    return ReadEstimate(
        bytes=first.bytes + second.bytes,
        requests=first.requests + second.requests,
        tiles=first.tiles + second.tiles,
        headers=first.headers + second.headers,
    )


def stage_memory(kernel: Kernel, *, base: int, scenes: int, block_bytes: int = 0) -> list[TileMemory]:
    """Peak of a block's task by stage, by cause as :func:`eopipe.engine.plan.memory.tile_memory` has a tile's.

    Args:
        kernel: Not loaded.
        base: Bytes of a worker at rest.
        scenes: Most scenes of one epoch.
        block_bytes: Of the largest block of the files.
    """
    stages = kernel.stages() if isinstance(kernel, Measuring) else ()
    return [_memory(kernel, stage, base, scenes, block_bytes) for stage in stages]


def _memory(kernel: Kernel, stage: StatisticsStage, base: int, scenes: int, block_bytes: int) -> TileMemory:
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
        blocks=block_memory(block_bytes, scenes * bands * epochs),
    )


def _read_cells(stage: StagePlan, block: Tile) -> list[PlannedCell]:
    return [cell for cell in stage.blocks[block].cells if all(cell.rows)]


def _reads(stage: StagePlan, factor: int, *, snapshot: Snapshot, read: ReadSettings, workers: int) -> ReadEstimate:
    """Each cell is read like a small tile."""
    halo = stage.info.halo
    boxes = [
        (cell.box.scale(factor).pad(halo), [row for rows in cell.rows for row in rows])
        for block in stage.blocks
        for cell in _read_cells(stage, block)
    ]
    settings = replace(read, bands=stage.info.bands)
    return estimate(boxes, snapshot, settings, strip=CELL * factor + 2 * halo, workers=workers)
