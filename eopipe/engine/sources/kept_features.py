"""Window features in a run: what a tile keeps, and what a later run scores again."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.errors import DamageError, TileFault
from eopipe.mosaic.features import FeatureStore, tile_checksum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.grid import Tile
    from eopipe.mosaic.features import FeatureLayout, Index
    from eopipe.storage import Storage


AHEAD = 16
"""Windows of a row that are read at once: 3 MB of ViT-B/16's."""


@dataclass(frozen=True)
class Keeper:
    """Keeps the features of a tile's own windows, each once.

    Args:
        store: The run's.
        own: The windows that are the tile's to write.
    """

    store: FeatureStore
    own: frozenset[Index]
    digests: dict[Index, str] = field(default_factory=dict)

    def __call__(self, windows: Mapping[Index, NDArray[np.float32]]) -> None:
        """Write what is the tile's own and not yet written."""
        mine = {index: found for index, found in windows.items() if index in self.own and index not in self.digests}
        self.digests.update(self.store.write(mine))

    @property
    def checksum(self) -> str:
        """Over all that was written: for the ledger's record."""
        return tile_checksum(self.digests)


@dataclass(frozen=True)
class KeptFeatures:
    """A run's window features, to be scored again; a :class:`eopipe.kernels.protocol.FeatureSource`. Picklable.

    Args:
        storage: The run's folder.
        layout: Of its features.
        tiles: All of its tiles.
        done: Those that are recorded: only their windows are believed.
        identity: What decides the features: for the recipe of what is made of them.
    """

    storage: Storage
    layout: FeatureLayout
    tiles: frozenset[Tile]
    done: frozenset[Tile]
    identity: Mapping[str, str]

    def get(self, row: int, col: int) -> NDArray[np.float32] | None:
        """See :meth:`eopipe.kernels.protocol.FeatureSource.get`."""
        owner = self.layout.owner((row, col), self.tiles)
        if owner is None or owner not in self.done:
            what = f"tile {owner.name} is not done" if owner else f"window {row}, {col} lies outside its tiles"
            raise TileFault("features.missing", f"{self.storage.url()} lacks features: {what}; run it to its end")
        try:
            found = self._near((row, col)).get((row, col))
        except DamageError as error:
            raise TileFault("features.corrupt", f"{error}; validate that output") from None
        return None if found is None else self.store.restored(found)

    def _near(self, index: Index) -> dict[Index, NDArray[np.float16]]:
        """A window and its neighbours in the row, which are asked for next: an object store answers them at once.

        A neighbour may be half a file: of a tile that is not done, whose windows nobody believes.
        """
        start = max(index[1] // AHEAD * AHEAD, self.layout.windows.col0)
        held = self._held.get("row")
        if held is None or held[0] != (index[0], start):
            count = index[1] // AHEAD * AHEAD + AHEAD - start
            try:
                held = ((index[0], start), self.store.stored_row((index[0], start), count))
            except DamageError:
                return self.store.stored_row(index, 1)
            self._held["row"] = held
        return held[1]

    @cached_property
    def store(self) -> FeatureStore:
        """The features, opened."""
        return FeatureStore(self.storage, self.layout)

    @cached_property
    def _held(self) -> dict[str, tuple[Index, dict[Index, NDArray[np.float16]]]]:
        return {}

    def __dask_tokenize__(self) -> object:
        """Equal for equal features; the tiles may be many."""
        return (self.storage.uri, dict(self.identity), len(self.done))

    def __getstate__(self) -> dict[str, Any]:
        """Travel closed."""
        return {name: value for name, value in self.__dict__.items() if name not in {"store", "_held"}}


@dataclass(frozen=True)
class SeededFeatures:
    """Features of no window, of the right shape: what the calibration of a re-scoring run reads."""

    tokens: int
    channels: int

    def get(self, row: int, col: int) -> NDArray[np.float32]:
        """Seeded numbers."""
        rng = np.random.default_rng([abs(row), abs(col)])
        return rng.normal(size=(self.tokens, self.channels)).astype(np.float32)


def stand_in(kept: KeptFeatures | None) -> SeededFeatures | None:
    """What a calibration scores where a run scores kept features."""
    return None if kept is None else SeededFeatures(kept.layout.tokens, kept.layout.channels)
