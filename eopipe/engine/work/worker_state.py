"""A run on a worker: the context that a plugin sends once, and what the worker opens from it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from eopipe.cube.gdal_settings import gdal_worker_env
from eopipe.cube.item_scenes import scenes_from_items
from eopipe.engine.cluster.resources import choose_device
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.memory import GDAL_CACHE
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.statistics.interpolate import Statistics
from eopipe.mosaic.features import FeatureStore
from eopipe.mosaic.store import MosaicWriter
from eopipe.snapshot import read_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eopipe.area.on_grid import GridArea
    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import Scene
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.sources.protocol import TileSource
    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.grid import Tile
    from eopipe.kernels.protocol import Kernel
    from eopipe.mosaic.cog import CogInfo
    from eopipe.mosaic.features import FeatureLayout, Index
    from eopipe.mosaic.layout import Layout
    from eopipe.run_folder import Key
    from eopipe.storage import Storage


@dataclass(frozen=True)
class RunContext:
    """Everything a task needs; picklable. Its only secrets are signed addresses that the spec keeps in memory.

    Args:
        run_id: Names the context on a worker; one a start of a run.
        storage: The run's folder.
        snapshot_hash: Which snapshot is current.
        layout: The mosaic's.
        region: The area on the grid.
        kernel: Made, not loaded.
        read: How pixels are read, on the kernel's lattice.
        source: What tiles are made of.
        cog: Tags of every COG, or None where no COGs are wanted.
        tiles: The tiles still to be done; a task's block number indexes this list.
        attempts: Failed attempts so far, by ledger key.
        features: Layout of the window features, or None where they are not kept.
        statistics: All blocks of the kernel's stages, or None where it declares none.
    """

    run_id: str
    storage: Storage
    snapshot_hash: str
    layout: Layout
    region: GridArea
    kernel: Kernel
    read: ReadSettings
    source: TileSource
    cog: CogInfo | None
    tiles: tuple[PlannedTile, ...]
    attempts: Mapping[Key, int]
    features: FeatureLayout | None = None
    statistics: StatisticsPlan | None = None


class WorkerState:
    """A run on one worker: opened once, shared by the worker's tasks."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.ledger = Ledger(context.storage)
        self.device = choose_device()
        self._lock = threading.Lock()
        self._opened: dict[str, Any] = {}

    @property
    def unloaded_kernel(self) -> Kernel:
        """The kernel as it came."""
        return self.context.kernel

    @property
    def kernel(self) -> Kernel:
        """The kernel, loaded: once a worker."""
        with self._lock:
            self.context.kernel.load(device=self.device, threads=THREADS)
        return self.context.kernel

    @property
    def read(self) -> ReadSettings:
        """How pixels are read, on the kernel's lattice."""
        return self.context.read

    @property
    def tiles(self) -> Sequence[PlannedTile]:
        """The tiles still to be done."""
        return self.context.tiles

    @property
    def writer(self) -> MosaicWriter:
        """The mosaic, opened."""
        context = self.context
        writer: MosaicWriter = self._once("mosaic", lambda: MosaicWriter(context.storage, context.layout))
        return writer

    @property
    def features(self) -> FeatureStore | None:
        """The run's window features, opened; None where they are not kept."""
        storage, layout = self.context.storage, self.context.features
        if layout is None:
            return None
        store: FeatureStore = self._once("features", lambda: FeatureStore(storage, layout))
        return store

    def windows_of(self, tile: Tile) -> frozenset[Index]:
        """The windows whose features are a tile's to write; none where they are not kept."""
        layout = self.context.features
        return frozenset() if layout is None else frozenset(layout.windows_of(tile, self._all_tiles))

    @cached_property
    def _all_tiles(self) -> frozenset[Tile]:
        """All tiles of the run, those that are done too."""
        return frozenset(self.context.region.tiles(self.context.layout.tile))

    @cached_property
    def statistics(self) -> Statistics | None:
        """The run's statistics; None where the kernel declares no stage."""
        plan = self.context.statistics
        return Statistics(self.context.storage, plan) if plan is not None else None

    def scenes(self, tile: PlannedTile) -> list[list[Scene]]:
        """A tile's scenes by epoch, assets resolved."""
        return self.scenes_of(tile.rows, self.context.kernel.info.inputs.bands)

    def scenes_of(self, rows: Sequence[Sequence[int]], bands: Sequence[str]) -> list[list[Scene]]:
        """Scenes of some snapshot rows by epoch, the assets of some bands resolved."""
        read, context = self.read, self.context
        snapshot = self._once("snapshot", lambda: read_snapshot(context.storage, context.snapshot_hash))
        items = []
        for epoch in rows:
            with self._lock:  # a snapshot's files are not for several threads
                items.append(snapshot.items(epoch))
        return [
            scenes_from_items(epoch, bands, read.mask, read.sar, read.choice, radiometry=read.radiometry)
            for epoch in items
        ]

    def _once(self, name: str, opening: Callable[[], Any]) -> Any:
        with self._lock:
            if name not in self._opened:
                self._opened[name] = opening()
            return self._opened[name]


_STATES: dict[str, WorkerState] = {}


def state_of(run_id: str) -> WorkerState:
    """This worker's state of a run.

    Raises:
        RuntimeError: The plugin was never installed on it; a bug of the engine.
    """
    try:
        return _STATES[run_id]
    except KeyError:
        raise RuntimeError(f"run {run_id} is unknown to this worker") from None


class ContextPlugin(WorkerPlugin):
    """Hands a worker, also one that joins late, the run's context."""

    idempotent = False

    def __init__(self, context: RunContext) -> None:
        self.name = f"eopipe-{context.run_id}"
        self.context = context

    def setup(self, worker: object) -> None:  # noqa: ARG002  (distributed's signature)
        """Open nothing yet: a fault must be the preflight's or a task's, with a name."""
        gdal_worker_env(GDAL_CACHE)
        _STATES[self.context.run_id] = WorkerState(self.context)

    def teardown(self, worker: object) -> None:  # noqa: ARG002  (distributed's signature)
        """Forget the run."""
        _STATES.pop(self.context.run_id, None)
