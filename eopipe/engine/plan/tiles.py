"""The tiles of a run: where they are, which scenes each needs, and the key of its inputs.

Everything here works on the snapshot's index, in bulk; no item is parsed (DESIGN §6.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.area.on_grid import space_filling
from eopipe.canonical_json import digest
from eopipe.engine.output.recipe import inputs_key
from eopipe.engine.statistics.planning import RECIPE
from eopipe.grid import TILE_SIZES
from eopipe.run_folder import Key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from eopipe.area.on_grid import GridArea
    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.grid import Grid, PixelBox, Tile
    from eopipe.kernel_info import KernelInfo
    from eopipe.snapshot import SceneIndex, Snapshot


@dataclass(frozen=True)
class PlannedTile:
    """One task.

    Args:
        tile: Which square of the grid.
        inputs: Key of its inputs; ``<tile>.<inputs>`` names its ledger record.
        part: Its part of the area: ``full``, or a hash.
        rows: Snapshot rows of its scenes (those that meet what is read, the halo included), by epoch.
        covered: Whether a scene of every epoch meets the tile itself; else it is ``empty``.
        lacks: Of several epochs, those of which no scene meets the tile.
        source: Key of its inputs in the run whose tile it is made of; None where it is made of scenes.
    """

    tile: Tile
    inputs: str
    part: str
    rows: tuple[tuple[int, ...], ...]
    covered: bool
    lacks: tuple[str, ...] = ()
    source: str | None = None

    @property
    def read(self) -> bool:
        """Whether its pixels are read: a tile that lacks one of several epochs has nothing to compare."""
        return not self.lacks and any(self.rows)

    @property
    def key(self) -> Key:
        """What the ledger knows it by."""
        return Key(self.tile.name, self.inputs)


def read_box(box: PixelBox, info: KernelInfo) -> PixelBox:
    """The pixels that must be read for a box of the grid: on the kernel's lattice, with its halo."""
    return box.scale(info.factor).pad(info.window.halo)


def planned_tiles(
    region: GridArea,
    size: int,
    *,
    info: KernelInfo,
    snapshot: Snapshot,
    recipe: Mapping[str, Any],
    scenes: SceneIndex | None = None,
    statistics: StatisticsPlan | None = None,
) -> list[PlannedTile]:
    """All tiles of a run, in space-filling order.

    Args:
        region: The area on the grid.
        size: Side of a tile in grid pixels.
        info: The kernel's, for its halo and lattice.
        snapshot: The frozen items.
        recipe: The tile recipe.
        scenes: The snapshot's outlines on the grid, where they are at hand.
        statistics: What its stages measure, where the recipe names any.
    """
    assert (statistics is not None) == (RECIPE in recipe), "the key of a tile names the statistics that it uses"
    tiles = space_filling(region.tiles(size))
    boxes = [tile.box(size) for tile in tiles]
    scenes = snapshot.scenes(region.grid) if scenes is None else scenes
    fine = region.grid.finer(info.factor)
    around = [read_box(box, info) for box in boxes]
    wanted = scenes.query(_bounds(fine, around))
    own = scenes.query(_bounds(region.grid, boxes))
    hashes = np.asarray(snapshot.index.column("hash").to_pylist(), dtype=object)
    order = {name: code for code, name in enumerate(snapshot.epochs)}
    epoch_of = snapshot.epoch_codes
    parts = region.parts(size)
    recipe_hash = digest(recipe)
    planned = []
    for tile, place, rows, mine in zip(tiles, around, wanted, own, strict=True):
        by_epoch = {name: rows[epoch_of[rows] == code] for name, code in order.items()}
        part = parts[tile]
        uses = statistics.used_by(place) if statistics is not None else ()
        key = inputs_key(recipe_hash, part, {name: hashes[found].tolist() for name, found in by_epoch.items()}, uses)
        counts = np.bincount(epoch_of[mine], minlength=len(order))
        lacks = tuple(name for name, code in order.items() if not counts[code]) if len(order) > 1 else ()
        places = tuple(tuple(found.tolist()) for found in by_epoch.values())
        planned.append(PlannedTile(tile, key, part, places, bool(order) and bool(counts.all()), lacks))
    return planned


def most_scenes(region: GridArea, *, info: KernelInfo, snapshot: Snapshot, scenes: SceneIndex) -> int:
    """Most scenes of one epoch over any of the largest tiles; at least 1."""
    size = TILE_SIZES[0]
    fine = region.grid.finer(info.factor)
    boxes = [read_box(tile.box(size), info) for tile in region.tiles(size)]
    epoch_of = snapshot.epoch_codes
    return max(
        (int(np.bincount(epoch_of[rows]).max()) for rows in scenes.query(_bounds(fine, boxes)) if len(rows)),
        default=1,
    )


def _bounds(grid: Grid, boxes: Sequence[PixelBox]) -> NDArray[np.float64]:
    return np.asarray([grid.bounds(box) for box in boxes], dtype=np.float64).reshape(-1, 4)
