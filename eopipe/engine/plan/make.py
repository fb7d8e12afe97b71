"""The plan: what a run will do, before it does it, and whether it can."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import shapely
from pyproj import Geod

from eopipe.area.footprint import to_lonlat
from eopipe.cube.estimate import ReadEstimate, estimate_reads
from eopipe.cube.item_scenes import scenes_from_items
from eopipe.engine.output.recipe import tile_recipe
from eopipe.engine.plan import prompt_check
from eopipe.engine.plan.memory import GDAL_CACHE, TileMemory, check_fits, choose_tile, tile_memory
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.plan.tiles import PlannedTile, most_scenes, planned_tiles, read_box
from eopipe.engine.statistics.cost import StatisticsCost, cost_of, stage_memory
from eopipe.engine.statistics.planning import describe, plan_statistics, stages_of
from eopipe.engine.work.strips import STRIP

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.cube.reader import ReadSettings
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.engine.work.calibrate import Calibration
    from eopipe.kernels.known_words import WordNote
    from eopipe.snapshot import Snapshot

WRITTEN_A_PIXEL = 0.35
"""Bytes that a pixel of a uint8 map takes once compressed, pyramid and COG included; seen on real maps."""

READ_BYTES_A_SECOND = 25e6
"""What one worker reads where nothing better is known: one stream of an object store."""


@dataclass(frozen=True)
class Workers:
    """What the plan must know of the cluster: how many, and the memory of each in bytes (None: no limit)."""

    count: int
    memory: int | None


@dataclass(frozen=True)
class FeatureBytes:
    """Bytes of window features in 16 bits, before compression: in all, and a square kilometre that is mapped."""

    total: int
    a_km2: float


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Args:
        tile: Side of a tile, grid pixels.
        tiles: All tiles in space-filling order.
        recipe: The tile recipe.
        reads: Bytes and requests.
        memory: Peak of a worker, by cause.
        written: Bytes to write, about.
        seconds: Wall time, about: the slower of reading and computing.
        kernel_seconds: Of one tile.
        km2: Area.
        workers: What it was planned for.
        calibration: What was measured.
        warnings: One line each.
        features: What keeping window features takes, where they are kept.
        words: How near the prompts are to what the kernel was taught, where it can tell.
        statistics: What is measured before the tiles, where the kernel declares stages.
    """

    tile: int
    tiles: list[PlannedTile]
    recipe: dict[str, Any]
    reads: ReadEstimate
    memory: TileMemory
    written: int
    seconds: float
    kernel_seconds: float
    km2: float
    workers: Workers
    calibration: Calibration
    warnings: tuple[str, ...]
    features: FeatureBytes | None = None
    words: tuple[WordNote, ...] = ()
    statistics: StatisticsCost | None = None

    def summary(self) -> dict[str, Any]:
        """For people and ``--json``."""
        covered = Counter("covered" if tile.covered else "empty" for tile in self.tiles)
        blocks = self.statistics.plan.blocks if self.statistics is not None else 0
        return {
            "tile": self.tile,
            "tiles": len(self.tiles),
            "tiles_covered": covered["covered"],
            "tiles_empty": covered["empty"],
            "tiles_lacking": dict(Counter(name for tile in self.tiles for name in tile.lacks)),
            "tasks": len(self.tiles) + blocks,
            "scenes": len({row for tile in self.tiles for rows in tile.rows for row in rows}),
            "km2": round(self.km2, 3),
            "bytes_read": self.reads.bytes,
            "requests": self.reads.requests,
            "bytes_written": self.written,
            "worker_peak_bytes": self.memory.total,
            "worker_peak": asdict(self.memory),
            "worker_memory": self.workers.memory,
            "workers": self.workers.count,
            "seconds": round(self.seconds, 1),
            "km2_per_hour": round(self.km2 / self.seconds * 3600, 1) if self.seconds else None,
            "device": self.calibration.device,
            "features_bytes": self.features.total if self.features else 0,
            "features_bytes_per_km2": round(self.features.a_km2) if self.features else None,
            "statistics": self.statistics.summary() if self.statistics else None,
            "words": prompt_check.plain(self.words),
            "warnings": list(self.warnings),
        }


