"""From two dates around a cell to the score of its pixels and the classes of both: what map and statistics share.

A cell is always computed whole and by itself, with the same surroundings, so a pixel's score is a function of its
absolute position (docs/ARCHITECTURE.md, "Tiles, tasks, seams").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.grid import CELL
from eopipe.kernels.change.registration.alignment import MOVE_MARGIN, SHIFT, VISIBLE, inner, registered
from eopipe.kernels.change.spectral.colour_difference import MARGIN, Level, compare
from eopipe.models.dynamicworld.net import HALO as NET_HALO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.prompt_classes import PromptClasses
    from eopipe.kernels.statistics import Field
    from eopipe.models.dynamicworld.net import DynamicWorldRunner

HALO = MARGIN + MOVE_MARGIN
"""Pixels to each side that a pixel's score depends on."""

LEVELS, SCORES = "levels", "scores"
"""Names of the statistics stages after `SHIFT`."""

CELL_BYTES = 450 * (CELL + 2 * HALO) ** 2
"""Peak of comparing a cell; a pixel of its window takes 213 bytes as allocated in Python, and what Dynamic World's
compiled loops take beside it (`eopipe.kernels.land_cover`), rounded up."""

assert HALO % 2 == 0
assert NET_HALO <= MARGIN


@dataclass(frozen=True)
class CellComparison:
    """The two dates of a cell, compared.

    Args:
        score: ``[y, x]`` float32, 0 or more: how much the colour changed, times how likely the pixel is what the
            prompts name; 0 where a date lacks it.
        valid: ``[y, x]``: whether both dates have the pixel.
        labels: ``[2, y, x]``: classes of both dates, codes from 1; the second date's on the first date's pixels.
        visible: ``[2, y, x]`` float32: mean of the visible bands of both dates, registered.
    """

    score: NDArray[np.float32]
    valid: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    visible: NDArray[np.float32]

    def ratio(self, cell: PixelBox, statistics: Mapping[str, Field]) -> NDArray[np.float64]:
        """``[y, x]``: the score over the threshold of its place, of the stage `SCORES`."""
        return np.asarray(self.score / statistics[SCORES].at("threshold", cell))


def compare_cell(
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
    cell: PixelBox,
    statistics: Mapping[str, Field],
    *,
    runner: DynamicWorldRunner,
    prompts: PromptClasses,
) -> CellComparison:
    """Compare the two dates of a cell.

    Args:
        pixels: ``[2, 9, y, x]`` over ``cell.pad(HALO)``.
        valid: ``[2, y, x]``, likewise.
        cell: Of the lattice.
        statistics: The stages `SHIFT` (if dates are registered) and `LEVELS`.
        runner: Dynamic World.
        prompts: What may have changed.
    """
    around = cell.pad(MARGIN)
    (first, second), (first_valid, second_valid) = registered(pixels, valid, around, statistics.get(SHIFT))
    both = first_valid & second_valid
    before, after = (_level(statistics[LEVELS], around, epoch) for epoch in (0, 1))
    changed = compare(before.of(first[:VISIBLE], both), after.of(second[:VISIBLE], both), both)
    cut = MARGIN - NET_HALO
    probabilities = [
        runner(inner(date, cut), inner(date_valid, cut), crop=NET_HALO)
        for date, date_valid in ((first, first_valid), (second, second_valid))
    ]
    likelihood = np.maximum(*(prompts.likelihood(date) for date in probabilities)).max(axis=0)
    # a pixel that the second date itself lacks is no data, though the value moved there is valid
    observed = inner(both, MARGIN) & inner(valid[1], HALO)
    labels = np.stack([(date.argmax(axis=0) + 1) * observed for date in probabilities]).astype(np.uint8)
    visible = np.stack([inner(date[:VISIBLE], MARGIN).mean(axis=0) for date in (first, second)])
    return CellComparison(changed * likelihood * observed, observed, labels, visible)


def _level(levels: Field, around: PixelBox, epoch: int) -> Level:
    mean, spread = (levels.at(name, around)[epoch].astype(np.float32) for name in ("mean", "spread"))
    return Level(mean, spread)
