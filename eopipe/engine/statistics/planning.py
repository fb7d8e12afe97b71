"""Which blocks a run measures for each stage, from which scenes, and the key of each block's inputs.

Works on the snapshot's index and on the recipe alone; neither items nor weights are needed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.canonical_json import digest
from eopipe.engine.output.recipe import KEY_LENGTH, STATISTICS
from eopipe.engine.statistics.lattice import blocks_around, sampled_cells, weights, widest_halo
from eopipe.errors import PlanError
from eopipe.grid import CELL, PixelBox, Tile
from eopipe.kernels.protocol import Measuring
from eopipe.kernels.statistics import StageInfo
from eopipe.run_folder import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from eopipe.area.on_grid import GridArea
    from eopipe.grid import Grid
    from eopipe.kernels.protocol import Kernel
    from eopipe.snapshot import SceneIndex, Snapshot

_TILE_ONLY = ("layout", "features")
"""Keys of the recipe that only tiles depend on: statistics are the same for tiles of any size."""


@dataclass(frozen=True)
class PlannedCell:
    """One cell to measure, and snapshot rows of the scenes that meet the pixels read for it, by epoch."""

    cell: Tile
    rows: tuple[tuple[int, ...], ...]

    @property
    def box(self) -> PixelBox:
        """Its pixels on the grid."""
        return self.cell.box(CELL)


@dataclass(frozen=True)
class PlannedBlock:
    """One task: a stage's sums over a block.

    Args:
        stage: Name of the stage.
        block: Which square of the lattice.
        inputs: Key of its inputs.
        cells: What is measured, in lattice order.
    """

    stage: str
    block: Tile
    inputs: str
    cells: tuple[PlannedCell, ...]

    @property
    def key(self) -> Key:
        """Block and inputs, of its stage."""
        return Key(self.block.name, self.inputs)

    @property
    def subject(self) -> str:
        """As messages name it."""
        return f"stage {self.stage}, block {self.block.name}"


@dataclass(frozen=True)
class StagePlan:
    """A stage and its blocks, in lattice order."""

    info: StageInfo
    blocks: Mapping[Tile, PlannedBlock]


@dataclass(frozen=True)
class StatisticsPlan:
    """All stages of a run, in order, on a lattice ``factor`` times finer than the grid."""

    stages: tuple[StagePlan, ...]
    factor: int

    @property
    def blocks(self) -> int:
        """Blocks of all stages: so many tasks."""
        return sum(len(stage.blocks) for stage in self.stages)

    @property
    def keys(self) -> frozenset[tuple[str, str, str]]:
        """Stage, block and inputs of all that is measured."""
        return frozenset((block.stage, *block.key) for stage in self.stages for block in stage.blocks.values())

    def reaches(self, box: PixelBox) -> bool:
        """Whether some block counts at every corner around a box of the kernel's lattice."""
        corners = box.coarsen(self.factor).coarsen(CELL)
        blocks = self.stages[0].blocks
        return all(
            any(Tile(down, right) in blocks for down, _ in weights(row) for right, _ in weights(col))
            for row in range(corners.row0, corners.row1 + 1)
            for col in range(corners.col0, corners.col1 + 1)
        )

    def used_by(self, box: PixelBox) -> list[str]:
        """The blocks that a box's numbers depend on, for the key of its inputs.

        Args:
            box: The pixels that are read, on the kernel's lattice, halo included.
        """
        around = blocks_around(box.coarsen(self.factor))
        return [
            f"{planned.stage}/{planned.block.name}.{planned.inputs}"
            for stage in self.stages
            for block in around
            if (planned := stage.blocks.get(block)) is not None
        ]


def stages_of(kernel: Kernel) -> tuple[StageInfo, ...]:
    """A kernel's stages; none where it declares none."""
    return tuple(stage.info for stage in kernel.stages()) if isinstance(kernel, Measuring) else ()


def describe(stages: Iterable[StageInfo]) -> list[dict[str, Any]]:
    """Stages as the recipe has them."""
    return [{"stage": info.name, "bands": list(info.bands), "halo": info.halo} for info in stages]


