"""Where lattice pixels lie in a source file, as a function of the cell alone.

Coordinates are transformed exactly at the nodes of a cell, 16 pixels apart, and
interpolated between them; where that is not good to 1/64 of a pixel (grids of kilometres, poles)
every pixel's corner is a node. GDAL's own approximation depends on the window
it is given, and changed 1 to 81 percent of the pixels with it: this one cannot
(docs/ARCHITECTURE.md, "Reading").
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyproj.exceptions import CRSError

from eopipe.area.crs import is_geographic, same_crs, transformer
from eopipe.cube.resample import ONE, STEP
from eopipe.errors import TileFault
from eopipe.grid import CELL, PixelBox

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray

    from eopipe.grid import Grid

_TOLERANCE = 1 / 64
_FAR = 2.0**40

FINER = 4 / 3
"""Source pixels per grid pixel above which the resampling triangle is widened against aliasing."""


@dataclass(frozen=True)
class Georeference:
    """CRS, transform and shape (rows, columns) of one level of one file, as the file itself says."""

    crs: str
    transform: Affine
    shape: tuple[int, int]


@dataclass(frozen=True)
class CellMap:
    """Source rows and columns at the nodes of one cell.

    Args:
        rows: ``[n, n]`` float64, in source pixels, edges at integers.
        cols: Likewise.
        step: Distance of the nodes in pixels, 16 or 1.
    """

    rows: NDArray[np.float64]
    cols: NDArray[np.float64]
    step: int

    def part(self, cell: PixelBox, box: PixelBox) -> tuple[slice, slice]:
        """Index of the nodes around ``box``, a part of the cell."""
        step = self.step
        return (
            slice((box.row0 - cell.row0) // step, -(-(box.row1 - cell.row0) // step) + 1),
            slice((box.col0 - cell.col0) // step, -(-(box.col1 - cell.col0) // step) + 1),
        )

    def window(
        self, cell: PixelBox, box: PixelBox, shape: tuple[int, int], reach: tuple[int, int]
    ) -> PixelBox | None:
        """The source pixels that resampling ``box`` may touch, clipped to the file; None if there are none."""
        index = self.part(cell, box)
        spans = [
            _span(nodes[index], margin, size)
            for nodes, margin, size in zip((self.rows, self.cols), reach, shape, strict=True)
        ]
        if spans[0] is None or spans[1] is None:
            return None
        window = PixelBox(spans[0][0], spans[1][0], spans[0][1], spans[1][1])
        return None if window.empty else window

    @property
    def scale(self) -> tuple[float, float]:
        """Source pixels per grid pixel along the source's rows and columns, at the middle of the cell."""
        n = self.rows.shape[0] // 2
        down_r, right_r = self.rows[n + 1, n] - self.rows[n, n], self.rows[n, n + 1] - self.rows[n, n]
        down_c, right_c = self.cols[n + 1, n] - self.cols[n, n], self.cols[n, n + 1] - self.cols[n, n]
        return (float(np.hypot(down_r, right_r)) / self.step, float(np.hypot(down_c, right_c)) / self.step)

    @property
    def half_widths(self) -> tuple[int, int]:
        """Half-widths of the resampling triangle in 1/1024 source pixels: wider where the source is finer."""
        # A little over 1 is the source's own resolution in another projection: plain bilinear is sharper, and fast.
        rows, cols = (value if np.isfinite(value) and value > FINER else 1.0 for value in self.scale)
        return (round(rows * ONE), round(cols * ONE))


def _span(nodes: NDArray[np.float64], margin: int, size: int) -> tuple[int, int] | None:
    """First and last row (or column) under the nodes, grown by ``margin``, within 0..size; None where none is."""
    finite = nodes[np.isfinite(nodes)]
    if not finite.size:
        return None
    first, last = max(np.floor(finite.min()), -_FAR), min(np.ceil(finite.max()), _FAR)
    return max(int(first) - margin, 0), min(int(last) + margin, size)


