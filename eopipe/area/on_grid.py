"""An area on a grid: which pixels, cells and tiles it holds, and in which order to visit tiles.

A pixel belongs to the area when its centre lies inside (even-odd rule). What decides is a list
of *toggles*: where the centre line of a pixel row crosses the outline, as the first column whose
centre is past the crossing. A toggle depends on one edge and one absolute row and on nothing
else, so masks, counts and part hashes cannot depend on the box that they are computed for.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from shapely.affinity import translate

from eopipe.area.crs import METRES_PER_DEGREE, crs_of, is_geographic, metres_per_unit
from eopipe.area.grid_crs import resolve_crs
from eopipe.area.lonlat import Area
from eopipe.area.project import project_outline
from eopipe.errors import AreaError, SpecError
from eopipe.grid import CELL, Grid, PixelBox, Tile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

_LIMIT = 2**31
"""Rows and columns must fit GDAL's and Zarr's 32-bit indices."""

_SMALL = 256

_ABROAD = 30.0
"""Degrees outside its area of use at which a CRS is surely a mistake."""

_WORST_SCALE = 10.0
"""Web Mercator reaches it, in area, at 72 degrees; so an area is mapped ten times as large as it is."""

_BAND_ROWS = 1 << 19
"""Rows whose toggles are held at a time: bounds the memory of a continent's outline."""


