"""Scores and labels cell by cell, each made once a tile, and put together for the pictures that lie over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from eopipe.grid import CELL
from eopipe.kernels.change.spectral.cell import HALO, SCORES, compare_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.prompt_classes import Meaning
    from eopipe.kernels.statistics import Field
    from eopipe.models.dynamicworld.net import DynamicWorldRunner


@dataclass(frozen=True, eq=False)
class CellScores:
    """A cell: score over the threshold of its place, float32 ``[y, x]``, and labels, uint8 ``[2, y, x]``."""

    ratio: NDArray[np.float32]
    labels: NDArray[np.uint8]


@dataclass(eq=False)
class Cells:
    """The cells of a strip.

    Args:
        runner: Dynamic World.
        meaning: What was asked for.
        pixels: ``[2, 9, y, x]`` over ``outer``.
        valid: ``[2, y, x]``, likewise.
        outer: The strip with its halo.
        statistics: The kernel's.
        known: Those that are made already: by the strip above, and by this one.
    """

    runner: DynamicWorldRunner
    meaning: Meaning
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    outer: PixelBox
    statistics: Mapping[str, Field]
    known: dict[PixelBox, CellScores] = field(default_factory=dict)

    def ratio(self, picture: PixelBox) -> NDArray[np.float32]:
        """float32 ``[y, x]`` over a picture."""
        found = np.zeros(picture.shape, np.float32)
        for cell, shared in self._over(picture):
            found[shared.slices(picture)] = self._of(cell).ratio[shared.slices(cell)]
        return found

    def labels(self, picture: PixelBox) -> NDArray[np.uint8]:
        """uint8 ``[2, y, x]`` over a picture."""
        found = np.zeros((2, *picture.shape), np.uint8)
        for cell, shared in self._over(picture):
            found[:, *shared.slices(picture)] = self._of(cell).labels[:, *shared.slices(cell)]
        return found

    def _over(self, picture: PixelBox) -> list[tuple[PixelBox, PixelBox]]:
        return [(cell, cell & picture) for cell in picture.blocks(CELL)]

    def _of(self, cell: PixelBox) -> CellScores:
        if cell not in self.known:
            self.known[cell] = self._made(cell)
        return self.known[cell]

    def _made(self, cell: PixelBox) -> CellScores:
        rows, cols = cell.pad(HALO).slices(self.outer)
        valid = self.valid[:, rows, cols]
        if not valid.any(axis=(1, 2)).all():
            return CellScores(np.zeros(cell.shape, np.float32), np.zeros((2, *cell.shape), np.uint8))
        found = compare_cell(
            self.pixels[:, :, rows, cols], valid, cell, self.statistics, runner=self.runner, meaning=self.meaning
        )
        limit = self.statistics[SCORES].at("threshold", cell)
        return CellScores((found.score / limit).astype(np.float32), found.labels)
