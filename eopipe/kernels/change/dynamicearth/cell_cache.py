"""Scores and labels cell by cell, each computed once a tile, and put together for the pictures that lie over them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from eopipe.grid import CELL
from eopipe.kernels.change.spectral.cell import HALO, compare_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.prompt_classes import PromptClasses
    from eopipe.kernels.statistics import Field
    from eopipe.models.dynamicworld.net import DynamicWorldRunner


@dataclass(frozen=True, eq=False)
class CellScores:
    """Of a box: score over the threshold of its place, float32 ``[y, x]``, and labels, uint8 ``[2, y, x]``."""

    ratio: NDArray[np.float32]
    labels: NDArray[np.uint8]

    @classmethod
    def empty(cls, box: PixelBox) -> CellScores:
        """Zeros."""
        return cls(np.zeros(box.shape, np.float32), np.zeros((2, *box.shape), np.uint8))


@dataclass(eq=False)
class CellCache:
    """The cells of a strip.

    Args:
        runner: Dynamic World.
        prompts: What may have changed.
        pixels: ``[2, 9, y, x]`` over ``outer``.
        valid: ``[2, y, x]``, likewise.
        outer: The strip with its halo.
        statistics: The kernel's.
        known: Cells that are computed already: by the strip above, and by this one.
    """

    runner: DynamicWorldRunner
    prompts: PromptClasses
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    outer: PixelBox
    statistics: Mapping[str, Field]
    known: dict[PixelBox, CellScores] = field(default_factory=dict)

    def scores(self, picture: PixelBox) -> CellScores:
        """Over a picture."""
        scores = CellScores.empty(picture)
        for cell in picture.blocks(CELL):
            if cell not in self.known:
                self.known[cell] = self._compare(cell)
            shared = cell & picture
            target, source = shared.slices(picture), shared.slices(cell)
            scores.ratio[target] = self.known[cell].ratio[source]
            scores.labels[:, *target] = self.known[cell].labels[:, *source]
        return scores

    def _compare(self, cell: PixelBox) -> CellScores:
        rows, cols = cell.pad(HALO).slices(self.outer)
        valid = self.valid[:, rows, cols]
        if not valid.any(axis=(1, 2)).all():
            return CellScores.empty(cell)
        compared = compare_cell(
            self.pixels[:, :, rows, cols], valid, cell, self.statistics, runner=self.runner, prompts=self.prompts
        )
        return CellScores(compared.ratio(cell, self.statistics).astype(np.float32), compared.labels)
