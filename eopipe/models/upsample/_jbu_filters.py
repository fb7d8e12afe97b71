"""Every pixel's own filter, computed a unit at a time and folded onto source cells (FeatUp, arXiv 2403.10516).

See `eopipe.models.upsample._jbu_rows` for what cells, classes and units are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eopipe.models._simd import jit
from eopipe.models.upsample import _jbu_tiles as tiles
from eopipe.models.upsample._jbu_layout import (
    BROAD,
    COLOURS,
    KEYS,
    LANES,
    STEP,
    SourceGrid,
    StageWeights,
    aligned,
    f4,
    half,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

# 32 registers of 16 floats hold 11x2 or 4x6 accumulators and what they need, 16 registers 11x1 or 4x2
VECTORS = 2 if BROAD else 1
PLACES3, PLACES5 = (4, 6) if BROAD else (2, 2)

_hidden3 = tiles.make_product(LANES, VECTORS, 7, a_row=1, a_k=7, pairs=False, add=False, gelu=True)
_correct3 = tiles.make_product(LANES, VECTORS, 7, a_row=1, a_k=7, pairs=False, add=True, gelu=False)
_hidden5 = tiles.make_product(LANES, VECTORS, 11, a_row=1, a_k=11, pairs=False, add=False, gelu=True)
_correct5 = tiles.make_product(LANES, VECTORS, 11, a_row=1, a_k=11, pairs=False, add=True, gelu=False)
_affinity3, _affinity5 = tiles.make_affinity(LANES, PLACES3), tiles.make_affinity(LANES, PLACES5)
_weigh = tiles.make_weigh(LANES)
_fold3_first, _fold3_second = tiles.make_fold(LANES, 3, 0), tiles.make_fold(LANES, 3, 1)
_fold5_first, _fold5_second = tiles.make_fold(LANES, 5, 0), tiles.make_fold(LANES, 5, 1)


class Scratch(NamedTuple):
    """A unit's arrays; reach is the side of the filter on cells.

    Attributes:
        scores: Products of keys, [side + 1, side + 1, STEP]; a class begins at its parities.
        taps: The filters, [side² + 4, STEP] with the colours and 1 behind them.
        hidden: Hidden values of the correction, [side² + 1, STEP] with 1 behind them.
        lines: Filters folded along the rows, [side, reach, STEP].
        folded: Filters on cells, [reach, reach, STEP].
    """

    scores: Floats
    taps: Floats
    hidden: Floats
    lines: Floats
    folded: Floats


@jit
def make_scratch(radius: int) -> Scratch:
    """Memory for a unit, with what stays the same in it."""
    side = 2 * radius + 1
    reach = 2 * half(radius) + 1
    scratch = Scratch(
        aligned((side + 1) * (side + 1) * STEP),
        aligned((side * side + 4) * STEP),
        aligned((side * side + 1) * STEP),
        aligned(side * reach * STEP),
        aligned(reach * reach * STEP),
    )
    scratch.taps[(side * side + 3) * STEP :] = f4(1)
    scratch.hidden[side * side * STEP :] = f4(1)
    return scratch


@jit
def _reflected(y: int, size: int) -> int:
    """Row that stands for row ``y`` of an image reflected at its border pixels."""
    y = abs(y)
    return min(y, 2 * (size - 1) - y)


@jit
def _affinities(m: int, t: int, grid: SourceGrid, radius: int, scratch: Scratch) -> None:
    """Products of the unit's keys with those around its cells."""
    plane = KEYS * grid.pitch
    row = 2 * plane
    places = 2 * radius + 2
    cell = 2 * m * row + t + (radius + 1) // 2
    for i in range(places):
        line = _reflected(2 * m - radius + i, 2 * grid.height) * row + t
        if radius == 5:
            for j in range(0, places, PLACES5):
                to = (i * places + j) * STEP
                _affinity5(grid.keys, cell, cell + row, line + j // 2, plane, grid.pitch, KEYS, scratch.scores, to)
        else:
            for j in range(0, places, PLACES3):
                to = (i * places + j) * STEP
                _affinity3(grid.keys, cell, cell + row, line + j // 2, plane, grid.pitch, KEYS, scratch.scores, to)


@jit
def _weights(stage: StageWeights, scratch: Scratch) -> None:
    """Normalised weights of the products."""
    side = 2 * stage.radius + 1
    row = (side + 1) * STEP
    for k in range(tiles.CLASSES):
        first = (k // 2) * row + (k % 2) * STEP + k * LANES
        _weigh(scratch.scores, first, row, stage.spatial, 0, side, scratch.taps, k * LANES)


@jit
def _colours(m: int, t: int, grid: SourceGrid, side: int, taps: Floats) -> None:
    """Put the unit's red, green and blue behind its taps."""
    for k in range(tiles.CLASSES):
        line = (2 * (2 * m + k // 2) + k % 2) * COLOURS * grid.pitch + t
        for c in range(3):
            to, of = (side * side + c) * STEP + k * LANES, line + c * grid.pitch
            for lane in range(LANES):
                taps[to + lane] = grid.colours[of + lane]


@jit
def _hide(stage: StageWeights, scratch: Scratch) -> None:
    """The hidden values of the correction."""
    side = 2 * stage.radius + 1
    inputs = side * side + 4
    for n in range(0, STEP, VECTORS * LANES):
        for tile in range(side):
            a, to = tile * inputs * side, tile * side * STEP + n
            if side == 11:
                _hidden5(stage.hidden, a, 0, scratch.taps, n, STEP, 0, inputs, 1, scratch.hidden, to, STEP, 0)
            else:
                _hidden3(stage.hidden, a, 0, scratch.taps, n, STEP, 0, inputs, 1, scratch.hidden, to, STEP, 0)


@jit
def _correct(stage: StageWeights, scratch: Scratch) -> None:
    """Add the correction to the taps."""
    side = 2 * stage.radius + 1
    inputs = side * side + 1
    for n in range(0, STEP, VECTORS * LANES):
        for tile in range(side):
            a, to = tile * inputs * side, tile * side * STEP + n
            if side == 11:
                _correct5(stage.correct, a, 0, scratch.hidden, n, STEP, 0, inputs, 1, scratch.taps, to, STEP, 0)
            else:
                _correct3(stage.correct, a, 0, scratch.hidden, n, STEP, 0, inputs, 1, scratch.taps, to, STEP, 0)


@jit
def _reflect_columns(t: int, width: int, radius: int, taps: Floats) -> None:
    """Move taps that lie left or right of the image to the pixels whose mirror image they are."""
    side = 2 * radius + 1
    last = 2 * width - 1
    for lane in range(min(LANES, width - t)):
        for k in range(tiles.CLASSES):
            x = 2 * (t + lane) + k % 2
            if radius <= x <= last - radius:
                continue
            for j in range(side):
                mirror = _reflected(x + j - radius, last + 1) - x + radius
                if mirror == j:
                    continue
                for i in range(side):
                    line = i * side * STEP + k * LANES + lane
                    taps[line + mirror * STEP] += taps[line + j * STEP]
                    taps[line + j * STEP] = f4(0)


@jit
def _reflect_rows(m: int, height: int, radius: int, taps: Floats) -> None:
    """As `_reflect_columns`, above and below."""
    side = 2 * radius + 1
    for parity in range(2):
        y = 2 * m + parity
        for i in range(side):
            mirror = _reflected(y + i - radius, 2 * height) - y + radius
            if mirror == i:
                continue
            for j in range(side):
                of = (i * side + j) * STEP + 2 * parity * LANES
                to = (mirror * side + j) * STEP + 2 * parity * LANES
                for n in range(2 * LANES):
                    taps[to + n] += taps[of + n]
                    taps[of + n] = f4(0)


@jit
def _fold_line(radius: int, parity: int, x: Floats, x0: int, y: Floats, y0: int, step: int) -> None:
    """One line of taps on pixels into one on cells, for the cells' first (0) or second (1) pixels."""
    if radius == 5 and parity == 0:
        _fold5_first(x, x0, step, y, y0, step)
    elif radius == 5:
        _fold5_second(x, x0, step, y, y0, step)
    elif parity == 0:
        _fold3_first(x, x0, step, y, y0, step)
    else:
        _fold3_second(x, x0, step, y, y0, step)


@jit
def _fold(radius: int, scratch: Scratch) -> None:
    """Turn taps on pixels into taps on cells, along the rows and then along the columns."""
    side = 2 * radius + 1
    reach = 2 * half(radius) + 1
    for i in range(side):
        for k in range(tiles.CLASSES):
            x0, y0 = i * side * STEP + k * LANES, i * reach * STEP + k * LANES
            _fold_line(radius, k % 2, scratch.taps, x0, scratch.lines, y0, STEP)
    for j in range(reach):
        for k in range(tiles.CLASSES):
            at = j * STEP + k * LANES
            _fold_line(radius, k // 2, scratch.lines, at, scratch.folded, at, reach * STEP)


@jit
def make_filters(m: int, t: int, grid: SourceGrid, stage: StageWeights, scratch: Scratch) -> None:
    """The unit's filters on cells."""
    radius = stage.radius
    side = 2 * radius + 1
    _affinities(m, t, grid, radius, scratch)
    _weights(stage, scratch)
    _colours(m, t, grid, side, scratch.taps)
    _hide(stage, scratch)
    _correct(stage, scratch)
    if 2 * t < radius or 2 * (t + LANES) + radius > 2 * grid.width:
        _reflect_columns(t, grid.width, radius, scratch.taps)
    if 2 * m < radius or 2 * (m + 1) + radius > 2 * grid.height:
        _reflect_rows(m, grid.height, radius, scratch.taps)
    _fold(radius, scratch)