def block_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a tile recipe that statistics depend on."""
    return {name: value for name, value in recipe.items() if name not in _TILE_ONLY}


def plan_statistics(
    region: GridArea, *, recipe: Mapping[str, Any], snapshot: Snapshot, scenes: SceneIndex | None = None
) -> StatisticsPlan | None:
    """Plan every stage that a recipe names; None where it names none.

    Args:
        region: The area on the grid.
        recipe: The tile recipe.
        snapshot: The frozen items.
        scenes: The snapshot's outlines on the grid, where they are at hand.

    Raises:
        PlanError: A halo is wider than statistics reach.
    """
    infos = [StageInfo(item["stage"], tuple(item["bands"]), item["halo"]) for item in recipe.get(STATISTICS, ())]
    if not infos:
        return None
    factor = recipe["kernel"]["factor"]
    _refuse_wide({recipe["kernel"]["name"]: recipe["kernel"]["window"][2]}, factor)
    _refuse_wide({f"stage {info.name}": info.halo for info in infos}, factor)
    scenes = snapshot.scenes(region.grid) if scenes is None else scenes
    places, hashes = sampled_cells(region), snapshot.index.column("hash").to_pylist()
    # stages that look equally far share their cells: a continent has a hundred thousand of them
    cells = {
        halo: _cells(region.grid, places, halo, snapshot=snapshot, scenes=scenes, factor=factor)
        for halo in {info.halo for info in infos}
    }
    text = digest(block_recipe(recipe))
    plan = StatisticsPlan((), factor)
    for info in infos:
        blocks = {
            block: PlannedBlock(info.name, block, _key(f"{text}|{info.name}", sampled, info, plan, hashes), sampled)
            for block, sampled in cells[info.halo].items()
        }
        plan = StatisticsPlan((*plan.stages, StagePlan(info, blocks)), factor)
    return plan


def _key(
    start: str, cells: Sequence[PlannedCell], info: StageInfo, before: StatisticsPlan, hashes: Sequence[str]
) -> str:
    """Key of a block's inputs: recipe, stage, cells with their scenes, and the earlier stages' blocks around them."""
    texts = [start]
    for planned in cells:
        scenes = ";".join(",".join(hashes[row] for row in epoch) for epoch in planned.rows)
        texts.append(f"{planned.cell.name}:{scenes}")
    if before.stages:
        rows, cols = [planned.cell.row for planned in cells], [planned.cell.col for planned in cells]
        bounds = PixelBox(min(rows), min(cols), max(rows) + 1, max(cols) + 1)
        texts.extend(before.used_by(bounds.scale(CELL * before.factor).pad(info.halo)))
    return hashlib.sha256("|".join(texts).encode()).hexdigest()[:KEY_LENGTH]


def _cells(
    grid: Grid,
    sampled: Mapping[Tile, Sequence[Tile]],
    halo: int,
    *,
    snapshot: Snapshot,
    scenes: SceneIndex,
    factor: int,
) -> dict[Tile, tuple[PlannedCell, ...]]:
    """The cells of each block, with the scenes that meet the pixels read for them, by epoch."""
    flat = [cell for cells in sampled.values() for cell in cells]
    fine = grid.finer(factor)
    bounds = [fine.bounds(cell.box(CELL).scale(factor).pad(halo)) for cell in flat]
    touching = scenes.query(np.asarray(bounds, np.float64).reshape(-1, 4))
    epochs, codes = snapshot.epoch_codes, range(len(snapshot.epochs))
    planned = {
        cell: PlannedCell(cell, tuple(tuple(rows[epochs[rows] == code].tolist()) for code in codes))
        for cell, rows in zip(flat, touching, strict=True)
    }
    return {block: tuple(planned[cell] for cell in cells) for block, cells in sampled.items()}


def _refuse_wide(halos: Mapping[str, int], factor: int) -> None:
    for name, halo in halos.items():
        if halo > widest_halo() * factor:
            raise PlanError(
                f"{name}: a halo of {halo} pixels is wider than statistics reach, {widest_halo() * factor}; "
                f"take a kernel or options with a smaller one"
            )
