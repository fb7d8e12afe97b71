"""From a window of source pixels to lattice pixels: numba kernels in integer arithmetic.

A source coordinate is rounded to 1/1024 of a source pixel and the weights are integers,
so that the sum of products does not depend on the order, the platform or the library.
With :mod:`eopipe.cube.geometry` this makes a value a function of the absolute pixel
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
_FAR = 1e12


@njit(nogil=True, cache=True)
def _place(nodes: NDArray[Any], row: int, col: int, step: int) -> float:
    """Bilinear interpolation of node values at the centre of pixel (row, col) of the cell."""
    r, c = row // step, col // step
    fr, fc = (row - r * step + 0.5) / step, (col - c * step + 0.5) / step
    upper = nodes[r, c] + (nodes[r, c + 1] - nodes[r, c]) * fc
    lower = nodes[r + 1, c] + (nodes[r + 1, c + 1] - nodes[r + 1, c]) * fc
    return float(upper + (lower - upper) * fr)


@njit(nogil=True, cache=True)
def bilinear(  # noqa: PLR0913, C901, PLR0912  (one flat loop is what numba compiles well)
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
    top, left = origin[0] * ONE, origin[1] * ONE
    wr, wc = widen
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            out[y, x] = _INVALID
            fr = _place(rows, corner[0] + y, corner[1] + x, step)
            fc = _place(cols, corner[0] + y, corner[1] + x, step)
            if not (abs(fr) < _FAR and abs(fc) < _FAR):
                continue
            r, c = int(np.floor(fr * ONE + 0.5)) - top, int(np.floor(fc * ONE + 0.5)) - left
            nr, nc = r >> 10, c >> 10
            if nr < 0 or nc < 0 or nr >= height or nc >= width:
                continue
            nearest = np.int64(source[nr, nc])
            if has_nodata and nearest == nodata:
                continue
            # Distances are counted between pixel centres, half a pixel from the edges.
            r -= ONE // 2
            c -= ONE // 2
            if wr == ONE and wc == ONE:
                r0, c0 = r >> 10, c >> 10
                b, d = r & (ONE - 1), c & (ONE - 1)
                if r0 >= 0 and c0 >= 0 and r0 + 1 < height and c0 + 1 < width:
                    v00, v01 = np.int64(source[r0, c0]), np.int64(source[r0, c0 + 1])
                    v10, v11 = np.int64(source[r0 + 1, c0]), np.int64(source[r0 + 1, c0 + 1])
                    if not has_nodata or (v00 != nodata and v01 != nodata and v10 != nodata and v11 != nodata):
                        upper, lower = v00 * (ONE - d) + v01 * d, v10 * (ONE - d) + v11 * d
                        total = upper * (ONE - b) + lower * b
                        out[y, x] = table[((total + (1 << 19)) >> 20) - lowest]
                        continue
            r0, r1 = -((wr - r) // ONE), (r + wr) // ONE
            c0, c1 = -((wc - c) // ONE), (c + wc) // ONE
            total, weight = np.int64(0), np.int64(0)
            for i in range(max(r0, 0), min(r1, height - 1) + 1):
                wi = wr - abs(i * ONE - r)
                for j in range(max(c0, 0), min(c1, width - 1) + 1):
                    value = np.int64(source[i, j])
                    if has_nodata and value == nodata:
                        continue
                    w = wi * (wc - abs(j * ONE - c))
                    total += w * value
                    weight += w
            if weight > 0:
                out[y, x] = table[(2 * total + weight) // (2 * weight) - lowest]


@njit(nogil=True, cache=True)
def nearest(  # noqa: PLR0913  (the same facts as bilinear's)
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
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            fr = _place(rows, corner[0] + y, corner[1] + x, step)
            fc = _place(cols, corner[0] + y, corner[1] + x, step)
            ok[y, x] = False
            if not (abs(fr) < _FAR and abs(fc) < _FAR):
                continue
            r = (int(np.floor(fr * ONE + 0.5)) >> 10) - origin[0]
            c = (int(np.floor(fc * ONE + 0.5)) >> 10) - origin[1]
            if r >= 0 and c >= 0 and r < height and c < width:
                out[y, x] = source[r, c]
                ok[y, x] = True
