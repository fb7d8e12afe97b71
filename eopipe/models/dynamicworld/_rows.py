"""Dynamic World v1, one pass down the rows: the fast CPU form of `eopipe.models.dynamicworld.net`.

The plain module makes some 60 trips through memory, each over up to 80 MB of feature maps. Here the whole net
advances row by row: a layer keeps the three or four rows that the next one needs (rings), so that everything
between the input and the probabilities stays in the caches, and every layer is one of the two kernels
of `eopipe.models._simd`. Two more savings are exact algebra, not approximation:

* a block's skip and its first pointwise layer read the same row: one product of twice the width;
* the head is linear and the bilinear upsampling too, so 9 logits are upsampled instead of 144 features, and
  the length of an upsampled feature follows from the products of its four neighbours:
  ``|sum w_i f_i|² = sum w_i w_j f_i·f_j``.

All functions below index rows at half resolution; [height, width] is the half-resolution size.
"""

# ruff: noqa: PLR0913, PLR0917  (kernels take flat arrays, offsets and pitches, as BLAS does)

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eopipe.models import _simd
from eopipe.models._simd import entry, jit
from eopipe.models.dynamicworld._head import PANEL, head_offset, head_row, head_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

f4 = np.float32
LANES = _simd.vector_width()
# Tiles that fill the registers: 32 of 16 floats hold 8x3 or 6x4 accumulators, 16 of 8 floats hold 6x2,
# 32 of 4 floats (NEON) or 16 (SSE) hold 6x2 safely.
WIDE = 3 * LANES if LANES == 16 else 2 * LANES
WIDE_ROWS = 8 if LANES == 16 else 6
STEM = 4 * LANES if LANES == 16 else 2 * LANES
STEM_ROWS = 6
MIN_SIDE = 16  # the smallest window side: a tile of 8 half-resolution rows must fit

