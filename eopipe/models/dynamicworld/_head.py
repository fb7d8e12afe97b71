"""Both ends of the fast Dynamic World: digital numbers in, probabilities out.

`prepare` is the input normalisation in one pass. `head_row` turns the last features at half resolution into
probabilities at full resolution without ever upsampling the features (`eopipe.models.dynamicworld._rows` says why
that is exact).
"""

# ruff: noqa: PLR0913, PLR0917  (kernels take flat arrays, offsets and pitches, as BLAS does)

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eopipe.models import _simd
from eopipe.models._simd import entry, jit, jit_sums

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

f4 = np.float32
CLASSES = 9
FEATURES = 144
NORM_EPSILON = f4(1e-6)

LANES = _simd.vector_width()
PANEL = 16  # the 9 logits, filled up to whole vectors
TILE_ROWS = 6
_tile = _simd.make_conv_tile(LANES, PANEL // LANES, TILE_ROWS, mish=False)


class Head(NamedTuple):
    """The last two rows of features and what is known of each; a pixel more at each end repeats the border."""

    features: Floats  # [2, width + 2, 144], flat
    logits: Floats  # [2, 9, width + 2]
    square: Floats  # [2, width + 2]: f[j]·f[j]
    beside: Floats  # [2, width + 2]: f[j]·f[j + 1]
    across: Floats  # [3, width + 2]: f[j]·g[j], f[j]·g[j + 1], f[j + 1]·g[j], g being the row below
    product: Floats  # scratch [width + 2, 16], flat
    blend: Floats  # scratch [11, width + 2]: 9 logits, maximum, sum


@jit
def head_state(width: int) -> Head:
    """Make the state for rows of ``width`` pixels at half resolution."""
    n = width + 2
    return Head(
        np.zeros(2 * n * FEATURES, f4),
        np.zeros((2, CLASSES, n), f4),
        np.zeros((2, n), f4),
        np.zeros((2, n), f4),
        np.zeros((3, n), f4),
        np.zeros(n * PANEL, f4),
        np.zeros((CLASSES + 2, n), f4),
    )


@jit
def head_offset(y: int, width: int) -> int:
    """Offset of the first pixel of row ``y`` in ``Head.features``."""
    return (y % 2) * (width + 2) * FEATURES + FEATURES


@entry
def prepare(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], scale: Floats, offset: Floats, out: Floats
) -> None:
    """Normalise digital numbers into the padded, channels-last window.

    Args:
        pixels: Digital numbers [9, h, w]; negative ones count as 0.
        valid: [h, w]; where false, or where a band is not finite, all nine values become 0.
        scale: [9] and ``offset`` [9] such that the result is ``1/(1 + exp(-(scale*ln(0.005*DN + 1) + offset)))``.
        offset: See ``scale``.
        out: [h + 2, w + 2, 9] flat, zero at the border, which stays so.
    """
    bands, height, width = pixels.shape
    padded = out.reshape(height + 2, width + 2, bands)
    usable = np.empty(width, np.bool_)
    row = np.empty(width, f4)
    for y in range(height):
        for x in range(width):
            usable[x] = valid[y, x]
        for band in range(bands):
            for x in range(width):
                usable[x] = usable[x] and np.isfinite(pixels[band, y, x])
        for band in range(bands):
            a, b = scale[band], offset[band]
            for x in range(width):
                number = max(pixels[band, y, x], f4(0)) * f4(0.005) + f4(1)
                argument = -(a * _simd.log(number) + b)
                row[x] = f4(1) / (f4(1) + _simd.exp(argument))
            for x in range(width):
                padded[y + 1, x + 1, band] = row[x] if usable[x] else f4(0)


@jit
def head_row(
    y: int, height: int, width: int, crop: int, weight: Floats, bias: Floats, head: Head, out: Floats
) -> None:
    """Take row ``y`` of the features, already in ``head.features``; give the output rows now determined.

    Args:
        y: Row at half resolution.
        height: Rows at half resolution.
        width: Columns at half resolution.
        crop: Half the number of pixels left out of the output on each side.
        weight: [144, 16] flat.
        bias: [9].
        head: The state.
        out: Probabilities [9, 2*(height - crop), 2*(width - crop)] of the inside.
    """
    slot = y % 2
    _describe(slot, width, weight, head)
    for upper in range(y - 1, y + 1 if y == height - 1 else y):
        # the first and the last row are their own neighbours outside the image
        other = slot if upper in (-1, y) else 1 - slot
        _emit(other, slot, upper, height, width, crop, bias, head, out)


