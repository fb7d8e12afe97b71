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
    from collections.abc import Iterator, Sequence

    from affine import Affine
    from numpy.typing import NDArray

    from eopipe.grid import Grid

_TOLERANCE = 1 / 64
_FAR = 2.0**40
_SEAM = 0.01
"""Columns by which a turn of longitude may differ from a whole number of them."""

FINER = 4 / 3
"""Source pixels per grid pixel above which the resampling triangle is widened against aliasing."""


@dataclass(frozen=True)
class Georeference:
    """CRS, transform and shape (rows, columns) of one level of one file, as the file itself says."""

    crs: str
    transform: Affine
    shape: tuple[int, int]

    @property
    def turn(self) -> int:
        """Columns of 360 degrees where the file is in degrees and goes round the globe; 0 of any other file."""
        a = self.transform
        columns = 360.0 / abs(a.a) if a.a else 0.0
        whole = round(columns)
        # One column more than a turn repeats the first: rasters of points on both edges have it.
        round_the_globe = self.shape[1] in {whole, whole + 1} and abs(columns - whole) <= _SEAM and not (a.b or a.d)
        return whole if round_the_globe and _geographic(self.crs) else 0

    @property
    def open_seam(self) -> bool:
        """Whether a file in degrees reaches more than half round the globe and not all round it."""
        degrees = abs(self.transform.a) * self.shape[1]
        return 180.0 < degrees <= 361.0 and not self.turn

    @property
    def middle(self) -> float:
        """First coordinate of the file's middle column."""
        return float(self.transform.c + self.transform.a * self.shape[1] / 2)