def make_plan(
    job: Job,
    snapshot: Snapshot,
    *,
    workers: Workers,
    calibration: Calibration,
    read: ReadSettings,
    tile: int | None = None,
    warnings: Sequence[str] = (),
    features: Mapping[str, Any] | None = None,
) -> Plan:
    """Plan a job over its snapshot.

    Args:
        job: The resolved spec.
        snapshot: The frozen items.
        workers: The cluster, as far as the plan must know it.
        calibration: Measured on a worker or on this machine.
        read: How pixels are read; the estimate samples headers with it.
        tile: A tile side that is frozen already (a resumed run); else the spec's.
        warnings: To be shown with the plan.
        features: What the recipe says of window features, where it says anything.

    Raises:
        PlanError: It cannot fit.
        ItemError: A scene lacks a band that the kernel needs.
    """
    info, size = job.kernel.info, tile or job.spec.grid.tile
    scenes = snapshot.scenes(job.grid)
    most = most_scenes(job.region, info=info, snapshot=snapshot, scenes=scenes)
    peak = partial(_peak, job, base=calibration.base, scenes=most)
    if size == "auto":
        size = choose_tile(
            peak=lambda side: peak(side).total,
            tiles=lambda side: len(job.region.tiles(side)),
            limit=workers.memory,
            workers=workers.count,
        )
    else:
        check_fits(size, peak=lambda side: peak(side).total, limit=workers.memory)
    stages = describe(stages_of(job.kernel))
    recipe = tile_recipe(
        info=info, grid=job.grid, tile=size, source=job.spec.source, threads=THREADS, statistics=stages
    )
    if features is not None:
        recipe["features"] = dict(features)
    measured = plan_statistics(job.region, recipe=recipe, snapshot=snapshot, scenes=scenes)
    tiles = planned_tiles(
        job.region, size, info=info, snapshot=snapshot, recipe=recipe, scenes=scenes, statistics=measured
    )
    reads, statistics = _reads(job, snapshot, tiles, size, read, workers.count), None
    mapped = sum(tile.covered for tile in tiles)
    kernel_seconds = calibration.window_seconds * info.window.touching(size * info.factor) ** 2
    compute = mapped * kernel_seconds
    if measured is not None:
        statistics = cost_of(
            measured, snapshot=snapshot, read=read, workers=workers.count, seconds=calibration.stage_seconds
        )
        compute += statistics.seconds
        reads = _both(reads, statistics.reads)
    return Plan(
        tile=size,
        tiles=tiles,
        recipe=recipe,
        reads=reads,
        memory=peak(size),
        written=int(len(tiles) * size * size * WRITTEN_A_PIXEL * (len(info.arrays) + 1)),
        seconds=max(compute, reads.bytes / READ_BYTES_A_SECOND) / workers.count,
        kernel_seconds=kernel_seconds,
        km2=job.area.km2,
        workers=workers,
        calibration=calibration,
        warnings=tuple(warnings),
        features=_feature_bytes(job, tiles, size),
        words=prompt_check.notes_of(job.kernel),
        statistics=statistics,
    )


def _peak(job: Job, size: int, *, base: int, scenes: int) -> TileMemory:
    """Peak of a worker: of a tile's task, or of a block's where that needs more."""
    tile = tile_memory(
        size,
        info=job.kernel.info,
        kernel_bytes=job.kernel.memory,
        base=base,
        scenes=scenes,
        cog=job.spec.output.cog,
    )
    return max([tile, *stage_memory(job.kernel, base=base, scenes=scenes)], key=lambda memory: memory.total)


def _both(tiles: ReadEstimate, blocks: ReadEstimate) -> ReadEstimate:
    """All that a run reads."""
    return replace(
        tiles,
        bytes=tiles.bytes + blocks.bytes,
        requests=tiles.requests + blocks.requests,
        unread=tuple(dict.fromkeys((*tiles.unread, *blocks.unread))),
    )


def with_features(plan: Plan, job: Job, snapshot: Snapshot, features: Mapping[str, Any]) -> Plan:
    """The plan with what is known of window features by now in its recipe, and so in its tiles' keys."""
    recipe = {**plan.recipe, "features": dict(features)}
    measured = plan.statistics.plan if plan.statistics is not None else None
    tiles = planned_tiles(
        job.region, plan.tile, info=job.kernel.info, snapshot=snapshot, recipe=recipe, statistics=measured
    )
    return replace(plan, recipe=recipe, tiles=tiles)


def _feature_bytes(job: Job, tiles: Sequence[PlannedTile], size: int) -> FeatureBytes | None:
    """A border of windows that begin outside of the run's tiles is left aside."""
    info, covered = job.kernel.info, [tile for tile in tiles if tile.covered]
    if info.features is None or not covered:
        return None
    a_tile = int((size * info.factor / info.window.stride) ** 2 * info.features.window_bytes)
    middle = shapely.box(*job.grid.bounds(covered[len(covered) // 2].tile.box(size)))
    [outline] = to_lonlat([middle], job.grid.crs, size * job.grid.resolution / 8)
    km2 = abs(Geod(ellps="WGS84").geometry_area_perimeter(outline)[0]) / 1e6
    return FeatureBytes(len(covered) * a_tile, a_tile / km2)


def _reads(
    job: Job, snapshot: Snapshot, tiles: Sequence[PlannedTile], size: int, read: ReadSettings, workers: int
) -> ReadEstimate:
    info = job.kernel.info

    def scenes(rows: Sequence[int]) -> list[Any]:
        return scenes_from_items(snapshot.items(rows), info.inputs.bands, read.mask, read.sar)

    boxes = [
        (read_box(tile.tile.box(size), info), [row for rows in tile.rows for row in rows])
        for tile in tiles
        if tile.read
    ]
    return estimate_reads(boxes, scenes, read, strip=STRIP, workers=workers, block_cache=GDAL_CACHE)