_wide = _simd.make_conv_tile(LANES, WIDE // LANES, WIDE_ROWS)
_stem = _simd.make_conv_tile(LANES, STEM // LANES, STEM_ROWS)
_depthwise = _simd.make_depthwise_run(LANES, add=False)
_depthwise_add = _simd.make_depthwise_run(LANES, add=True)


class BlockWeights(NamedTuple):
    """A block's weights: ``entry`` is the skip and the first pointwise layer side by side.

    Pointwise: packed [panels, k, WIDE]; depthwise: [9, channels]; all flat. ``inputs`` are the channels that come
    in, ``margin`` the half-resolution pixels by which the output must exceed a cropped window (what the layers
    after it see), ``pitch`` the values to a pixel where the output goes.
    """

    inputs: int
    margin: int
    pitch: int

    entry: Floats
    entry_bias: Floats
    pw2: Floats
    pw2_bias: Floats
    pw3: Floats
    pw3_bias: Floats
    dw1: Floats
    dw1_bias: Floats
    dw2: Floats
    dw2_bias: Floats
    dw3: Floats
    dw3_bias: Floats


class Rings(NamedTuple):
    """What a block remembers: rings of rows [width + 2, channels] with a zero pixel at each end.

    The last row of a ring stays zero and stands for what lies above and below the image. ``entry`` holds 4 rows
    of skip and first layer (the skip waits for the third layer), ``mid2`` and ``mid3`` 3 rows of the second and
    third; ``row`` is scratch, [width, channels].
    """

    entry: Floats
    mid2: Floats
    mid3: Floats
    row: Floats


class Weights(NamedTuple):
    """All weights, packed for the kernels."""

    stem: Floats
    stem_bias: Floats
    b1: BlockWeights
    b2: BlockWeights
    b3: BlockWeights
    side_pw: Floats
    side_pw_bias: Floats
    side_dw: Floats
    side_dw_bias: Floats
    head: Floats
    head_bias: Floats


def _panels(matrix: Floats, panel: int) -> Floats:
    """[k, n] → flat [n/panel, k, panel], zero-filled to whole panels."""
    k, n = matrix.shape
    whole = np.zeros((k, -(-n // panel) * panel), f4)
    whole[:, :n] = matrix
    return np.ascontiguousarray(whole.reshape(k, -1, panel).transpose(1, 0, 2)).reshape(-1)


def pack(arrays: Mapping[str, Floats]) -> Weights:
    """Arrange the published arrays ([out, in, kh, kw]) for the kernels.

    Args:
        arrays: ``<layer>.weight`` and ``<layer>.bias`` of the 25 layers, float32.

    Returns:
        The packed weights.
    """

    def bias(name: str) -> Floats:
        return np.ascontiguousarray(arrays[name + ".bias"], f4)

    def pointwise(*names: str) -> tuple[Floats, Floats]:
        matrix = np.concatenate([arrays[name + ".weight"][:, :, 0, 0].T for name in names], axis=1)
        return _panels(matrix, WIDE), np.concatenate([bias(name) for name in names])

    def depthwise(name: str) -> tuple[Floats, Floats]:
        taps = arrays[name + ".weight"].reshape(-1, 9).T
        return np.ascontiguousarray(taps, f4).reshape(-1), bias(name)

    def block(name: str, margin: int, pitch: int) -> BlockWeights:
        return BlockWeights(
            arrays[f"{name}_skip.weight"].shape[1],
            margin,
            pitch,
            *pointwise(f"{name}_skip", f"{name}_pw1"),
            *pointwise(f"{name}_pw2"),
            *pointwise(f"{name}_pw3"),
            *depthwise(f"{name}_dw1"),
            *depthwise(f"{name}_dw2"),
            *depthwise(f"{name}_dw3"),
        )

    stem = arrays["stem.weight"].transpose(2, 3, 1, 0).reshape(81, 64)
    head = arrays["head.weight"][:, :, 0, 0].T
    return Weights(
        _panels(stem, STEM),
        bias("stem"),
        block("b1", 7, 96),
        block("b2", 4, 192),
        block("b3", 1, 144),
        *pointwise("side_pw"),
        *depthwise("side_dw"),
        _panels(head, PANEL),
        bias("head"),
    )


@jit
def _span(size: int, crop: int, margin: int) -> tuple[int, int]:
    """First and one past the last index of a layer that the cropped output depends on, half resolution."""
    return max(0, crop - margin), min(size, size - crop + margin)


@jit
def _pointwise(a: Floats, a0: int, k: int, b: Floats, bias: Floats, c: Floats, c0: int, width: int) -> None:
    """Mish of one row of a pointwise layer: [width, k] of ``a`` → [width, n] of ``c``, n from the bias."""
    n = bias.size
    for p in range(n // WIDE):
        for m in range(0, width, WIDE_ROWS):
            # the last tile is moved back to stay inside the row; what it computes twice is equal
            r = min(m, width - WIDE_ROWS)
            at = c0 + r * n + p * WIDE
            _wide(a, a0 + r * k, k, 0, 1, b, p * k * WIDE, k, bias, p * WIDE, c, at, n)


@jit
def _depthwise_row(
    x: Floats, above: int, centre: int, below: int, ldx: int, w: Floats, bias: Floats, y: Floats, y0: int, ldy: int,
    width: int,
) -> None:  # fmt: skip
    """Mish of one row of a depthwise layer; offsets point at the pixel left of the first."""
    n = bias.size
    for c in range(0, n, LANES):
        _depthwise(x, above + c, centre + c, below + c, ldx, w, c, n, bias, c, x, 0, 0, y, y0 + c, ldy, width)


@jit
def _ring(y: int, size: int, depth: int) -> int:
    """Slot of row ``y`` in a ring of ``depth`` rows; the slot after them is the zero row around the image."""
    return y % depth if 0 <= y < size else depth


@jit
def _block_rows(
    t: int, height: int, width: int, crop: int, x: Floats, w: BlockWeights, rings: Rings, out: Floats, out0: int
) -> None:  # fmt: skip
    """Take row ``t`` of the block's input, if it has one, and give row ``t - 3`` of its output, if it has one.

    ``x`` is that row, [width, w.inputs]; ``out`` gets its row at ``out0``.
    """
    n, k, margin, ldo = w.dw1_bias.size, w.inputs, w.margin, w.pitch
    start = 0 * n  # a number, not a literal: numba compiles a function anew for each literal it is given
    big, row = (width + 2) * 2 * n, (width + 2) * n
    y = t
    lo, hi = _span(height, crop, margin + 3)
    left, right = _span(width, crop, margin + 3)
    if lo <= y < hi:
        at = (y % 4) * big + (left + 1) * 2 * n
        _pointwise(x, left * k, k, w.entry, w.entry_bias, rings.entry, at, right - left)
    y = t - 1
    lo, hi = _span(height, crop, margin + 2)
    left, right = _span(width, crop, margin + 2)
    if lo <= y < hi:
        above, centre, below = (_ring(y - 1, height, 4), _ring(y, height, 4), _ring(y + 1, height, 4))
        at = left * 2 * n + n
        _depthwise_row(
            rings.entry, above * big + at, centre * big + at, below * big + at, 2 * n,
            w.dw1, w.dw1_bias, rings.row, start, n, right - left,
        )  # fmt: skip
        at = (y % 3) * row + (left + 1) * n
        _pointwise(rings.row, start, n, w.pw2, w.pw2_bias, rings.mid2, at, right - left)
    y = t - 2
    lo, hi = _span(height, crop, margin + 1)
    left, right = _span(width, crop, margin + 1)
    if lo <= y < hi:
        above, centre, below = (_ring(y - 1, height, 3), _ring(y, height, 3), _ring(y + 1, height, 3))
        at = left * n
        _depthwise_row(
            rings.mid2, above * row + at, centre * row + at, below * row + at, n,
            w.dw2, w.dw2_bias, rings.row, start, n, right - left,
        )  # fmt: skip
        at = (y % 3) * row + (left + 1) * n
        _pointwise(rings.row, start, n, w.pw3, w.pw3_bias, rings.mid3, at, right - left)
    y = t - 3
    lo, hi = _span(height, crop, margin)
    left, right = _span(width, crop, margin)
    if lo <= y < hi:
        above, centre, below = (_ring(y - 1, height, 3), _ring(y, height, 3), _ring(y + 1, height, 3))
        skip = (y % 4) * big + (left + 1) * 2 * n
        for c in range(0, n, LANES):
            at = left * n + c
            _depthwise_add(
                rings.mid3, above * row + at, centre * row + at, below * row + at, n, w.dw3, c, n, w.dw3_bias, c,
                rings.entry, skip + c, 2 * n, out, out0 + left * ldo + c, ldo, right - left,
            )  # fmt: skip


@jit
def _stem_row(y: int, height: int, width: int, x: Floats, w: Floats, bias: Floats, ring: Floats) -> None:
    """Full-resolution row ``y`` of Mish(stem) into the ring of 4 rows [width, 64]; zeros outside the image."""
    row = (y % 4) * width * 64
    if y < 0 or y >= height:
        ring[row : row + width * 64] = f4(0)
        return
    pitch = (width + 2) * 9
    for p in range(64 // STEM):
        for m in range(0, width, STEM_ROWS):
            r = min(m, width - STEM_ROWS)
            _stem(
                x, y * pitch + r * 9, 9, pitch, 3, w, p * 81 * STEM, 27, bias, p * STEM,
                ring, row + r * 64 + p * STEM, 64,
            )  # fmt: skip


@jit
def _half_row(y: int, height: int, width: int, ring: Floats, column: Floats, out: Floats) -> None:
    """Antialiased bilinear 1/2 of the stem: row ``y`` of [width, 64] from the ring's four rows.

    A triangle of radius 2 centred between two pixels weighs 1/8, 3/8, 3/8, 1/8; at the border the weights of
    the pixels that exist are scaled to sum to 1 (as TensorFlow's and torch's antialiased resize do).
    """
    rows = ring.reshape(4, -1)
    scale = f4(1 / 7) if y in (0, height - 1) else f4(1 / 8)
    r0, r1, r2, r3 = rows[(2 * y - 1) % 4], rows[2 * y % 4], rows[(2 * y + 1) % 4], rows[(2 * y + 2) % 4]
    inner = column[64 : 64 + r0.size]
    for i in range(r0.size):
        inner[i] = (r0[i] + r3[i] + f4(3) * (r1[i] + r2[i])) * scale
    pixels = column.reshape(-1, 64)  # one zero pixel at each end
    target = out.reshape(-1, 64)
    for j in range(width):
        weight = f4(1 / 7) if j in (0, width - 1) else f4(1 / 8)
        for c in range(64):
            outer = pixels[2 * j, c] + pixels[2 * j + 3, c]
            target[j, c] = (outer + f4(3) * (pixels[2 * j + 1, c] + pixels[2 * j + 2, c])) * weight


@jit
def _rings(width: int, channels: int) -> Rings:
    row = (width + 2) * channels
    return Rings(
        np.zeros(5 * 2 * row, f4), np.zeros(4 * row, f4), np.zeros(4 * row, f4), np.zeros(width * channels, f4)
    )


@entry
def run(x: Floats, height: int, width: int, crop: int, w: Weights, out: Floats) -> None:
    """Map one normalised window.

    Args:
        x: The normalised window with one zero pixel around it, [2*height + 2, 2*width + 2, 9], flat.
        height: Half the window's height.
        width: Half the window's width; both at least MIN_SIDE / 2.
        crop: Half the number of pixels to leave out of the output on each side.
        w: The packed weights.
        out: Probabilities, [9, 2*(height - crop), 2*(width - crop)] of the full-resolution inside.
    """
    stem = np.zeros(4 * 2 * width * 64, f4)
    column = np.zeros((2 * width + 2) * 64, f4)
    half = np.zeros(width * 64, f4)
    r1, r2, r3 = _rings(width, 96), _rings(width, 144), _rings(width, 144)
    y1, joined = np.zeros(width * 96, f4), np.zeros(width * 192, f4)
    # the side branch's first layer runs with the stem, its second when its row is wanted, 5 rows later
    side_row = (width + 2) * 48
    side = np.zeros(9 * side_row, f4)
    head = head_state(width)
    start = 0 * width  # not a literal, see `_block_rows`
    top, bottom = _span(height, crop, 10)
    for y in range(2 * top - 1, 2 * top + 1):
        _stem_row(y, 2 * height, 2 * width, x, w.stem, w.stem_bias, stem)
    for t in range(top, bottom + 9):
        if t < bottom:
            for y in (2 * t + 1, 2 * t + 2):
                _stem_row(y, 2 * height, 2 * width, x, w.stem, w.stem_bias, stem)
            _half_row(t, height, width, stem, column, half)
            _pointwise(half, start, 64 + start, w.side_pw, w.side_pw_bias, side, (t % 8) * side_row + 48, width)
        _block_rows(t, height, width, crop, half, w.b1, r1, y1, start)
        _block_rows(t - 3, height, width, crop, y1, w.b2, r2, joined, start)
        y = t - 6
        lo, hi = _span(height, crop, 4)
        if lo <= y < hi:
            _depthwise_row(
                side, _ring(y - 1, height, 8) * side_row, _ring(y, height, 8) * side_row,
                _ring(y + 1, height, 8) * side_row, 48 + start, w.side_dw, w.side_dw_bias,
                joined, 144 + start, 192 + start, width,
            )  # fmt: skip
        y = t - 9
        _block_rows(t - 6, height, width, crop, joined, w.b3, r3, head.features, head_offset(y, width))
        lo, hi = _span(height, crop, 1)
        if lo <= y < hi:
            head_row(y, height, width, crop, w.head, w.head_bias, head, out)
