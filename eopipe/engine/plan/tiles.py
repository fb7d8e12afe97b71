"""The tiles of a run: where they are, which scenes each needs, and the key of its inputs.

Everything here works on the snapshot's index, in bulk; no item is parsed. Tiles and keys follow from the recipe, the
area and the snapshot alone; neither the kernel nor the run that a tile may be made of is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eopipe.area.on_grid import space_filling
from eopipe.canonical_json import digest
from eopipe.engine.output.recipe import inputs_key, source_recipe
from eopipe.engine.statistics.planning import plan_statistics
from eopipe.grid import CELL, TILE_SIZES
from eopipe.run_folder import Key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from eopipe.area.on_grid import GridArea
    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.grid import Grid, PixelBox, Tile
    from eopipe.kernelinfo import KernelInfo
    from eopipe.snapshot import SceneIndex, Snapshot

STRIP = CELL
"""Rows of the kernel's lattice that are mapped at once. Windows may reach over a strip's edge: results that the lower
strip needs too are handed down (``Result.carry``)."""


@dataclass(frozen=True)
class PlannedTile:
    """One task.

    Args:
        tile: Which square of the grid.
        inputs: Key of its inputs; ``<tile>.<inputs>`` names its ledger record.
        part: Its part of the area: ``full``, or a hash.
        rows: Snapshot rows of its scenes (those that meet the pixels that are read, the halo included), by epoch.
        covered: Whether a scene of every epoch meets the tile itself; else it is ``empty``.
        lacks: Of several epochs, those of which no scene meets the tile.
        source_inputs: Key of its inputs in the run whose stored scores it is cut from; None where it is mapped.
    """

    tile: Tile
    inputs: str
    part: str
    rows: tuple[tuple[int, ...], ...]
    covered: bool
    lacks: tuple[str, ...] = ()
    source_inputs: str | None = None

    @property
    def read(self) -> bool:
        """Whether its pixels are read: a tile that lacks one of several epochs has nothing to compare."""
        return not self.lacks and any(self.rows)

    @property
    def key(self) -> Key:
        """Its key in the ledger."""
        return Key(self.tile.name, self.inputs)

    @property
    def subject(self) -> str:
        """As messages name it."""
        return f"tile {self.tile.name}"


class TilePlan(NamedTuple):
    """All tiles of a run in space-filling order, and what its recipe measures before them."""

    tiles: list[PlannedTile]
    statistics: StatisticsPlan | None


def read_box(box: PixelBox, info: KernelInfo) -> PixelBox:
    """The pixels that must be read for a box of the grid: on the kernel's lattice, with its halo."""
    return box.scale(info.factor).pad(info.window.halo)


def strip_rows(factor: int) -> int:
    """Rows of the grid in a strip: the fewest whose kernel rows, ``factor`` times as many, are whole windows."""
    return STRIP // math.gcd(STRIP, factor)


def plan_tiles(
    region: GridArea, *, snapshot: Snapshot, recipe: Mapping[str, Any], scenes: SceneIndex | None = None
) -> TilePlan:
    """All tiles of a run, with the keys of their inputs.

    A tile that is cut from stored scores has a key made of its recipe and of the key that it has in the source.

    Args:
        region: The area on the grid.
        snapshot: The frozen items.
        recipe: The tile recipe.
        scenes: The snapshot's outlines on the grid, if they are computed already.

    Raises:
        PlanError: A halo is wider than statistics reach.
    """
    recipe_hash = digest(recipe)
    if (source := source_recipe(recipe)) is not None:
        before = plan_tiles(region, snapshot=snapshot, recipe=source, scenes=scenes).tiles
        keys = [inputs_key(recipe_hash, tile.part, {"source": [tile.inputs]}) for tile in before]
        cut = [replace(tile, inputs=key, source_inputs=tile.inputs) for tile, key in zip(before, keys, strict=True)]
        return TilePlan(cut, None)
    scenes = snapshot.scenes(region.grid) if scenes is None else scenes
    statistics = plan_statistics(region, recipe=recipe, snapshot=snapshot, scenes=scenes)
    size, factor, halo = recipe["layout"]["tile"], recipe["kernel"]["factor"], recipe["kernel"]["window"][2]
    tiles = space_filling(region.tiles(size))
    boxes = [tile.box(size) for tile in tiles]
    outer_boxes = [box.scale(factor).pad(halo) for box in boxes]
    rows_read = scenes.query(_bounds(region.grid.finer(factor), outer_boxes))
    rows_inside = scenes.query(_bounds(region.grid, boxes))
    hashes = np.asarray(snapshot.index.column("hash").to_pylist(), dtype=object)
    order = {name: code for code, name in enumerate(snapshot.epochs)}
    epoch_of = snapshot.epoch_codes
    parts = region.parts(size)
    planned = []
    for tile, outer, read, inside in zip(tiles, outer_boxes, rows_read, rows_inside, strict=True):
        by_epoch = {name: read[epoch_of[read] == code] for name, code in order.items()}
        blocks = statistics.used_by(outer) if statistics is not None else ()
        scene_hashes = {name: hashes[rows].tolist() for name, rows in by_epoch.items()}
        key = inputs_key(recipe_hash, parts[tile], scene_hashes, blocks)
        counts = np.bincount(epoch_of[inside], minlength=len(order))
        lacks = tuple(name for name, code in order.items() if not counts[code]) if len(order) > 1 else ()
        rows = tuple(tuple(rows.tolist()) for rows in by_epoch.values())
        planned.append(PlannedTile(tile, key, parts[tile], rows, bool(order) and bool(counts.all()), lacks))
    return TilePlan(planned, statistics)


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
