"""Statistics as a strip sees them: at each corner the merged sums of the blocks around it, turned into numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.canonical_json import digest
from eopipe.engine.statistics.lattice import weights
from eopipe.engine.statistics.store import StatisticsStore
from eopipe.errors import DamageError, TileFault
from eopipe.grid import CELL, PixelBox, Tile
from eopipe.kernels.statistics import Field, merged
from eopipe.run_folder import Key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.engine.statistics.block_file import BlockSums
    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.kernels.protocol import StatisticsStage
    from eopipe.storage import Storage

    Numbers = dict[str, NDArray[np.float64]]

REASON = "statistics."
"""Beginning of a tile's reason to fail where a block that it needs is missing."""

EMPTY = f"{REASON}empty"
"""No sampled cell around had a valid pixel, though a tile has."""

_HELD = 20_000
"""Corners that a worker holds; a tile of 4096 has 81 a stage."""


@dataclass(frozen=True)
class Statistics:
    """A run's statistics at any place; picklable.

    Args:
        storage: The run's folder.
        plan: All blocks of all stages.
    """

    storage: Storage
    plan: StatisticsPlan

    def around(self, stages: Sequence[StatisticsStage], box: PixelBox) -> dict[str, Field]:
        """The numbers of some stages, the first ones of the plan, over a box.

        Args:
            stages: A loaded kernel's.
            box: On the kernel's lattice, halo included.

        Raises:
            TileFault: A block failed or is missing, or a stage measured nothing around the box.
        """
        return {stage.info.name: self._field(number, stage, box) for number, stage in enumerate(stages)}

    def _field(self, number: int, stage: StatisticsStage, box: PixelBox) -> Field:
        factor = self.plan.factor
        corners = box.coarsen(factor).coarsen(CELL)
        rows, cols = range(corners.row0, corners.row1 + 1), range(corners.col0, corners.col1 + 1)
        numbers = [[self._corner(number, stage, row, col) for col in cols] for row in rows]
        covered = PixelBox(corners.row0, corners.col0, corners.row1, corners.col1).scale(CELL * factor)
        values = {name: np.array([[corner[name] for corner in line] for line in numbers]) for name in numbers[0][0]}
        return Field(covered, CELL * factor, values)

    def _corner(self, number: int, stage: StatisticsStage, row: int, col: int) -> Numbers:
        key = (number, row, col)
        if key not in self._corners:
            if len(self._corners) >= _HELD:
                self._corners.clear()
            self._corners[key] = _numbers(stage, self._merged(number, row, col), Tile(row, col))
        return self._corners[key]

    def _merged(self, number: int, row: int, col: int) -> Numbers:
        """Sums at a corner: of up to four blocks, row by row, without those that measured nothing."""
        terms = []
        for block_row, down in weights(row):
            for block_col, right in weights(col):
                block = self._block(number, Tile(block_row, block_col))
                if block is not None and block.cells:
                    terms.append((down * right, block.sums))
        if not terms:
            stage = self.plan.stages[number].info.name
            raise TileFault(EMPTY, f"stage {stage} found no valid pixel in the sampled cells around {row}, {col}")
        return merged(terms)

    def _block(self, number: int, block: Tile) -> BlockSums | None:
        """A block's sums, read once; None where it holds nothing of the area."""
        planned = self.plan.stages[number].blocks.get(block)
        if planned is None:
            return None
        key = (planned.stage, block.name, planned.inputs)
        if key not in self._blocks:
            try:
                self._blocks[key] = StatisticsStore(self.storage).get(*key)
            except FileNotFoundError:
                raise self._missing(*key) from None
            except DamageError as error:
                raise TileFault(f"{REASON}damaged", str(error)) from None
        return self._blocks[key]

    def _missing(self, stage: str, block: str, inputs: str) -> TileFault:
        failed = StatisticsStore(self.storage).failure(stage, Key(block, inputs))
        subject = f"stage {stage}, block {block}"
        if failed is None:
            return TileFault(f"{REASON}missing", f"{subject} is not measured; run {self.storage.url()} again")
        return TileFault(f"{REASON}{failed.reason.removeprefix(REASON)}", f"{subject}: {failed.detail}")

    @cached_property
    def _blocks(self) -> dict[tuple[str, str, str], BlockSums]:
        return {}

    @cached_property
    def _corners(self) -> dict[tuple[int, int, int], Numbers]:
        return {}

    def __getstate__(self) -> dict[str, Any]:
        """Travel without what was read."""
        return {"storage": self.storage, "plan": self.plan}

    def __dask_tokenize__(self) -> object:
        """Equal for equal sums, in whatever folder."""
        return digest(sorted(self.plan.keys))


def _numbers(stage: StatisticsStage, sums: Numbers, corner: Tile) -> Numbers:
    try:
        numbers = {name: np.asarray(value, np.float64) for name, value in stage.numbers(sums).items()}
    except TileFault as fault:
        raise TileFault(f"{REASON}{fault.reason.removeprefix(REASON)}", fault.detail) from None
    for name, value in numbers.items():
        if not np.isfinite(value).all():
            raise TileFault(
                f"{REASON}not_finite",
                f"stage {stage.info.name} gave {name} = {value} at corner {corner.row}, {corner.col}",
            )
    return numbers
