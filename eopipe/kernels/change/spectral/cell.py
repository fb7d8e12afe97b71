"""From two dates around a cell to the score of its pixels and the classes of both: what map and statistics share.

A cell is always computed whole and by itself, with the same surroundings, so a pixel's score is a function of its
absolute place (DESIGN §6.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from eopipe.grid import CELL
from eopipe.kernels.change.registration.phase_correlation import LIMIT
from eopipe.kernels.change.registration.shift import REACH, move
from eopipe.kernels.change.spectral.colour_difference import MARGIN, Level, compare
from eopipe.models.dynamicworld.net import HALO as NET_HALO

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.prompt_classes import Meaning
    from eopipe.kernels.statistics import Field
    from eopipe.models.dynamicworld.net import DynamicWorldRunner

Value = TypeVar("Value", bound=np.generic)

SHIFTED = int(LIMIT) + REACH
"""Pixels around what is moved that moving it takes."""

HALO = MARGIN + SHIFTED
"""Pixels that a pixel's score sees to each side."""

SHIFT, LEVELS, SCORES = "shift", "levels", "scores"
"""Names of the stages."""

VISIBLE = 3
"""Blue, green and red come first of the bands."""

CELL_BYTES = 450 * (CELL + 2 * HALO) ** 2
"""Peak of comparing a cell; a pixel of its window takes 213 bytes as allocated in Python, and what Dynamic World's
compiled loops take beside it (`eopipe.kernels.land_cover`), rounded up."""

assert HALO % 2 == 0
assert NET_HALO <= MARGIN


@dataclass(frozen=True)
class Compared:
    """A cell.

    Args:
        score: ``[y, x]`` float32, 0 or more: how much the colour changed, times how likely it is what was asked for.
        seen: ``[y, x]``: whether both dates have the pixel.
        labels: ``[2, y, x]``: classes of both dates, codes from 1; the second date's on the first date's pixels.
        visible: ``[2, y, x]`` float32: mean of the visible bands of both dates, registered.
    """

    score: NDArray[np.float32]
    seen: NDArray[np.bool_]
    labels: NDArray[np.uint8]
    visible: NDArray[np.float32]


def compare_cell(
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
    box: PixelBox,
    statistics: Mapping[str, Field],
    *,
    runner: DynamicWorldRunner,
    meaning: Meaning,
) -> Compared:
    """Compare the two dates of a cell.

    Args:
        pixels: ``[2, 9, y, x]`` over ``box.pad(HALO)``.
        valid: ``[2, y, x]``, likewise.
        box: The cell.
        statistics: The stages `SHIFT` (if dates are registered) and `LEVELS`.
        runner: Dynamic World.
        meaning: What was asked for.
    """
    around = box.pad(MARGIN)
    (first, second), (first_seen, second_seen) = registered(pixels, valid, around, statistics.get(SHIFT))
    both = first_seen & second_seen
    before, after = (_level(statistics[LEVELS], around, epoch) for epoch in (0, 1))
    changed = compare(before.of(first[:VISIBLE], both), after.of(second[:VISIBLE], both), both)
    cut = MARGIN - NET_HALO
    maps = [
        runner(inner(date, cut), inner(seen, cut), crop=NET_HALO)
        for date, seen in ((first, first_seen), (second, second_seen))
    ]
    likely = np.maximum(*(meaning.likely(found) for found in maps)).max(axis=0)
    # what the second date itself lacks is no data, though what was moved there is valid
    seen = inner(both, MARGIN) & inner(valid[1], MARGIN + SHIFTED)
    labels = np.stack([(found.argmax(axis=0) + 1) * seen for found in maps]).astype(np.uint8)
    visible = np.stack([inner(date[:VISIBLE], MARGIN).mean(axis=0) for date in (first, second)])
    return Compared(changed * likely * seen, seen, labels, visible)


def inner(array: NDArray[Value], margin: int) -> NDArray[Value]:
    """``[..., y, x]`` less a margin on each side."""
    return array[..., margin : array.shape[-2] - margin, margin : array.shape[-1] - margin]


def registered(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, shift: Field | None
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Both dates on the first one's pixels.

    Args:
        pixels: ``[2, band, y, x]`` over ``box.pad(SHIFTED)``.
        valid: ``[2, y, x]``, likewise.
        box: Any.
        shift: The stage `SHIFT`; None: the dates stay where they are.

    Returns:
        ``[band, y, x]`` of each date over the box, and its validity ``[y, x]``.
    """
    first, first_seen = inner(pixels[0], SHIFTED), inner(valid[0], SHIFTED)
    if shift is None:
        return (first, inner(pixels[1], SHIFTED)), (first_seen, inner(valid[1], SHIFTED))
    second, seen = move(pixels[1], valid[1], shift.at("down", box), shift.at("right", box), SHIFTED)
    return (first, second), (first_seen, seen)


def _level(levels: Field, around: PixelBox, epoch: int) -> Level:
    mean, spread = (levels.at(name, around)[epoch].astype(np.float32) for name in ("mean", "spread"))
    return Level(mean, spread)
