"""The mosaic's geometry: levels, shards and tiles, as integers.

Group ``k`` holds the mosaic reduced ``2**k`` times. While a tile still has 256 pixels or more a side at a level
(an *own* level), its shard there is the tile, and the tile's task writes it. Coarser levels have shards of
1,024 pixels that several tiles share; they are built afterwards, one task a shard, since several writers in
one shard lose data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from affine import Affine

from eopipe.errors import PlanError
from eopipe.grid import Grid, PixelBox, Tile
from eopipe.kernelinfo import ArraySpec, ClassInfo

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SMALLEST_SHARD = 256
"""Side, in pixels, below which a level's shards are no longer a tile's own."""

CHUNK = 512
"""Side of the inner chunks that viewers fetch: measured 2 times as fast to write as 256, and 3 % smaller."""

COARSE_SHARD = 1024
"""Side of the shards of the levels that are built after the tiles."""

SMALLEST_LEVEL = 512
"""The pyramid ends with the first level that is no wider or higher than this."""


@dataclass(frozen=True)
class Layout:
    """The mosaic's position and arrays; everything else follows.

    Args:
        grid: The lattice.
        tile: Side of a tile in pixels.
        tile_bounds: Bounding box in tile indices (rows and columns of tiles, half open).
        arrays: What each level holds.
        levels: Number of groups, full resolution included.
    """

    grid: Grid
    tile: int
    tile_bounds: PixelBox
    arrays: tuple[ArraySpec, ...]
    levels: int

    @classmethod
    def plan(cls, grid: Grid, tile: int, tile_bounds: PixelBox, arrays: tuple[ArraySpec, ...]) -> Layout:
        """Choose the number of levels: down to one that fits a screen.

        Raises:
            PlanError: The tile has no whole pyramid, or an array has a dtype that has none.
        """
        if tile < SMALLEST_SHARD or tile & (tile - 1):
            raise PlanError(
                f"grid.tile: {tile} is no power of two from {SMALLEST_SHARD}; give 512, 1024, 2048 or 4096"
            )
        if tile_bounds.empty:
            raise PlanError(f"the area touches no tile ({tile_bounds}); check area and grid.crs")
        for spec in arrays:
            if spec.dtype not in {"uint8", "int8", "uint16", "int16"}:
                raise PlanError(
                    f"array {spec.name!r}: dtype {spec.dtype} has no pyramid; use uint8, int8, uint16, int16"
                )
        longest = max(tile_bounds.shape) * tile
        levels = 1
        while longest > SMALLEST_LEVEL:
            longest = -(-longest // 2)
            levels += 1
        return cls(grid, tile, tile_bounds, arrays, levels)

    @property
    def own_levels(self) -> int:
        """How many levels (0, 1 …) a tile's own task writes."""
        return min(self.levels, (self.tile // SMALLEST_SHARD).bit_length())

    @property
    def box(self) -> PixelBox:
        """The mosaic's pixels on the lattice."""
        return self.tile_bounds.scale(self.tile)

    def shape(self, level: int) -> tuple[int, int]:
        """Rows and columns of a level; a last odd row or column makes a pixel of its own above."""
        rows, cols = self.box.shape
        return (-(-rows // 2**level), -(-cols // 2**level))

    def shard(self, level: int) -> int:
        """Side of a level's shards in pixels."""
        return self.tile >> level if level < self.own_levels else COARSE_SHARD

    def chunk(self, level: int) -> int:
        """Side of a level's inner chunks in pixels."""
        return min(CHUNK, self.shard(level))

    def shards(self, level: int) -> tuple[int, int]:
        """Rows and columns of shards."""
        rows, cols = self.shape(level)
        return (-(-rows // self.shard(level)), -(-cols // self.shard(level)))

    def transform(self, level: int) -> Affine:
        """Affine from (column, row) of a level's array to (x, y) in the CRS."""
        return self.transform_by(2**level)

    def transform_by(self, factor: int) -> Affine:
        """As :meth:`transform`, for pixels ``factor`` times as large as the grid's."""
        left, _, _, top = self.grid.bounds(self.box)
        step = self.grid.resolution * factor
        return Affine(step, 0.0, left, 0.0, -step, top)

    def index(self, tile: Tile) -> tuple[int, int]:
        """Row and column of the tile's shard in the own levels.

        Raises:
            ValueError: The tile is not in the mosaic.
        """
        bounds = self.tile_bounds
        if not (bounds.row0 <= tile.row < bounds.row1 and bounds.col0 <= tile.col < bounds.col1):
            raise ValueError(f"tile {tile.name} is outside the mosaic's tiles {bounds}")
        return (tile.row - bounds.row0, tile.col - bounds.col0)

    def tiles(self) -> Iterator[Tile]:
        """All tiles of the bounding box, row by row; also those that the area does not touch."""
        bounds = self.tile_bounds
        for row in range(bounds.row0, bounds.row1):
            for col in range(bounds.col0, bounds.col1):
                yield Tile(row, col)

    def spec(self, name: str) -> ArraySpec:
        """The array of that name.

        Raises:
            KeyError: There is none.
        """
        for spec in self.arrays:
            if spec.name == name:
                return spec
        raise KeyError(f"the mosaic has no array {name!r}, only {', '.join(s.name for s in self.arrays)}")

    def key(self, level: int, name: str, index: tuple[int, int]) -> str:
        """The path of a shard's file below the mosaic's root."""
        plane = "0/" if self.spec(name).bands else ""
        return f"{level}/{name}/c/{plane}{index[0]}/{index[1]}"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Layout:
        """Back from :meth:`to_json`."""
        return cls(
            grid=Grid(**data["grid"]),
            tile=data["tile"],
            tile_bounds=PixelBox(**data["tile_bounds"]),
            arrays=tuple(_spec(array) for array in data["arrays"]),
            levels=data["levels"],
        )


def _spec(data: Mapping[str, Any]) -> ArraySpec:
    classes = tuple(ClassInfo(**{**entry, "prompts": tuple(entry["prompts"])}) for entry in data["classes"])
    return ArraySpec(**{**data, "classes": classes, "losers": tuple(data["losers"]), "bands": tuple(data["bands"])})
