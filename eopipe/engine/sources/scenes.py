"""Tiles that are made of scenes: read, composite, map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from eopipe.cube.asset_file import AssetFile, ReadStats
from eopipe.engine.cluster.resources import choose_device
from eopipe.engine.plan.make import make_plan
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.sources.protocol import Readiness
from eopipe.engine.work.calibrate import calibrate_here
from eopipe.engine.work.precision import slowdown
from eopipe.engine.work.strips import map_box
from eopipe.engine.work.task_shell import fault_of
from eopipe.engine.work.warm_up import warm_up

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.engine.output.record import Record
    from eopipe.engine.output.run_json import Derived
    from eopipe.engine.plan.model import Calibration, Plan, PlanRequest
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.sources.protocol import Worker
    from eopipe.engine.work.strips import Sink, Stopwatch
    from eopipe.grid import PixelBox
    from eopipe.kernels.protocol import FeatureSource, Kernel
    from eopipe.run_folder import Key


@dataclass(frozen=True)
class Scenes:
    """Scenes of the run's own snapshot; see :class:`eopipe.engine.sources.protocol.TileSource`."""

    derived: ClassVar[Derived | None] = None
    remark: ClassVar[str] = ""

    def plan(self, request: PlanRequest) -> Plan:
        """Plan reading and mapping."""
        return make_plan(request)

    def calibrate(self, kernel: Kernel) -> Calibration:
        """Time the kernel on seeded pixels."""
        warm_up(kernel.info)
        return calibrate_here(kernel, device=choose_device(), threads=THREADS)

    def ready(self, worker: Worker, watch: Stopwatch) -> Readiness:
        """Load the kernel, time its precision, open one asset."""
        with watch("kernel"):
            ratio = slowdown(worker.kernel, worker.device)
        return Readiness(slowdown=ratio, warning=open_one_asset(worker))

    def make(
        self, worker: Worker, tile: PlannedTile, box: PixelBox, inside: NDArray[np.bool_] | None, sink: Sink
    ) -> tuple[Mapping[str, NDArray[Any]], ReadStats]:
        """Read the tile's scenes and map them."""
        return map_scenes(worker, tile, box, inside, sink)

    def summary(self, plan: Plan, records: Mapping[Key, Record]) -> dict[str, Any]:  # noqa: ARG002  (the protocol's)
        """Nothing."""
        return {}


def map_scenes(
    worker: Worker,
    tile: PlannedTile,
    box: PixelBox,
    inside: NDArray[np.bool_] | None,
    sink: Sink,
    features: FeatureSource | None = None,
) -> tuple[Mapping[str, NDArray[Any]], ReadStats]:
    """A tile's arrays from its scenes, with kept window features where they are scored instead of encoding."""
    with sink.watch("scenes"):
        scenes = worker.scenes(tile) if tile.read else [[] for _ in tile.rows]
    return map_box(
        worker.kernel if any(scenes) else worker.unloaded_kernel,
        scenes,
        worker.read,
        box,
        sink=sink,
        inside=inside,
        features=features,
        statistics=worker.statistics,
    )


def open_one_asset(worker: Worker) -> str:
    """Open one asset of the first covered tile; one that cannot be opened is a warning, its tile will fail."""
    tile = next((tile for tile in worker.tiles if tile.covered), None)
    if tile is None:
        return ""
    try:
        scene = next(scene for scenes in worker.scenes(tile) for scene in scenes)
        ref, read = next(iter(scene.bands.values())), worker.read
        file = AssetFile(ref, sign=read.sign, requester_pays=read.requester_pays, retry=read.retry, stats=ReadStats())
        file.facts(ref)
        file.close()
    except Exception as error:  # noqa: BLE001  (reported as a warning; the tile's own task records the failure)
        return f"a first asset could not be opened: {fault_of(error, 'read').detail}"
    return ""
