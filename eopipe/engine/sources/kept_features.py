"""Tiles that are made of scenes and of the window features that another run kept: nothing is encoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from eopipe.engine.cluster.resources import choose_device
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.output.run_json import Derived
from eopipe.engine.plan.make import make_plan
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.sources.protocol import Readiness
from eopipe.engine.sources.scenes import map_scenes, open_one_asset
from eopipe.engine.work.calibrate import calibrate_here
from eopipe.engine.work.warm_up import warm_up
from eopipe.errors import DamageError, TileFault
from eopipe.mosaic.features import FeatureStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.cube.asset_file import ReadStats
    from eopipe.engine.output.record import Record
    from eopipe.engine.plan.model import Calibration, Plan, PlanRequest
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.sources.protocol import Worker
    from eopipe.engine.work.strips import Sink, Stopwatch
    from eopipe.grid import PixelBox, Tile
    from eopipe.kernels.protocol import Kernel
    from eopipe.mosaic.features import FeatureLayout, Index
    from eopipe.run_folder import Key
    from eopipe.storage import Storage


AHEAD = 16
"""Windows of a row that are read at once: 3 MB of ViT-B/16's."""


@dataclass(frozen=True)
class StoredFeatures:
    """A run's window features, scored again; a :class:`eopipe.kernels.protocol.FeatureSource` too. Picklable.

    See :class:`eopipe.engine.sources.protocol.TileSource`.

    Args:
        storage: The run's folder.
        layout: Of its features.
        tiles: All of its tiles.
        done: Those that are recorded: windows of others may be half-written.
        identity: What the features depend on: for the recipe of the maps made of them.
    """

    storage: Storage
    layout: FeatureLayout
    tiles: frozenset[Tile]
    done: frozenset[Tile]
    identity: Mapping[str, str]
    remark: ClassVar[str] = ""

    @property
    def derived(self) -> Derived:
        """The run that kept the features."""
        return Derived("rescore", self.storage.url())

    def plan(self, request: PlanRequest) -> Plan:
        """Plan reading and scoring; the recipe names the features."""
        return make_plan(replace(request, features=self.identity))

    def calibrate(self, kernel: Kernel) -> Calibration:
        """Time the kernel on seeded pixels and features."""
        features = SeededFeatures(self.layout.tokens, self.layout.channels)
        warm_up(kernel.info)
        return calibrate_here(kernel, device=choose_device(), threads=THREADS, features=features)

    def ready(self, worker: Worker, watch: Stopwatch) -> Readiness:
        """Load the kernel, which scores in float32 in every precision; open the features and one asset."""
        with watch("kernel"):
            _ = worker.kernel
        with watch("features"):
            _ = self.store
        return Readiness(warning=open_one_asset(worker))

    def make(
        self, worker: Worker, tile: PlannedTile, box: PixelBox, inside: NDArray[np.bool_] | None, sink: Sink
    ) -> tuple[Mapping[str, NDArray[Any]], ReadStats]:
        """Read the tile's scenes, and score the features of their windows."""
        return map_scenes(worker, tile, box, inside, sink, features=self)

    def summary(self, plan: Plan, records: Mapping[Key, Record]) -> dict[str, Any]:  # noqa: ARG002  (the protocol's)
        """Seconds of the kernel, against those of the run that encoded; over that run's own tiles."""
        full = sum(record.seconds.get("kernel", 0.0) for record in Ledger(self.storage).load_all())
        spent = sum(record.seconds.get("kernel", 0.0) for record in records.values())
        figures = {"kernel_seconds": round(spent, 3), "kernel_seconds_of_full_run": round(full, 3)}
        return {"rescored": {"from": self.storage.url(), **figures}}

    def get(self, row: int, col: int) -> NDArray[np.float32] | None:
        """See :meth:`eopipe.kernels.protocol.FeatureSource.get`."""
        owner = self.layout.owner((row, col), self.tiles)
        if owner is None or owner not in self.done:
            cause = f"tile {owner.name} is not done" if owner else f"window {row}, {col} lies outside its tiles"
            raise TileFault("features.missing", f"{self.storage.url()} lacks features: {cause}; run it to its end")
        try:
            stored = self._neighbours((row, col)).get((row, col))
        except DamageError as error:
            raise TileFault("features.corrupt", f"{error}; validate that output") from None
        return None if stored is None else self.store.restored(stored)

    def _neighbours(self, index: Index) -> dict[Index, NDArray[np.float16]]:
        """A window and its neighbours in the row, which are read next: an object store answers them at once.

        A neighbour of a tile without a record may be half-written: then the window is read alone.
        """
        start = max(index[1] // AHEAD * AHEAD, self.layout.windows.col0)
        row = self._rows.get((index[0], start))
        if row is None:
            count = index[1] // AHEAD * AHEAD + AHEAD - start
            try:
                row = self.store.stored_row((index[0], start), count)
            except DamageError:
                return self.store.stored_row(index, 1)
            self._rows.clear()
            self._rows[index[0], start] = row
        return row

    @cached_property
    def store(self) -> FeatureStore:
        """The features, opened."""
        return FeatureStore(self.storage, self.layout)

    @cached_property
    def _rows(self) -> dict[Index, dict[Index, NDArray[np.float16]]]:
        """The last windows read, by the first of them."""
        return {}

    def __dask_tokenize__(self) -> object:
        """Equal for equal features; the tiles may be many."""
        return (self.storage.uri, dict(self.identity), len(self.done))

    def __getstate__(self) -> dict[str, Any]:
        """Travel closed."""
        return {name: value for name, value in self.__dict__.items() if name not in {"store", "_rows"}}


@dataclass(frozen=True)
class SeededFeatures:
    """Random features of the right shape, for a calibration."""

    tokens: int
    channels: int

    def get(self, row: int, col: int) -> NDArray[np.float32]:
        """Seeded numbers."""
        rng = np.random.default_rng([abs(row), abs(col)])
        return rng.normal(size=(self.tokens, self.channels)).astype(np.float32)
