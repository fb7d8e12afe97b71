"""One doubling of the fused joint bilateral upsampler, by rows of source cells (spec 01 §4.1; arXiv 2403.10516).

A *cell* is a pixel of the source, and becomes 2x2 pixels, its four *classes*. Work goes by *units*: a vector of
adjacent cells with all four classes, ``STEP = 4*LANES`` pixels, whose arrays [taps, 4, LANES] stay in the caches from
the keys' products to the filtered source. What is saved, exactly:

* the source is never resized: the bicubic weights are folded into the filter (`make_fold`), 81 taps on cells
  instead of 121 on pixels for radius 5, and the four classes of a cell read the same 81;
* the reflected border is folded into the filter too, tap by tap;
* a bias is one more input that is 1, and a factor is in the weights.
"""

# ruff: noqa: PLR0913, PLR0917  (kernels take flat arrays, offsets and pitches, as BLAS does)

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eopipe.models._simd import entry, jit, vector_width
from eopipe.models.upsample import _jbu_tiles as tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

f4 = np.float32
LANES = vector_width()
STEP = tiles.CLASSES * LANES
KEYS = 32
KEY_ROWS = 8
COLOURS = 4  # red, green, blue and a one
NORM_FLOOR = f4(1e-12)
# 32 registers of 16 floats hold 11x2, 4x5 or 4x6 accumulators and what they need; 16 hold 11x1, 4x2
BROAD = LANES == 16
VECTORS = 2 if BROAD else 1
PANEL = 5 if BROAD else 2
LEAST = 3 if BROAD else 2  # vectors of channels, for `_mix` has tiles of 3, 4 and 5, or of 2

_key_hidden = tiles.make_product(LANES, 1, KEY_ROWS, a_row=1, a_k=KEY_ROWS, pairs=False, add=False, gelu=True)
_key = tiles.make_product(LANES, 1, KEY_ROWS, a_row=1, a_k=KEY_ROWS, pairs=False, add=False, gelu=False)
_hidden3 = tiles.make_product(LANES, VECTORS, 7, a_row=1, a_k=7, pairs=False, add=False, gelu=True)
_correct3 = tiles.make_product(LANES, VECTORS, 7, a_row=1, a_k=7, pairs=False, add=True, gelu=False)
_hidden5 = tiles.make_product(LANES, VECTORS, 11, a_row=1, a_k=11, pairs=False, add=False, gelu=True)
_correct5 = tiles.make_product(LANES, VECTORS, 11, a_row=1, a_k=11, pairs=False, add=True, gelu=False)
_mix2, _mix3, _mix4, _mix5 = (
    tiles.make_product(LANES, n, tiles.CLASSES, a_row=LANES, a_k=STEP, pairs=True, add=False, gelu=False)
    for n in (2, 3, 4, 5)
)
_affinity3, _affinity5 = (tiles.make_affinity(LANES, n) for n in ((4, 6) if BROAD else (2, 2)))
_square = tiles.make_square(LANES)
_weigh = tiles.make_weigh(LANES)
_fold3_first, _fold3_second = tiles.make_fold(LANES, 3, 0), tiles.make_fold(LANES, 3, 1)
_fold5_first, _fold5_second = tiles.make_fold(LANES, 5, 0), tiles.make_fold(LANES, 5, 1)


class Stage(NamedTuple):
    """A stage's weights for the kernels, all flat.

    Attributes:
        radius: 3 or 5; the filter has side = 2*radius + 1.
        key_hidden: [4, 4, 8]: tiles of 8 of the 32 hidden keys, by colour and 1.
        key: [4, 33, 8], times the root of the range's temperature.
        spatial: [side, side].
        hidden: [side, side² + 4, side]: tiles of ``side`` hidden values, by tap, colour and 1.
        correct: [side, side² + 1, side], times 0.1.
    """

    radius: int
    key_hidden: Floats
    key: Floats
    spatial: Floats
    hidden: Floats
    correct: Floats


class Grid(NamedTuple):
    """A stage's source, [height, width] cells, and how its arrays lie.

    Attributes:
        height: Cells.
        width: Cells.
        pitch: Values from channel to channel of ``colours`` and ``keys``.
        colours: The guidance, [2*height, 2 parities, 4, pitch] of red, green, blue and 1.
        keys: [2*height, 2 parities, 32, pitch]; cell 0 stands at (radius + 1) / 2.
        channels: Values to a pixel of ``source``, whole vectors.
        source: [height + 2*half, width + 2*half, channels], its border repeated.
    """

    height: int
    width: int
    pitch: int
    colours: Floats
    keys: Floats
    channels: int
    source: Floats


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


def half_window(radius: int) -> int:
    """See `_jbu_tiles.half_window`."""
    return tiles.half_window(radius)


_half = jit(tiles.half_window)


