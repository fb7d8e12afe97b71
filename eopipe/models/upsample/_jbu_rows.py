"""One doubling of the fused joint bilateral upsampler, by rows of source cells (FeatUp, arXiv 2403.10516).

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

from typing import TYPE_CHECKING

import numpy as np

from eopipe.models._simd import entry, jit
from eopipe.models.upsample import _jbu_tiles as tiles
from eopipe.models.upsample._jbu_filters import make_filters, make_scratch
from eopipe.models.upsample._jbu_layout import BROAD, LANES, STEP, SourceGrid, StageWeights, aligned, f4, half

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

NORM_FLOOR = f4(1e-12)
PANEL = 5 if BROAD else 2  # vectors: 32 registers hold 4x5 accumulators and what they need, 16 hold 4x2

_mix2, _mix3, _mix4, _mix5 = (
    tiles.make_product(LANES, n, tiles.CLASSES, a_row=LANES, a_k=STEP, pairs=True, add=False, gelu=False)
    for n in (2, 3, 4, 5)
)
_square = tiles.make_square(LANES)


@jit
def _mix(
    m: int,
    t: int,
    grid: SourceGrid,
    radius: int,
    folded: Floats,
    out: Floats,
    o0: int,
    cell: int,
    o_row: int,
    o_pair: int,
) -> None:
    """Filter the source into the unit's pixels, cell ``n`` at ``o0 + n*cell``."""
    reach = 2 * half(radius) + 1
    step = reach * STEP
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
                _mix2(folded, lane, step, grid.source, b0, channels, row, reach, reach, out, c0, o_row, o_pair)
            elif n == 5:
                _mix5(folded, lane, step, grid.source, b0, channels, row, reach, reach, out, c0, o_row, o_pair)
            elif n == 4:
                _mix4(folded, lane, step, grid.source, b0, channels, row, reach, reach, out, c0, o_row, o_pair)
            else:
                _mix3(folded, lane, step, grid.source, b0, channels, row, reach, reach, out, c0, o_row, o_pair)
        done += n


@entry
def double(low: int, high: int, grid: SourceGrid, stage: StageWeights, margin: int, target: Floats) -> None:
    """Make the pixels of the rows of cells ``low`` to ``high``.

    Args:
        low: First row of cells.
        high: One past the last.
        grid: The stage's arrays, keys made, border repeated.
        stage: The weights.
        margin: Pixels around the target, left to be filled.
        target: [2*height + 2*margin, 2*width + 2*margin, channels], flat.
    """
    scratch = make_scratch(stage.radius)
    channels = grid.channels
    row = (2 * grid.width + 2 * margin) * channels
    for m in range(low, high):
        for t in range(0, grid.width, LANES):
            make_filters(m, t, grid, stage, scratch)
            to = (2 * m + margin) * row + (2 * t + margin) * channels
            _mix(m, t, grid, stage.radius, scratch.folded, target, to, 2 * channels, channels, row)


@entry
def score(
    low: int, high: int, grid: SourceGrid, stage: StageWeights, rank: int, constant: Floats, rest: float, out: Floats
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
    scratch = make_scratch(stage.radius)
    channels = grid.channels
    pixels = aligned(STEP * channels)
    mask = np.zeros(channels, np.float32)
    mask[:rank] = f4(1)
    plane = LANES * channels
    for m in range(low, high):
        for t in range(0, grid.width, LANES):
            make_filters(m, t, grid, stage, scratch)
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
