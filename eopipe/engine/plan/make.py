"""The plan: what a run will do, before it does it, and whether it can."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from pyproj import Geod

from eopipe.area.footprint import to_lonlat
from eopipe.cube.reader import USUAL_BLOCK
from eopipe.engine.output.recipe import tile_recipe
from eopipe.engine.plan import prompt_check
from eopipe.engine.plan.memory import TileMemory, check_fits, choose_tile, tile_memory
from eopipe.engine.plan.model import FeatureBytes, Plan
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.plan.statistics_cost import add_reads, cost_of, estimate, sample_layouts, stage_memory
from eopipe.engine.plan.tiles import STRIP, PlannedTile, most_scenes, plan_tiles, read_box
from eopipe.engine.statistics.planning import describe, stages_of
from eopipe.text import gib

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.engine.plan.model import PlanRequest
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.snapshot import Snapshot

WRITTEN_A_PIXEL = 0.35
"""Bytes that a pixel of a uint8 map takes once compressed, pyramid and COG included; seen on real maps."""

READ_BYTES_A_SECOND = 25e6
"""Bytes that one worker reads a second, if nothing better is known: one stream of an object store."""


def make_plan(request: PlanRequest) -> Plan:
    """Plan a run that maps scenes.

    Raises:
        PlanError: It cannot fit.
        ItemError: A scene lacks a band that the kernel needs.
    """
    job, snapshot, workers, calibration = request.job, request.snapshot, request.workers, request.calibration
    info, read, size = job.kernel.info, job.read, request.tile or job.spec.grid.tile
    scenes = snapshot.scenes(job.grid)
    most = most_scenes(job.region, info=info, snapshot=snapshot, scenes=scenes)
    layouts = sample_layouts(snapshot, read, scenes.query(np.array([job.grid.bounds(job.region.box)]))[0].tolist())
    block = max((layout.facts.block_bytes for layout in layouts.values()), default=0)
    peak = partial(_peak, job, base=calibration.base, scenes=most, block_bytes=block)
    cause = f", with blocks of {gib(block)} in its files" if block > USUAL_BLOCK else ""
    if size == "auto":
        size = choose_tile(
            peak=lambda side: peak(side).total,
            tiles=lambda side: len(job.region.tiles(side)),
            limit=workers.memory,
            workers=workers.count,
            cause=cause,
        )
    else:
        check_fits(size, peak=lambda side: peak(side).total, limit=workers.memory, cause=cause)
    stages = describe(stages_of(job.kernel))
    recipe = tile_recipe(
        info=info,
        grid=job.grid,
        tile=size,
        source=job.spec.source,
        threads=THREADS,
        statistics=stages,
        files=request.survey.files,
    )
    if request.features is not None:
        recipe["features"] = dict(request.features)
    tiles, measured = plan_tiles(job.region, snapshot=snapshot, recipe=recipe, scenes=scenes)
    boxes = [
        (read_box(tile.tile.box(size), info), [row for rows in tile.rows for row in rows])
        for tile in tiles
        if tile.read
    ]
    reads, statistics = estimate(boxes, snapshot, read, strip=STRIP, workers=workers.count, known=layouts), None
    windows = sum(tile.covered for tile in tiles) * info.window.touching(size * info.factor) ** 2
    compute = windows * calibration.window_seconds
    if measured is not None:
        statistics = cost_of(
            measured, snapshot=snapshot, read=read, workers=workers.count, seconds=calibration.stage_seconds
        )
        compute += statistics.seconds
        reads = add_reads(reads, statistics.reads)
    return Plan(
        tile=size,
        tiles=tiles,
        recipe=recipe,
        reads=reads,
        memory=peak(size),
        written=int(len(tiles) * size * size * WRITTEN_A_PIXEL * (len(info.arrays) + 1)),
        seconds=max(compute, reads.bytes / READ_BYTES_A_SECOND) / workers.count,
        km2=job.area.km2,
        workers=workers,
        calibration=calibration,
        warnings=request.warnings,
        features=_feature_bytes(job, tiles, size),
        words=prompt_check.notes_of(job.kernel),
        statistics=statistics,
        radiometry=request.survey.lines,
    )


def with_features(plan: Plan, job: Job, snapshot: Snapshot, features: Mapping[str, Any]) -> Plan:
    """The plan with an entry on window features in its recipe, and so in its tiles' keys."""
    recipe = {**plan.recipe, "features": dict(features)}
    return replace(plan, recipe=recipe, tiles=plan_tiles(job.region, snapshot=snapshot, recipe=recipe).tiles)


def _peak(job: Job, size: int, *, base: int, scenes: int, block_bytes: int) -> TileMemory:
    """Peak of a worker: of a tile's task, or of a block's where that needs more."""
    tile = tile_memory(
        size,
        info=job.kernel.info,
        kernel_bytes=job.kernel.memory,
        base=base,
        scenes=scenes,
        cog=job.spec.output.cog,
        block_bytes=block_bytes,
    )
    stages = stage_memory(job.kernel, base=base, scenes=scenes, block_bytes=block_bytes)
    return max([tile, *stages], key=lambda memory: memory.total)


def _feature_bytes(job: Job, tiles: Sequence[PlannedTile], size: int) -> FeatureBytes | None:
    """Of whole tiles: windows that begin outside of the run's tiles are not counted."""
    info, covered = job.kernel.info, [tile for tile in tiles if tile.covered]
    if info.features is None or not covered:
        return None
    a_tile = int((size * info.factor / info.window.stride) ** 2 * info.features.window_bytes)
    middle = shapely.box(*job.grid.bounds(covered[len(covered) // 2].tile.box(size)))
    [outline] = to_lonlat([middle], job.grid.crs, size * job.grid.resolution / 8)
    km2 = abs(Geod(ellps="WGS84").geometry_area_perimeter(outline)[0]) / 1e6
    return FeatureBytes(len(covered) * a_tile, a_tile / km2)