@dataclass(frozen=True)
class GridArea:
    """The area in the grid's CRS, as geometry and as pixels.

    Args:
        grid: The lattice.
        geometry: Polygon or MultiPolygon in the grid's CRS; valid.
    """

    grid: Grid
    geometry: Any

    @classmethod
    def project(cls, area: Area, grid: Grid) -> GridArea:
        """Project an area, its edges densified until they are right within a hundredth of a pixel.

        Raises:
            SpecError: The resolution makes no sense in the CRS's units.
            AreaError: The CRS cannot hold the area in one piece, or the area holds no pixel.
        """
        check_resolution(grid)
        region = cls(grid, project_outline(area, grid.crs, grid.resolution / 100))
        _check_location(region, area)
        _check_size(region, area)
        return region

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle what defines it; workers rebuild the index of edges."""
        return (GridArea, (self.grid, self.geometry))

    @cached_property
    def box(self) -> PixelBox:
        """Bounding pixels."""
        return self.grid.box_of(*self.geometry.bounds)

    def coverage(self, size: int, box: PixelBox | None = None) -> tuple[PixelBox, NDArray[np.int64]]:
        """How many pixels of the area each lattice square of side ``size`` holds.

        Args:
            size: Side of a square in pixels.
            box: Squares that this box touches; the area's own box where None.

        Returns:
            The squares as a box of square indices, and their counts ``[row, col]`` (0..size²).
        """
        index = (self.box if box is None else box).coarsen(size)
        snapped = index.scale(size)
        counts = np.zeros(index.shape, dtype=np.int64)
        step = max(size, _BAND_ROWS // size * size)
        for row in range(snapped.row0, snapped.row1, step):
            band = PixelBox(row, snapped.col0, min(row + step, snapped.row1), snapped.col1)
            rows = slice((row - snapped.row0) // size, (band.row1 - snapped.row0) // size)
            counts[rows] = self._count(band, size)
        return index, counts

    def _counts(self, size: int, box: PixelBox | None = None) -> Iterator[tuple[Tile, int]]:
        """Squares that hold a pixel of the area, row by row, and how many; see :meth:`coverage`."""
        index, counts = self.coverage(size, box)
        for row, col in np.argwhere(counts).tolist():
            yield Tile(index.row0 + row, index.col0 + col), int(counts[row, col])

    def tiles(self, size: int) -> list[Tile]:
        """Tiles of side ``size`` that hold at least one pixel of the area, row by row."""
        return [tile for tile, _ in self._counts(size)]

    def tile_bounds(self, size: int) -> PixelBox:
        """Smallest box of TILE indices that holds all tiles of side ``size``."""
        rows, cols = zip(*((tile.row, tile.col) for tile, _ in self._counts(size)), strict=True)
        return PixelBox(min(rows), min(cols), max(rows) + 1, max(cols) + 1)

    def cells(self, box: PixelBox) -> list[PixelBox]:
        """Cells of the lattice that touch ``box`` and hold at least one pixel of the area, row by row."""
        return [tile.box(CELL) for tile, _ in self._counts(CELL, box)]

    def mask(self, box: PixelBox) -> NDArray[np.bool_]:
        """``[y, x]``: True where the pixel's centre is inside the area."""
        rows, cols = box.shape
        toggles = np.zeros((rows, cols), dtype=np.uint8)
        np.bitwise_xor.at(toggles.reshape(-1), self._toggles(box), 1)
        return np.bitwise_xor.accumulate(toggles, axis=1, out=toggles).view(np.bool_)

    def part(self, box: PixelBox) -> str:
        """Which pixels of a box are inside: ``full``, ``none`` or a hash; equal for areas with equal masks there."""
        rows, cols = box.shape
        toggles = _odd(self._toggles(box))
        if toggles.size == 0:
            return "none"
        if toggles.size == rows and (toggles % cols == 0).all():
            return "full"
        return hashlib.sha256(f"{rows}x{cols}:".encode() + toggles.tobytes()).hexdigest()[:32]

    def parts(self, size: int) -> dict[Tile, str]:
        """``part`` of every tile of side ``size``; hashes only the tiles that the outline cuts."""
        return {tile: "full" if count == size**2 else self.part(tile.box(size)) for tile, count in self._counts(size)}

    @cached_property
    def _edges(self) -> NDArray[np.float64]:
        """``[n, 4]``: y0, x0, y1, x1 of each edge in absolute pixels, y0 < y1 (level edges cross no centre line)."""
        res = self.grid.resolution
        rings = []
        for ring in shapely.get_rings(shapely.get_parts(self.geometry)):
            x, y = shapely.get_coordinates(ring).T
            down, right = -y / res, x / res
            rings.append(np.column_stack([down[:-1], right[:-1], down[1:], right[1:]]))
        edges = np.concatenate(rings)
        upwards = edges[:, 0] > edges[:, 2]
        edges[upwards] = edges[upwards][:, [2, 3, 0, 1]]
        return edges[edges[:, 0] < edges[:, 2]]

    @cached_property
    def _bands(self) -> dict[tuple[int, int], NDArray[np.float64]]:
        return {}

    def _edges_in(self, row0: int, row1: int) -> NDArray[np.float64]:
        """Edges that may cross a centre line of these rows; cached, since tiles of one row share them."""
        band = self._bands.get((row0, row1))
        if band is None:
            edges = self._edges
            band = edges[(edges[:, 2] > row0) & (edges[:, 0] < row1)]
            if len(self._bands) > 4096:
                self._bands.clear()
            self._bands[row0, row1] = band
        return band

    def _crossings(self, box: PixelBox) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and columns of the toggles in a box's rows; columns are not clipped to the left of it."""
        edges = self._edges_in(box.row0, box.row1)
        edges = edges[np.minimum(edges[:, 1], edges[:, 3]) < box.col1]
        # Row r has its centre line at r + 0.5; the half-open rule counts a shared vertex once.
        first = np.maximum(np.ceil(edges[:, 0] - 0.5), box.row0).astype(np.int64)
        last = np.minimum(np.ceil(edges[:, 2] - 0.5), box.row1).astype(np.int64)
        many = np.maximum(last - first, 0)
        which = np.repeat(np.arange(len(edges)), many)
        rows = first[which] + (np.arange(which.size) - np.repeat(np.cumsum(many) - many, many))
        y0, x0, y1, x1 = edges[which].T
        past = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        return rows, np.ceil(past - 0.5).astype(np.int64)

    def _toggles(self, box: PixelBox) -> NDArray[np.int64]:
        """Flat indices into ``box`` where the mask flips for the rest of the row; may repeat."""
        rows, cols = self._crossings(box)
        inside = cols < box.col1
        return (rows[inside] - box.row0) * (box.col1 - box.col0) + np.maximum(cols[inside] - box.col0, 0)

    def _count(self, band: PixelBox, size: int) -> NDArray[np.int64]:
        """Pixels of the area in each square of a band whose corners are multiples of ``size``."""
        width = band.col1 - band.col0
        rows, cols = self._crossings(PixelBox(band.row0, band.col0, band.row1, _LIMIT))
        flat = (rows - band.row0) * (width + 1) + np.clip(cols - band.col0, 0, width)
        flat.sort()
        # Two toggles of a row bound a run of inside pixels; a closed outline has an even number a row.
        row, start, end = flat[0::2] // (width + 1), flat[0::2] % (width + 1), flat[1::2] % (width + 1)
        some = end > start
        row, start, end = row[some] // size, start[some], end[some]
        left, right = start // size, (end - 1) // size
        shape = (band.shape[0] // size, width // size + 1)
        spread = np.zeros(shape, dtype=np.int64)
        np.add.at(spread, (row, left), size)
        np.add.at(spread, (row, right + 1), -size)
        counts = np.cumsum(spread, axis=1)[:, :-1]
        np.subtract.at(counts, (row, left), start - left * size)
        np.subtract.at(counts, (row, right), (right + 1) * size - end)
        return counts


def check_resolution(grid: Grid) -> None:
    """Refuse a resolution that is plainly in other units than the CRS.

    Raises:
        SpecError: More than one degree, or less than a millimetre, a pixel.
    """
    res = grid.resolution
    if is_geographic(grid.crs):
        if res > 1:
            raise SpecError(
                f"grid.resolution: {res:g} is in degrees, the unit of {grid.crs}; "
                f"write {res / METRES_PER_DEGREE:.7f} if you mean {res:g} metres, or choose a CRS in metres (utm)"
            )
        return
    metres = res * metres_per_unit(grid.crs)
    if metres < 0.001:
        raise SpecError(
            f"grid.resolution: {res:g} is in the unit of the projected grid.crs, {metres:g} metres a pixel; "
            f"write {res * METRES_PER_DEGREE:g} if you mean {res:g} degrees"
        )


def space_filling(tiles: Sequence[Tile]) -> list[Tile]:
    """Tiles along a Hilbert curve, so that neighbours in the list are neighbours on the ground.

    The curve is laid over the bounding box of the tiles, padded to a power of two.
    """
    if not tiles:
        return []
    rows = np.array([tile.row for tile in tiles], dtype=np.int64)
    cols = np.array([tile.col for tile in tiles], dtype=np.int64)
    order = np.argsort(_hilbert(rows - rows.min(), cols - cols.min()), kind="stable")
    return [tiles[i] for i in order.tolist()]


def _hilbert(y: NDArray[np.int64], x: NDArray[np.int64]) -> NDArray[np.int64]:
    """Distance along the Hilbert curve, bit by bit from the coarsest (Hamilton, "Compact Hilbert Indices", 2006)."""
    x, y = x.copy(), y.copy()
    distance = np.zeros_like(x)
    for bit in range(int(max(x.max(), y.max(), 1)).bit_length() - 1, -1, -1):
        side = 1 << bit
        right, down = (x & side) > 0, (y & side) > 0
        distance += side * side * ((3 * right) ^ down)
        x &= side - 1
        y &= side - 1
        flip = right & ~down
        x[flip], y[flip] = side - 1 - x[flip], side - 1 - y[flip]
        turn = ~down
        x[turn], y[turn] = y[turn].copy(), x[turn].copy()
    return distance


def _odd(toggles: NDArray[np.int64]) -> NDArray[np.int64]:
    """The toggles that remain when pairs at one place cancel, sorted."""
    indices, times = np.unique(toggles, return_counts=True)
    odd: NDArray[np.int64] = indices[times % 2 == 1]
    return odd


def _check_location(region: GridArea, area: Area) -> None:
    """Refuse a CRS far from its area of use, such as a UTM zone of another continent: it answers with nonsense."""
    crs = region.grid.crs
    if is_geographic(crs):
        return
    remedy = "choose a CRS made for this place, such as utm, or an equal-area grid"
    use = crs_of(crs).area_of_use
    if use is not None and not _near(use.bounds, area.geometry):
        raise AreaError(f"area: {crs} is made for {use.name.rstrip('.')}, far from here; {remedy}")
    ratio = region.geometry.area * metres_per_unit(crs) ** 2 / (area.km2 * 1e6)
    if not 1 / _WORST_SCALE < ratio < _WORST_SCALE:
        raise AreaError(f"area: {crs} shows it {ratio:.3g} times as large as it is; {remedy}")


def _near(bounds: tuple[float, float, float, float], geometry: Any) -> bool:
    """Whether a geometry comes within ``_ABROAD`` degrees of bounds; west > east crosses the antimeridian."""
    west, south, east, north = bounds
    east += 360 if west > east else 0
    extent = shapely.box(west, south, east, north).buffer(_ABROAD, join_style="mitre")
    return any(extent.intersects(translate(geometry, xoff=turn)) for turn in (-360, 0, 360))


def _check_size(region: GridArea, area: Area) -> None:
    box = region.box
    if max(abs(edge) for edge in (box.row0, box.col0, box.row1, box.col1)) >= _LIMIT:
        rows, cols = box.shape
        raise SpecError(
            f"grid.resolution: {region.grid.resolution:g} gives {rows:,} x {cols:,} pixels over {area.km2:,.0f} km², "
            "more than a raster can hold (2^31 a side); give a coarser resolution or another unit"
        )
    if max(box.shape) <= _SMALL and not region.mask(box).any():
        raise AreaError(
            f"area: {area.km2 * 1e6:.3g} m² holds the centre of no pixel at grid.resolution "
            f"{region.grid.resolution:g}; enlarge the area or refine the resolution"
        )


__all__ = ["Area", "GridArea", "check_resolution", "resolve_crs", "space_filling"]
