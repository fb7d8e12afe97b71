"""From a window of source pixels to lattice pixels: numba kernels in integer arithmetic.

A source coordinate is rounded to 1/1024 of a source pixel and the weights are integers,
so that the sum of products does not depend on the order, the platform or the library.
With :mod:`eopipe.cube.cell_coordinates` this makes a value a function of the absolute pixel
alone: boxes, tiles and workers cannot show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from eopipe.cube.radiometry import INVALID

if TYPE_CHECKING:
    from numpy.typing import NDArray

STEP = 16
"""Distance in pixels of the nodes at which coordinates are computed."""

ONE = 1024
"""Parts that a source pixel is divided into."""

_INVALID = np.uint16(INVALID)
_FAR = 1e9
_BIAS = 2.0**42
_NOWHERE = -(1 << 50)


@njit(nogil=True, cache=True)
def coordinates(nodes: NDArray[Any], row: int, col: int, step: int, start: int, out: NDArray[Any]) -> None:
    """Coordinates of a row of pixel centres in 1/1024 source pixels from ``start`` (a source pixel).

    Nodes are interpolated along the rows of the cell first, then between two of them: the same
    arithmetic for a pixel wherever the row of output begins.
    """
    r = row // step
    fr = (row - r * step + 0.5) / step
    shift = start * ONE - _BIAS - 0.5
    x, width = 0, out.size
    while x < width:
        c = (col + x) // step
        left = nodes[r, c] + (nodes[r + 1, c] - nodes[r, c]) * fr
        right = nodes[r, c + 1] + (nodes[r + 1, c + 1] - nodes[r, c + 1]) * fr
        first = col + x - c * step
        count = min(step - first, width - x)
        if abs(left) < _FAR and abs(right) < _FAR:
            slope = (right - left) / step
            for k in range(count):
                # The bias makes the number positive, so that cutting its fraction off is a floor.
                out[x + k] = np.int64((left + slope * (first + k + 0.5)) * ONE - shift) - np.int64(_BIAS)
        else:
            for k in range(count):
                out[x + k] = _NOWHERE
        x += count


@njit(nogil=True, cache=True, inline="always")
def _mean(source: NDArray[Any], r: int, c: int, wr: int, wc: int, nodata: int, has_nodata: bool) -> int:
    """Weighted mean of the neighbours with data, halves up; the caller knows that there is one."""
    height, width = source.shape
    total, weight = np.int64(0), np.int64(0)
    for i in range(max(-((wr - r) // ONE), 0), min((r + wr) // ONE, height - 1) + 1):
        wi = wr - abs(i * ONE - r)
        for j in range(max(-((wc - c) // ONE), 0), min((c + wc) // ONE, width - 1) + 1):
            value = np.int64(source[i, j])
            if has_nodata and value == nodata:
                continue
            w = wi * (wc - abs(j * ONE - c))
            total += w * value
            weight += w
    return int((2 * total + weight) // (2 * weight))


@njit(nogil=True, cache=True)
def bilinear(  # noqa: PLR0913, PLR0917  (one flat loop is what numba compiles well)
    source: NDArray[Any],
    origin: tuple[int, int],
    rows: NDArray[Any],
    cols: NDArray[Any],
    step: int,
    corner: tuple[int, int],
    widen: tuple[int, int],
    nodata: int,
    has_nodata: bool,
    table: NDArray[Any],
    lowest: int,
    out: NDArray[Any],
) -> None:
    """Resample reflectance bilinearly, leaving no-data out of the sum.

    A pixel has data where the source pixel that its centre falls in has; its value is the
    weighted mean of the neighbours with data. Where the source is finer than the grid the
    triangle is widened to the grid's pixel, as GDAL's warper does.

    Args:
        source: ``[y, x]`` integer DN of a window of the file.
        origin: Row and column of the window in the file.
        rows: Source rows at the nodes of a cell, ``[n, n]``; pixel edges are integers.
        cols: Source columns likewise.
        step: Distance of the nodes.
        corner: Row and column of ``out`` in the cell.
        widen: Half-width of the triangle in 1/1024 source pixels, by rows and columns; 1024 = plain bilinear.
        nodata: DN without data.
        has_nodata: Whether ``nodata`` counts.
        table: Canonical value of each DN.
        lowest: DN that the table starts at.
        out: ``[y, x]`` uint16, written; INVALID where there is no data.
    """
    height, width = source.shape
    wr, wc = widen
    plain = wr == ONE and wc == ONE
    at_r, at_c = np.empty(out.shape[1], np.int64), np.empty(out.shape[1], np.int64)
    for y in range(out.shape[0]):
        coordinates(rows, corner[0] + y, corner[1], step, origin[0], at_r)
        coordinates(cols, corner[0] + y, corner[1], step, origin[1], at_c)
        for x in range(out.shape[1]):
            nr, nc = at_r[x] >> 10, at_c[x] >> 10
            if nr < 0 or nc < 0 or nr >= height or nc >= width or (has_nodata and source[nr, nc] == nodata):
                out[y, x] = _INVALID
                continue
            # Distances are counted between pixel centres, half a pixel from the edges.
            r, c = at_r[x] - ONE // 2, at_c[x] - ONE // 2
            r0, c0 = r >> 10, c >> 10
            if plain and r0 >= 0 and c0 >= 0 and r0 + 1 < height and c0 + 1 < width:
                v00, v01 = np.int64(source[r0, c0]), np.int64(source[r0, c0 + 1])
                v10, v11 = np.int64(source[r0 + 1, c0]), np.int64(source[r0 + 1, c0 + 1])
                some_missing = v00 == nodata or v01 == nodata or v10 == nodata or v11 == nodata  # noqa: PLR1714
                if not (has_nodata and some_missing):
                    b, d = r & (ONE - 1), c & (ONE - 1)
                    upper, lower = v00 * (ONE - d) + v01 * d, v10 * (ONE - d) + v11 * d
                    out[y, x] = table[((upper * (ONE - b) + lower * b + (1 << 19)) >> 20) - lowest]
                    continue
            out[y, x] = table[_mean(source, r, c, wr, wc, nodata, has_nodata) - lowest]


@njit(nogil=True, cache=True)
def nearest(
    source: NDArray[Any],
    origin: tuple[int, int],
    rows: NDArray[Any],
    cols: NDArray[Any],
    step: int,
    corner: tuple[int, int],
    out: NDArray[Any],
    ok: NDArray[Any],
) -> None:
    """Copy to each pixel the source pixel that its centre falls in; ``ok`` is False outside the file."""
    height, width = source.shape
    at_r, at_c = np.empty(out.shape[1], np.int64), np.empty(out.shape[1], np.int64)
    for y in range(out.shape[0]):
        coordinates(rows, corner[0] + y, corner[1], step, origin[0], at_r)
        coordinates(cols, corner[0] + y, corner[1], step, origin[1], at_c)
        for x in range(out.shape[1]):
            r, c = at_r[x] >> 10, at_c[x] >> 10
            ok[y, x] = r >= 0 and c >= 0 and r < height and c < width
            if ok[y, x]:
                out[y, x] = source[r, c]