class Geometry:
    """Coordinates of the cells of one grid in the sources' systems; transforms are done once per cell and CRS.

    Args:
        grid: The lattice.
        keep: Number of (cell, CRS) node sets to keep.
    """

    def __init__(self, grid: Grid, keep: int = 512) -> None:
        self._grid = grid
        self._keep = keep
        self._nodes: dict[tuple[int, int, str], tuple[NDArray[np.float64], NDArray[np.float64], int]] = {}
        # PROJ contexts belong to one thread at a time.
        self._lock = threading.Lock()

    def cell_map(self, cell: PixelBox, source: Georeference) -> CellMap:
        """The cell's nodes in source pixels."""
        x, y, step = self._projected(cell, source.crs)
        if _geographic(source.crs):
            x = _unwrap(x, source)
        inverse = ~source.transform
        return CellMap(
            rows=inverse.d * x + inverse.e * y + inverse.f, cols=inverse.a * x + inverse.b * y + inverse.c, step=step
        )

    def _projected(self, cell: PixelBox, crs: str) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        key = (cell.row0, cell.col0, crs)
        with self._lock:
            nodes = self._nodes.get(key)
            if nodes is None:
                nodes = self._nodes[key] = self._compute(cell, crs)
                if len(self._nodes) > self._keep:
                    del self._nodes[next(iter(self._nodes))]
            return nodes

    def _compute(self, cell: PixelBox, crs: str) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        if same_crs(self._grid.crs, crs):
            return (*self._corners(cell, STEP), STEP)
        coarse = self._transform(self._corners(cell, STEP), crs)
        middle = self._transform(self._corners(cell, STEP, shift=STEP / 2), crs)
        if _smooth(coarse, middle):
            return (*coarse, STEP)
        return (*self._transform(self._corners(cell, 1), crs), 1)

    def _corners(
        self, cell: PixelBox, step: int, shift: float = 0.0
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        res, count = self._grid.resolution, CELL // step + 1
        steps = np.arange(count) * step + shift
        return tuple(np.meshgrid((cell.col0 + steps) * res, (cell.row0 + steps) * -res))

    def _transform(
        self, points: tuple[NDArray[np.float64], NDArray[np.float64]], crs: str
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return transformer(self._grid.crs, crs).transform(*points)


def _smooth(
    coarse: tuple[NDArray[np.float64], NDArray[np.float64]], middle: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> bool:
    """Whether interpolation between the nodes is good to 1/64 of a grid pixel."""
    error = size = 0.0
    for nodes, truth in zip(coarse, middle, strict=True):
        if not np.isfinite(nodes).all():
            return False
        guess = (nodes[:-1, :-1] + nodes[1:, :-1] + nodes[:-1, 1:] + nodes[1:, 1:]) / 4
        error = max(error, float(np.abs(guess - truth[:-1, :-1]).max()))
        pixel = np.hypot(np.diff(nodes, axis=0)[:, 1:], np.diff(nodes, axis=1)[1:, :]) / STEP
        size = max(size, float(np.median(pixel)))
    return error <= _TOLERANCE * size


def _geographic(crs: str) -> bool:
    try:
        return is_geographic(crs)
    except CRSError as error:
        raise TileFault("read.corrupt", f"the file's CRS {crs[:60]!r} is unknown to PROJ: {error}") from None


def _unwrap(x: NDArray[np.float64], source: Georeference) -> NDArray[np.float64]:
    """Longitudes of a cell without a jump at 180 degrees, shifted to where the file lies."""
    finite = x[np.isfinite(x)]
    if finite.size == 0:
        return x
    smooth = x
    if float(np.ptp(finite)) > 180.0:
        # The cell crosses the seam; any other must not lose a bit to the modulo.
        first = finite.flat[0]
        smooth = first + (x - first + 180.0) % 360.0 - 180.0
    middle = source.transform.c + source.transform.a * source.shape[1] / 2
    centre = float(np.nanmedian(np.where(np.isfinite(smooth), smooth, np.nan)))
    turns = round((middle - centre) / 360.0)
    return smooth if turns == 0 else smooth + 360.0 * turns
