"""The absolute pixel lattice: grids, pixel boxes, cells and tiles, as integers.

Pixel (0, 0) of every grid has its upper left corner at the CRS origin; rows grow
southwards (towards smaller y), columns eastwards. So two runs over neighbouring areas
line up, and a box of pixels means the same ground in each of them.
Nothing here reads, writes or knows of STAC.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from affine import Affine
from odc.geo.geobox import GeoBox

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

CELL = 512
"""Side of a cell in pixels: the unit of reading."""

TILE_SIZES = (4096, 2048, 1024, 512)
"""Sides a tile may have, in pixels, largest first."""

_TILE_NAME = re.compile(r"^r(-?\d{5,})c(-?\d{5,})$")


@dataclass(frozen=True, order=True)
class PixelBox:
    """A half-open rectangle of lattice pixels, ``[row0, row1) x [col0, col1)``."""

    row0: int
    col0: int
    row1: int
    col1: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return (self.row1 - self.row0, self.col1 - self.col0)

    @property
    def empty(self) -> bool:
        """Whether the box holds no pixel."""
        return self.row1 <= self.row0 or self.col1 <= self.col0

    def pad(self, pixels: int) -> PixelBox:
        """Grow by ``pixels`` on each side."""
        return PixelBox(self.row0 - pixels, self.col0 - pixels, self.row1 + pixels, self.col1 + pixels)

    def __and__(self, other: PixelBox) -> PixelBox:
        return PixelBox(
            max(self.row0, other.row0),
            max(self.col0, other.col0),
            min(self.row1, other.row1),
            min(self.col1, other.col1),
        )

    def scale(self, factor: int) -> PixelBox:
        """The same ground on a lattice ``factor`` times finer."""
        return PixelBox(self.row0 * factor, self.col0 * factor, self.row1 * factor, self.col1 * factor)

    def coarsen(self, step: int) -> PixelBox:
        """The pixels of a lattice ``step`` times coarser that it touches."""
        whole = self.snap(step)
        return PixelBox(whole.row0 // step, whole.col0 // step, whole.row1 // step, whole.col1 // step)

    def snap(self, step: int) -> PixelBox:
        """The smallest box with corners at multiples of ``step`` that holds this one."""
        return PixelBox(
            self.row0 // step * step,
            self.col0 // step * step,
            -(-self.row1 // step) * step,
            -(-self.col1 // step) * step,
        )

    def slices(self, within: PixelBox) -> tuple[slice, slice]:
        """Index of this box in an array that covers ``within``; the caller has clipped it."""
        return (
            slice(self.row0 - within.row0, self.row1 - within.row0),
            slice(self.col0 - within.col0, self.col1 - within.col0),
        )

    def halves(self) -> list[PixelBox]:
        """The box cut across its longer side."""
        rows, cols = self.shape
        if rows >= cols:
            middle = self.row0 + rows // 2
            return [
                PixelBox(self.row0, self.col0, middle, self.col1),
                PixelBox(middle, self.col0, self.row1, self.col1),
            ]
        middle = self.col0 + cols // 2
        return [PixelBox(self.row0, self.col0, self.row1, middle), PixelBox(self.row0, middle, self.row1, self.col1)]

    def blocks(self, size: int) -> Iterator[PixelBox]:
        """Whole lattice squares of side ``size`` that the box touches, row by row."""
        outer = self.snap(size)
        for row in range(outer.row0, outer.row1, size):
            for col in range(outer.col0, outer.col1, size):
                yield PixelBox(row, col, row + size, col + size)


@dataclass(frozen=True, order=True)
class Tile:
    """A square of the grid, named by its absolute row and column: one task, one shard."""

    row: int
    col: int

    @property
    def name(self) -> str:
        """Such as ``r-00472c00059``: sign where negative, at least five digits."""
        return f"r{_digits(self.row)}c{_digits(self.col)}"

    @classmethod
    def parse(cls, name: str) -> Tile:
        """Read a tile's name.

        Raises:
            SpecError: The name is not of the form ``r-00472c00059``.
        """
        match = _TILE_NAME.match(name)
        if match is None:
            raise SpecError(f"tile name {name!r} is not of the form r-00472c00059")
        return cls(int(match[1]), int(match[2]))

    def box(self, size: int) -> PixelBox:
        """The tile's pixels on the lattice for tiles of side ``size``."""
        return PixelBox(self.row * size, self.col * size, (self.row + 1) * size, (self.col + 1) * size)


def _digits(value: int) -> str:
    return f"-{-value:05d}" if value < 0 else f"{value:05d}"


@dataclass(frozen=True)
class Grid:
    """CRS and resolution: everything that fixes the lattice.

    Args:
        crs: Canonical text of the CRS, ``EPSG:32632`` or WKT where there is no code.
        resolution: Side of a pixel in CRS units; pixels are square.
    """

    crs: str
    resolution: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.resolution) and self.resolution > 0):
            raise SpecError(f"grid.resolution: {self.resolution} is not a positive number; give CRS units a pixel")

    def finer(self, factor: int) -> Grid:
        """The lattice with pixels ``factor`` times smaller: same CRS, same origin."""
        return Grid(self.crs, self.resolution / factor)

    @cached_property
    def transform(self) -> Affine:
        """Affine of the whole lattice: (column, row) to (x, y)."""
        return Affine(self.resolution, 0.0, 0.0, 0.0, -self.resolution, 0.0)

    def bounds(self, box: PixelBox) -> tuple[float, float, float, float]:
        """Left, bottom, right, top of a box in CRS units."""
        res = self.resolution
        return (box.col0 * res, -box.row1 * res, box.col1 * res, -box.row0 * res)

    def box_of(self, left: float, bottom: float, right: float, top: float) -> PixelBox:
        """The smallest box of whole pixels that covers the bounds (CRS units).

        An edge within 1e-6 pixel of the lattice counts as on it, so that bounds computed in
        floating point do not add a row of pixels outside of the area.
        """
        res = self.resolution
        return PixelBox(
            math.floor(-top / res + 1e-6),
            math.floor(left / res + 1e-6),
            math.ceil(-bottom / res - 1e-6),
            math.ceil(right / res - 1e-6),
        )

    def geobox(self, box: PixelBox) -> GeoBox:
        """The box as odc-geo's GeoBox."""
        res = self.resolution
        affine = Affine(res, 0.0, box.col0 * res, 0.0, -res, -box.row0 * res)
        return GeoBox(box.shape, affine, self.crs)