@dataclass(frozen=True)
class CellMap:
    """Source rows and columns at the nodes of one cell.

    Args:
        rows: ``[n, n]`` float64, in source pixels, edges at integers.
        cols: Likewise.
        step: Distance of the nodes in pixels, 16 or 1.
        node: Row and column of the node where the scale is measured.
    """

    rows: NDArray[np.float64]
    cols: NDArray[np.float64]
    step: int
    node: tuple[int, int]

    def part(self, cell: PixelBox, box: PixelBox) -> tuple[slice, slice]:
        """Index of the nodes around ``box``, a part of the cell."""
        step = self.step
        return (
            slice((box.row0 - cell.row0) // step, -(-(box.row1 - cell.row0) // step) + 1),
            slice((box.col0 - cell.col0) // step, -(-(box.col1 - cell.col0) // step) + 1),
        )

    def window(self, cell: PixelBox, box: PixelBox, source: Georeference, reach: tuple[int, int]) -> PixelBox | None:
        """The source pixels that resampling ``box`` may touch, clipped to the file; None if there are none.

        Columns of a file that goes round the globe are not clipped: they go on beyond its edges
        (:meth:`eopipe.cube.asset_file.Facts.sections`).
        """
        index = self.part(cell, box)
        height, width = source.shape
        spans = [
            _span(self.rows[index], reach[0], (0, height)),
            _span(self.cols[index], reach[1], (-_ROUND, _ROUND) if source.turn else (0, width)),
        ]
        if spans[0] is None or spans[1] is None:
            return None
        window = PixelBox(spans[0][0], spans[1][0], spans[0][1], spans[1][1])
        return None if window.empty else window

    @property
    def scale(self) -> tuple[float, float]:
        """Source pixels per grid pixel along the source's rows and columns, at the middle of the cell."""
        r, c = self.node
        down_r, right_r = self.rows[r + 1, c] - self.rows[r, c], self.rows[r, c + 1] - self.rows[r, c]
        down_c, right_c = self.cols[r + 1, c] - self.cols[r, c], self.cols[r, c + 1] - self.cols[r, c]
        return (float(np.hypot(down_r, right_r)) / self.step, float(np.hypot(down_c, right_c)) / self.step)

    @property
    def half_widths(self) -> tuple[int, int]:
        """Half-widths of the resampling triangle in 1/1024 source pixels: wider where the source is finer."""
        # A little over 1 is the source's own resolution in another projection: plain bilinear is sharper, and fast.
        rows, cols = (value if np.isfinite(value) and value > FINER else 1.0 for value in self.scale)
        return (round(rows * ONE), round(cols * ONE))


_ROUND = 2**40


def _span(nodes: NDArray[np.float64], margin: int, limits: tuple[int, int]) -> tuple[int, int] | None:
    """First and last row (or column) under the nodes, grown by ``margin``, within limits; None where none is."""
    finite = nodes[np.isfinite(nodes)]
    if not finite.size:
        return None
    first, last = max(np.floor(finite.min()), -_FAR), min(np.ceil(finite.max()), _FAR)
    return max(int(first) - margin, limits[0]), min(int(last) + margin, limits[1])


@dataclass(frozen=True)
class CellPart:
    """A part of a cell within which coordinates are continuous: nearly always the whole cell.

    Args:
        box: On the lattice.
        x: Coordinates of all nodes of the cell in the source's CRS.
        y: Likewise.
        step: Distance of the nodes.
        node: Row and column of the node in the part's middle.
    """

    box: PixelBox
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    step: int
    node: tuple[int, int]

    def on(self, source: Georeference) -> CellMap:
        """The nodes in source pixels of one level of the file."""
        inverse = ~source.transform
        with np.errstate(invalid="ignore"):  # of what the grid cannot place
            rows = inverse.d * self.x + inverse.e * self.y + inverse.f
            cols = inverse.a * self.x + inverse.b * self.y + inverse.c
        return CellMap(rows, cols, self.step, self.node)


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

    def parts(self, cell: PixelBox, source: Georeference) -> list[CellPart]:
        """The cell's nodes in the source's CRS; in several parts where longitudes jump within the cell."""
        x, y, step = self._projected(cell, source.crs)
        middle = x.shape[0] // 2
        if not _geographic(source.crs):
            return [CellPart(cell, x, y, step, (middle, middle))]
        finite = x[np.isfinite(x)]
        if finite.size and float(np.ptp(finite)) > 180.0:
            # The cell crosses the seam; any other must not lose a bit to the modulo.
            smooth = _around(x, finite.flat[0])
            if not _continuous(smooth):
                return list(_continuous_parts(cell, _longitudes(x, source), y, step))
            x = smooth
        turned = _turned(x, source)
        if source.open_seam and (np.abs(turned[np.isfinite(turned)] - source.middle) > 180.0).any():
            return list(_continuous_parts(cell, _longitudes(x, source), y, step))
        return [CellPart(cell, turned, y, step, (middle, middle))]

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


def _around(x: NDArray[np.float64], middle: float) -> NDArray[np.float64]:
    """Longitudes as those within half a turn of one."""
    with np.errstate(invalid="ignore"):  # of what the grid cannot place
        return middle + (x - middle + 180.0) % 360.0 - 180.0


def _longitudes(x: NDArray[np.float64], source: Georeference) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same longitudes within half a turn of the file's middle, and from there a turn eastwards."""
    west = _around(x, source.middle)
    return west, np.where(west < source.middle, west + 360.0, west)


def _turned(x: NDArray[np.float64], source: Georeference) -> NDArray[np.float64]:
    """Longitudes of a cell, turned to where the file lies."""
    if not np.isfinite(x).any():
        return x
    centre = float(np.nanmedian(np.where(np.isfinite(x), x, np.nan)))
    turns = round((source.middle - centre) / 360.0)
    return x if turns == 0 else x + 360.0 * turns


def _continuous(x: NDArray[np.float64]) -> bool:
    """Whether no two neighbouring nodes lie half a turn apart."""
    jumps = (np.abs(np.diff(x, axis=axis)) for axis in (0, 1))
    return not any((jump[np.isfinite(jump)] > 180.0).any() for jump in jumps)


def _continuous_parts(
    cell: PixelBox, longitudes: Sequence[NDArray[np.float64]], y: NDArray[np.float64], step: int
) -> Iterator[CellPart]:
    """Parts of a cell that goes round a pole or the globe: each with one of the longitudes, which jump elsewhere.

    A pixel that no longitudes are continuous over holds the pole: its column does not matter.
    """
    boxes = [cell]
    while boxes:
        box = boxes.pop()
        rows = slice((box.row0 - cell.row0) // step, (box.row1 - cell.row0) // step + 1)
        cols = slice((box.col0 - cell.col0) // step, (box.col1 - cell.col0) // step + 1)
        x = next((x for x in longitudes if _continuous(x[rows, cols])), None)
        if x is None and max(box.shape) > step:
            boxes += reversed(box.halves())
            continue
        node = ((rows.start + rows.stop - 1) // 2, (cols.start + cols.stop - 1) // 2)
        yield CellPart(box, longitudes[0] if x is None else x, y, step, node)