@jit
def _describe(slot: int, width: int, weight: Floats, head: Head) -> None:
    """Repeat the border pixels of a row, then find its logits (without bias) and inner products."""
    n = width + 2
    start = slot * n * FEATURES
    f = head.features[start : start + n * FEATURES].reshape(n, FEATURES)
    for c in range(FEATURES):
        f[0, c] = f[1, c]
        f[n - 1, c] = f[n - 2, c]
    for m in range(0, n, TILE_ROWS):
        r = min(m, n - TILE_ROWS)
        _tile(
            head.features, start + r * FEATURES, FEATURES, 0, 1, weight, 0, FEATURES, _ZEROS, 0,
            head.product, r * PANEL, PANEL,
        )  # fmt: skip
    product = head.product.reshape(n, PANEL)
    for k in range(CLASSES):
        for j in range(n):
            head.logits[slot, k, j] = product[j, k]
    _lengths(f, head.square[slot], head.beside[slot])


@jit_sums
def _lengths(f: Floats, squares: Floats, besides: Floats) -> None:
    """Inner products of each pixel of a row [n, 144] with itself and with the one to its right."""
    n = len(f)
    for j in range(n):
        square = beside = f4(0)
        following = min(j + 1, n - 1)
        for c in range(FEATURES):
            square += f[j, c] * f[j, c]
            beside += f[j, c] * f[following, c]
        squares[j] = square
        besides[j] = beside


@jit_sums
def _across(upper: int, lower: int, width: int, head: Head) -> None:
    """Inner products of each pixel of a row with those below it, below right, and of the right one with below."""
    n = width + 2
    features = head.features.reshape(2, n, FEATURES)
    f, g = features[upper], features[lower]
    for j in range(n):
        down = right = left = f4(0)
        following = min(j + 1, n - 1)
        for c in range(FEATURES):
            down += f[j, c] * g[j, c]
            right += f[j, c] * g[following, c]
            left += f[following, c] * g[j, c]
        head.across[0, j], head.across[1, j], head.across[2, j] = down, right, left


@jit
def _emit(
    upper: int, lower: int, y: int, height: int, width: int, crop: int, bias: Floats, head: Head, out: Floats
) -> None:  # fmt: skip
    """Give the output rows 2y + 1 and 2y + 2, which lie between rows ``y`` and ``y + 1`` of the features."""
    _across(upper, lower, width, head)
    for below in range(2):
        row = 2 * y + 1 + below
        if row < 2 * crop or row >= 2 * (height - crop):
            continue
        v = f4(0.25) if below else f4(0.75)
        for right in range(2):
            _softmax(upper, lower, width, v, f4(0.25) if right else f4(0.75), bias, head)
            # quad j lies right of padded pixel j: its columns are 2j - 1 and 2j
            for k in range(CLASSES):
                for j in range(crop + 1 - right, width - crop + 1 - right):
                    out[k, row - 2 * crop, 2 * (j - crop) - 1 + right] = head.blend[k, j]


@jit
def _softmax(upper: int, lower: int, width: int, v: np.float32, u: np.float32, bias: Floats, head: Head) -> None:
    """Probabilities of a row of quads at weight ``v`` of the upper row and ``u`` of the left column."""
    blend = head.blend
    maximum, total = blend[CLASSES], blend[CLASSES + 1]
    v2, u2 = f4(1) - v, f4(1) - u
    n = width + 1
    for j in range(n):
        s = v * v * (u * u * head.square[upper, j] + u2 * u2 * head.square[upper, j + 1])
        s += v2 * v2 * (u * u * head.square[lower, j] + u2 * u2 * head.square[lower, j + 1])
        s += f4(2) * u * u2 * (v * v * head.beside[upper, j] + v2 * v2 * head.beside[lower, j])
        s += f4(2) * v * v2 * (u * u * head.across[0, j] + u2 * u2 * head.across[0, j + 1])
        s += f4(2) * v * v2 * u * u2 * (head.across[1, j] + head.across[2, j])
        total[j] = f4(1) / np.sqrt(max(s, NORM_EPSILON))
        maximum[j] = f4(-1e30)
    for k in range(CLASSES):
        z = head.logits[:, k]
        for j in range(n):
            above = u * z[upper, j] + u2 * z[upper, j + 1]
            under = u * z[lower, j] + u2 * z[lower, j + 1]
            value = (v * above + v2 * under) * total[j] + bias[k]
            blend[k, j] = value
            maximum[j] = max(maximum[j], value)
    for j in range(n):
        total[j] = f4(0)
    for k in range(CLASSES):
        for j in range(n):
            value = _simd.exp(blend[k, j] - maximum[j])
            blend[k, j] = value
            total[j] += value
    for k in range(CLASSES):
        for j in range(n):
            blend[k, j] /= total[j]


_ZEROS = np.zeros(PANEL, f4)  # the head's bias follows the division by the length