def whole_channels(channels: int) -> int:
    """Channels as the kernels take them: whole vectors, as many as tiles can share."""
    vectors = max(LEAST, -(-channels // LANES))
    return LANES * (vectors if BROAD else vectors + vectors % 2)


def pitch(width: int, radius: int) -> int:
    """`Grid.pitch` for a width in cells: whole vectors and the reflected border.

    It is an odd number of cache lines: steps of a power of two would put all channels into few sets of the cache.
    """
    lines = -(-(-(-width // LANES) * LANES + radius + 1) // 16)
    return 16 * (lines | 1)


@jit
def aligned(size: int) -> Floats:
    """Uninitialised memory that begins a cache line."""
    memory = np.empty(size + 16, np.float32)
    skip = ((64 - memory.ctypes.data % 64) % 64) // 4
    return memory[skip : skip + size]


@jit
def _scratch(radius: int) -> Scratch:
    side = 2 * radius + 1
    reach = 2 * _half(radius) + 1
    made = Scratch(
        aligned((side + 1) * (side + 1) * STEP),
        aligned((side * side + 4) * STEP),
        aligned((side * side + 1) * STEP),
        aligned(side * reach * STEP),
        aligned(reach * reach * STEP),
    )
    made.taps[(side * side + 3) * STEP :] = f4(1)
    made.hidden[side * side * STEP :] = f4(1)
    return made


@entry
def keys(low: int, high: int, grid: Grid, stage: Stage) -> None:
    """Fill rows ``low`` to ``high`` of the keys from the colours, with the reflected columns.

    Args:
        low: First row of pixels.
        high: One past the last.
        grid: The stage's arrays; ``source`` is not looked at.
        stage: The weights.
    """
    width, step, radius = grid.width, grid.pitch, stage.radius
    hidden = aligned((KEYS + 1) * LANES)
    hidden[KEYS * LANES :] = f4(1)
    plane = KEYS * step
    shift = (radius + 1) // 2
    for y in range(low, high):
        for parity in range(2):
            line = 2 * y + parity
            for t in range(0, width, LANES):
                at = line * COLOURS * step + t
                for tile in range(0, KEYS, KEY_ROWS):
                    _key_hidden(
                        stage.key_hidden, tile * COLOURS, 0, grid.colours, at, step, 0, COLOURS, 1,
                        hidden, tile * LANES, LANES, 0,
                    )  # fmt: skip
                for tile in range(0, KEYS, KEY_ROWS):
                    to = line * plane + tile * step + t + shift
                    _key(stage.key, tile * (KEYS + 1), 0, hidden, 0, LANES, 0, KEYS + 1, 1, grid.keys, to, step, 0)
        row = grid.keys[2 * y * plane : 2 * (y + 1) * plane]
        for n in range(1, radius + 1):
            # column -n is column n, and beyond the last likewise; columns are counted from -(radius + 1)
            _copy_column(row, plane, step, radius + 1 - n, radius + 1 + n)
            _copy_column(row, plane, step, radius + 2 * width + n, radius + 2 * width - n)


@jit
def _copy_column(row: Floats, plane: int, step: int, to: int, of: int) -> None:
    target, origin = (to % 2) * plane + to // 2, (of % 2) * plane + of // 2
    for c in range(KEYS):
        row[target + c * step] = row[origin + c * step]


@jit
def _reflected(y: int, size: int) -> int:
    """Row that stands for row ``y`` of an image reflected at its border pixels."""
    y = abs(y)
    return min(y, 2 * (size - 1) - y)


@jit
def _affinities(m: int, t: int, grid: Grid, radius: int, scratch: Scratch) -> None:
    """Products of the unit's keys with those around its cells."""
    plane = KEYS * grid.pitch
    row = 2 * plane
    places = 2 * radius + 2
    own = 2 * m * row + t + (radius + 1) // 2
    for i in range(places):
        line = _reflected(2 * m - radius + i, 2 * grid.height) * row + t
        if radius == 5:
            for j in range(0, places, 6 if BROAD else 2):
                to = (i * places + j) * STEP
                _affinity5(grid.keys, own, own + row, line + j // 2, plane, grid.pitch, KEYS, scratch.scores, to)
        else:
            for j in range(0, places, 4 if BROAD else 2):
                to = (i * places + j) * STEP
                _affinity3(grid.keys, own, own + row, line + j // 2, plane, grid.pitch, KEYS, scratch.scores, to)


@jit
def _weights(stage: Stage, scratch: Scratch) -> None:
    """Normalised weights of the products."""
    side = 2 * stage.radius + 1
    row = (side + 1) * STEP
    for k in range(tiles.CLASSES):
        first = (k // 2) * row + (k % 2) * STEP + k * LANES
        _weigh(scratch.scores, first, row, stage.spatial, 0, side, scratch.taps, k * LANES)


@jit
def _colours(m: int, t: int, grid: Grid, side: int, taps: Floats) -> None:
    """Put the unit's red, green and blue behind its taps."""
    for k in range(tiles.CLASSES):
        line = (2 * (2 * m + k // 2) + k % 2) * COLOURS * grid.pitch + t
        for c in range(3):
            to, of = (side * side + c) * STEP + k * LANES, line + c * grid.pitch
            for lane in range(LANES):
                taps[to + lane] = grid.colours[of + lane]


@jit
def _hide(stage: Stage, scratch: Scratch) -> None:
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
def _correct(stage: Stage, scratch: Scratch) -> None:
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
    reach = 2 * _half(radius) + 1
    for i in range(side):
        for k in range(tiles.CLASSES):
            x0, y0 = i * side * STEP + k * LANES, i * reach * STEP + k * LANES
            _fold_line(radius, k % 2, scratch.taps, x0, scratch.lines, y0, STEP)
    for j in range(reach):
        for k in range(tiles.CLASSES):
            at = j * STEP + k * LANES
            _fold_line(radius, k // 2, scratch.lines, at, scratch.folded, at, reach * STEP)


@jit
def _filters(m: int, t: int, grid: Grid, stage: Stage, scratch: Scratch) -> None:
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


@jit
def _mix(
    m: int, t: int, grid: Grid, radius: int, folded: Floats, out: Floats, o0: int, cell: int, o_row: int, o_pair: int
) -> None:
    """Filter the source into the unit's pixels, cell ``n`` at ``o0 + n*cell``."""
    reach = 2 * _half(radius) + 1
    channels = grid.channels
    row = (grid.width + reach - 1) * channels
    vectors = channels // LANES
    panels = -(-vectors // PANEL)
    done = 0
    for panel in range(panels):
        n = -(-(vectors - done) // (panels - panel))
        first = m * row + t * channels + done * LANES
        to = o0 + done * LANES
        for lane in range(min(LANES, grid.width - t)):
            b0, c0 = first + lane * channels, to + lane * cell
            if not BROAD:
                _mix2(
                    folded, lane, reach * STEP, grid.source, b0, channels, row, reach, reach, out, c0, o_row, o_pair
                )
            elif n == 5:
                _mix5(
                    folded, lane, reach * STEP, grid.source, b0, channels, row, reach, reach, out, c0, o_row, o_pair
                )
            elif n == 4:
                _mix4(
                    folded, lane, reach * STEP, grid.source, b0, channels, row, reach, reach, out, c0, o_row, o_pair
                )
            else:
                _mix3(
                    folded, lane, reach * STEP, grid.source, b0, channels, row, reach, reach, out, c0, o_row, o_pair
                )
        done += n


@entry
def double(low: int, high: int, grid: Grid, stage: Stage, margin: int, target: Floats) -> None:
    """Make the pixels of the rows of cells ``low`` to ``high``.

    Args:
        low: First row of cells.
        high: One past the last.
        grid: The stage's arrays, keys made, border repeated.
        stage: The weights.
        margin: Pixels around the target, left to be filled.
        target: [2*height + 2*margin, 2*width + 2*margin, channels], flat.
    """
    scratch = _scratch(stage.radius)
    channels = grid.channels
    row = (2 * grid.width + 2 * margin) * channels
    for m in range(low, high):
        for t in range(0, grid.width, LANES):
            _filters(m, t, grid, stage, scratch)
            to = (2 * m + margin) * row + (2 * t + margin) * channels
            _mix(m, t, grid, stage.radius, scratch.folded, target, to, 2 * channels, channels, row)


@entry
def score(
    low: int, high: int, grid: Grid, stage: Stage, rank: int, constant: Floats, rest: float, out: Floats
) -> None:
    """Make the cosines of the pixels of the rows of cells ``low`` to ``high``; the features are never stored.

    Args:
        low: First row of cells.
        high: One past the last.
        grid: The stage's arrays, keys made, border repeated. The source has ``rank`` channels of features, then
            one a query.
        stage: The weights.
        rank: Channels that make a feature's length.
        constant: [channels], added to every pixel.
        rest: What all features have beside, along one more axis.
        out: [2*height, 2*width, queries].
    """
    scratch = _scratch(stage.radius)
    channels = grid.channels
    pixels = aligned(STEP * channels)
    mask = np.zeros(channels, np.float32)
    mask[:rank] = f4(1)
    plane = LANES * channels
    for m in range(low, high):
        for t in range(0, grid.width, LANES):
            _filters(m, t, grid, stage, scratch)
            _mix(m, t, grid, stage.radius, scratch.folded, pixels, 0 * m, channels, plane, 2 * plane)
            _cosines(m, t, min(LANES, grid.width - t), pixels, channels, rank, constant, mask, rest, out)


@jit
def _cosines(
    m: int, t: int, cells: int, pixels: Floats, channels: int, rank: int, constant: Floats, mask: Floats, rest: float,
    out: Floats,
) -> None:  # fmt: skip
    """Divide the queries' channels of a unit's pixels by the features' lengths."""
    vectors = -(-rank // LANES)
    for k in range(tiles.CLASSES):
        y = 2 * m + k // 2
        for lane in range(cells):
            x = 2 * (t + lane) + k % 2
            of = (k * LANES + lane) * channels
            square = _square(pixels, of, constant, mask, vectors) + f4(rest * rest)
            factor = f4(1) / max(np.sqrt(square), NORM_FLOOR)
            for q in range(out.shape[2]):
                out[y, x, q] = (pixels[of + rank + q] + constant[rank + q]) * factor
