"""A window's patches in a basis of their own, for the CPU (the algebra is `jbu_torch`'s).

Lengths need the triangle R of ``[(I + 0.1 W) P , 0.1 b] = Q R`` only, never Q: the text is multiplied by the columns
themselves. The triangle is Householder's, which asks nothing of the columns' rank. One reflection is applied while
the products for the next are summed, so that the matrix goes through the cache once a column; and no library's
threads take part, so that the same CPU gives the same bytes whoever calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe.models._simd import entry, jit
from eopipe.models.upsample import _jbu_tiles as tiles
from eopipe.models.upsample._jbu_layout import BROAD, LANES, aligned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

f4 = np.float32
ROWS = 16 if BROAD else 8
WIDE = 4

_product = tiles.make_product(LANES, 1, ROWS, a_row=1, a_k=ROWS, pairs=False, add=False, gelu=False)
_reflect_wide = tiles.make_reflect(LANES, WIDE)
_reflect_one = tiles.make_reflect(LANES, 1)


def pack_rows(matrix: Floats) -> Floats:
    """Arrange the rows of a matrix [m, k] for `factor`: flat [m/ROWS, k, ROWS], zero-filled to whole tiles."""
    m, k = matrix.shape
    whole = np.zeros((-(-m // ROWS) * ROWS, k), f4)
    whole[:m] = matrix
    return np.ascontiguousarray(whole.reshape(-1, ROWS, k).transpose(0, 2, 1)).reshape(-1)


@jit
def _times(a: Floats, rows: int, k: int, b: Floats, pitch: int, c: Floats) -> None:
    """Write the product of packed rows and ``b`` [k, pitch] to ``c`` [rows in whole tiles, pitch]."""
    for n in range(0, pitch, LANES):
        for row in range(0, rows, ROWS):
            _product(a, row * k, 0, b, n, pitch, 0, k, 1, c, row * pitch + n, pitch, 0)


@jit
def _reflector(a: Floats, height: int, pitch: int, k: int, u: Floats, w: Floats, v: Floats) -> float:
    """Make ``v`` for column ``k``, to which the reflection before, ``u`` times ``w``, is still owed.

    Returns:
        What stands on the diagonal; ``v`` is scaled so that ``I - v vᵀ`` is the reflection.
    """
    total = 0.0
    for i in range(k, height):
        value = a[i * pitch + k] - u[i] * w[k]
        v[i] = value
        total += float(value) * float(value)
    if total == 0.0:
        return 0.0
    first = float(v[k])
    diagonal: float = -np.sqrt(total) if first > 0 else np.sqrt(total)
    # vᵀv = 2 (total - first*diagonal) before scaling, and must be 2
    scale = 1.0 / np.sqrt(total - first * diagonal)
    v[k] = f4(first - diagonal)
    for i in range(k, height):
        v[i] = f4(float(v[i]) * scale)
    return diagonal


@jit
def _triangle(a: Floats, height: int, width: int, pitch: int) -> None:
    """Householder's triangle of ``a`` [height, pitch], in place in its first rows; below it stays what is left."""
    steps = min(height, width)
    u, v = np.zeros(height, np.float32), np.zeros(height, np.float32)
    w, following = np.zeros(pitch, np.float32), np.zeros(pitch, np.float32)
    for k in range(steps):
        diagonal = _reflector(a, height, pitch, k, u, w, v)
        n = k // LANES * LANES
        while n < pitch:
            if n + WIDE * LANES <= pitch:
                _reflect_wide(a, k * pitch + n, pitch, height - k, u, v, k, w, following, n)
                n += WIDE * LANES
            else:
                _reflect_one(a, k * pitch + n, pitch, height - k, u, v, k, w, following, n)
                n += LANES
        # row k is finished: its own reflection at once, the diagonal as it must be
        for n in range(k + 1, width):
            a[k * pitch + n] -= v[k] * following[n]
        a[k * pitch + k] = f4(diagonal)
        u, v = v, u
        w, following = following, w


@entry
def factor(
    patches: Floats, mixing: Floats, bias: Floats, text: Floats, queries: int, channels: int, source: Floats,
    constant: Floats,
) -> float:  # fmt: skip
    """Express a window in the span of its own patches.

    Args:
        patches: P [C, patches].
        mixing: ``I + 0.1 W`` as `pack_rows` arranges it.
        bias: ``0.1 b`` [C].
        text: [queries, C] as `pack_rows` arranges it.
        queries: Rows of the text.
        channels: Values to a patch of ``source``.
        source: [patches, channels], filled: min(C, patches) channels of R, then the queries' products, then zeros.
        constant: [channels] likewise, of the last column.

    Returns:
        R's last value, if it has a row more than channels were given for it: all features have it beside; else 0.
    """
    height, count = patches.shape
    width = count + 1
    pitch = -(-width // LANES) * LANES
    rank = min(height, count)
    tall = -(-height // ROWS) * ROWS
    columns, mixed = aligned(height * pitch), aligned(tall * pitch)
    products = aligned(-(-queries // ROWS) * ROWS * pitch)
    for i in range(height):
        for n in range(pitch):
            columns[i * pitch + n] = patches[i, n] if n < count else f4(0)
    _times(mixing, height, height, columns, pitch, mixed)
    for i in range(height):
        mixed[i * pitch + count] = bias[i]
    _times(text, queries, height, mixed, pitch, products)
    _triangle(mixed, height, width, pitch)
    for n in range(width):
        for c in range(channels):
            value = f4(0)
            if c < rank and c <= n:
                value = mixed[c * pitch + n]
            elif rank <= c < rank + queries:
                value = products[(c - rank) * pitch + n]
            if n < count:
                source[n, c] = value
            else:
                constant[c] = value
    return float(mixed[count * pitch + count]) if height > count else 0.0
