"""The plan and its inputs, as values: made by the planner, followed by the run, shown to people."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from eopipe.engine.plan.radiometry_survey import Survey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.cube.estimate import ReadEstimate
    from eopipe.engine.plan.memory import TileMemory
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.engine.plan.statistics_cost import StatisticsCost
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.kernels.known_words import WordNote
    from eopipe.snapshot import Snapshot


@dataclass(frozen=True)
class Workers:
    """The cluster as far as a plan needs it: tasks at a time, and the memory of each in bytes (None: no limit)."""

    count: int
    memory: int | None


@dataclass(frozen=True)
class Calibration:
    """Figures of one worker process.

    Args:
        base: Bytes resident once the libraries and the kernel are loaded and one window has been mapped.
        window_seconds: Median seconds of one kernel window, its share of a strip's fixed costs included. A tile
            has :meth:`eopipe.kernelinfo.Window.touching` squared of them.
        device: What it ran on.
        bfloat16: Seconds of a bfloat16 matrix product over those of float32.
        stage_seconds: Seconds of a cell, by stage of the kernel's statistics.
    """

    base: int
    window_seconds: float
    device: str
    bfloat16: float = 1.0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is made from.

    Args:
        job: The resolved spec.
        snapshot: The frozen items.
        workers: The cluster.
        calibration: Figures of one of its workers, or of this machine.
        tile: A tile side that is frozen already (a resumed run), or another run's; None: the spec's.
        warnings: Shown with the plan.
        features: The recipe's entry on window features, where it has one.
        survey: What the files' numbers mean.
    """

    job: Job
    snapshot: Snapshot
    workers: Workers
    calibration: Calibration
    tile: int | None = None
    warnings: tuple[str, ...] = ()
    features: Mapping[str, Any] | None = None
    survey: Survey = field(default_factory=Survey)


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
        km2: Area.
        workers: The cluster that it was planned for.
        calibration: Figures of one of its workers.
        warnings: One line each.
        features: Bytes of window features, where they are kept.
        words: How near the prompts are to the kernel's taught vocabulary, where it has one.
        statistics: What is measured before the tiles, where the kernel declares stages.
        radiometry: What the files' numbers mean and what states it, one line a kind of item.
    """

    tile: int
    tiles: list[PlannedTile]
    recipe: dict[str, Any]
    reads: ReadEstimate
    memory: TileMemory
    written: int
    seconds: float
    km2: float
    workers: Workers
    calibration: Calibration
    warnings: tuple[str, ...]
    features: FeatureBytes | None = None
    words: tuple[WordNote, ...] = ()
    statistics: StatisticsCost | None = None
    radiometry: tuple[str, ...] = ()

    def summary(self) -> dict[str, Any]:
        """For people and ``--json``."""
        covered = sum(tile.covered for tile in self.tiles)
        blocks = self.statistics.plan.blocks if self.statistics is not None else 0
        return {
            "tile": self.tile,
            "tiles": len(self.tiles),
            "tiles_covered": covered,
            "tiles_empty": len(self.tiles) - covered,
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
            "radiometry": list(self.radiometry),
            "words": [note.plain() for note in self.words],
            "warnings": list(self.warnings),
        }
