"""What a worker must know of a run, sent to it once by a plugin; and the tiles it then maps."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from eopipe.cube.gdal_settings import gdal_worker_env
from eopipe.cube.scenes import scenes_from_items
from eopipe.engine.cluster.device import choose_device
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.sources.kept_features import Keeper
from eopipe.engine.statistics.interpolate import Statistics
from eopipe.mosaic.features import FeatureStore
from eopipe.mosaic.store import MosaicWriter
from eopipe.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.area.on_grid import GridArea
    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import Scene
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.sources.kept_features import KeptFeatures
    from eopipe.engine.sources.stored_scores import ScoredRun
    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.grid import Tile
    from eopipe.kernels.protocol import Kernel
    from eopipe.mosaic.cog import CogInfo
    from eopipe.mosaic.features import FeatureLayout
    from eopipe.mosaic.layout import Layout
    from eopipe.run_folder import Key
    from eopipe.storage import Storage


@dataclass(frozen=True)
class RunContext:
    """Everything a tile's task needs; picklable, and without any secret.

    Args:
        run_id: Names the context on a worker: the output's uri and the session.
        storage: The run's folder.
        snapshot_hash: Which snapshot is current.
        layout: The mosaic's.
        region: The area on the grid.
        kernel: Made, not loaded.
        read: How pixels are read, on the kernel's lattice.
        cog: What every COG says of the run, or None where no COGs are asked for.
        tiles: The tiles still to be done; a task's block number indexes this list.
        attempts: Failed attempts so far, by ledger key.
        threads: Torch threads a task.
        gdal_cache: Bytes of GDAL's block cache a worker.
        features: Where window features are kept, or None where they are not.
        kept: Another run's window features, which are scored instead of encoding.
        statistics: What the kernel's stages measure, or None where it declares none.
        scored: Another run, whose stored scores are cut again instead of mapping scenes.
    """

    run_id: str
    storage: Storage
    snapshot_hash: str
    layout: Layout
    region: GridArea
    kernel: Kernel
    read: ReadSettings
    cog: CogInfo | None
    tiles: tuple[PlannedTile, ...]
    attempts: dict[Key, int]
    threads: int
    gdal_cache: int
    features: FeatureLayout | None = None
    kept: KeptFeatures | None = None
    statistics: StatisticsPlan | None = None
    scored: ScoredRun | None = None


class WorkerState:
    """A run on one worker: opened once, shared by the worker's tasks."""

    def __init__(self, context: RunContext) -> None:
        self.context = context
        self.ledger = Ledger(context.storage)
        self.device = choose_device()
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._writer: MosaicWriter | None = None
        self._features: FeatureStore | None = None

    @property
    def kernel(self) -> Kernel:
        """The kernel, loaded: once a worker."""
        with self._lock:
            self.context.kernel.load(device=self.device, threads=self.context.threads)
        return self.context.kernel

    @property
    def writer(self) -> MosaicWriter:
        """The mosaic, opened."""
        with self._lock:
            if self._writer is None:
                self._writer = MosaicWriter(self.context.storage, self.context.layout)
            return self._writer

    def keeper(self, tile: Tile) -> Keeper | None:
        """What keeps a tile's window features; None where they are not kept."""
        store = self.features
        return Keeper(store, frozenset(store.layout.own(tile, self._tiles))) if store is not None else None

    @property
    def features(self) -> FeatureStore | None:
        """The run's window features, opened; None where they are not kept."""
        with self._lock:
            if self._features is None and self.context.features is not None:
                self._features = FeatureStore(self.context.storage, self.context.features)
            return self._features

    @cached_property
    def _tiles(self) -> frozenset[Tile]:
        """All tiles of the run, those that are done too."""
        return frozenset(self.context.region.tiles(self.context.layout.tile))

    def items(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The snapshot's items by row, hrefs absolute, unsigned."""
        with self._lock:
            if self._snapshot is None:
                self._snapshot = Snapshot.read(self.context.storage, self.context.snapshot_hash)
            return self._snapshot.items(rows)

    @cached_property
    def statistics(self) -> Statistics | None:
        """The run's statistics as they are measured; None where the kernel declares no stage."""
        plan = self.context.statistics
        return Statistics(self.context.storage, plan) if plan is not None else None

    def scenes(self, tile: PlannedTile) -> list[list[Scene]]:
        """A tile's scenes by epoch, assets resolved."""
        return self.scenes_of(tile.rows, self.context.kernel.info.inputs.bands)

    def scenes_of(self, rows: Sequence[Sequence[int]], bands: Sequence[str]) -> list[list[Scene]]:
        """Scenes of some rows by epoch, the assets of some bands resolved."""
        read = self.context.read
        return [scenes_from_items(self.items(epoch), bands, read.mask, read.sar) for epoch in rows]


GDAL_SHARE = 6
"""``gdal_worker_env`` gives GDAL's cache this part of the memory it is told of."""

_STATES: dict[str, WorkerState] = {}


def state_of(run_id: str) -> WorkerState:
    """This worker's state of a run.

    Raises:
        RuntimeError: The plugin was never installed here; a bug of the engine.
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
        """Open nothing yet: a fault must be the preflight's or a tile's, with a name."""
        install(self.context)

    def teardown(self, worker: object) -> None:  # noqa: ARG002  (distributed's signature)
        """Forget the run."""
        _STATES.pop(self.context.run_id, None)


def install(context: RunContext) -> WorkerState:
    """Make a run known to this process."""
    gdal_worker_env(GDAL_SHARE * context.gdal_cache)
    _STATES[context.run_id] = state = WorkerState(context)
    return state
