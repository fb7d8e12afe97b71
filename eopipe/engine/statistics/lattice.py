"""Where statistics are measured and where they are used: blocks and cells of the grid's absolute lattice.

A block is ``BLOCK_CELLS`` cells a side. Its sums stand at its centre; at a cell's corner the sums of the four nearest
blocks are added with bilinear weights, which are multiples of 1/256 and so exact.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from eopipe.grid import CELL, PixelBox, Tile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.area.on_grid import GridArea

BLOCK_CELLS = 16
"""Cells along a block's side: 8192 pixels."""

SAMPLE = 16
"""Cells of a block that are measured: all of 256 would read a tile's pixels twice."""


def sampled_cells(region: GridArea) -> dict[Tile, list[Tile]]:
    """The cells to measure, by block: the first 16 in the order of a hash that meet the area.

    Returns:
        Blocks row by row, each with its cells row by row.
    """
    index, counts = region.coverage(CELL)
    rows, cols = np.nonzero(counts)
    rows, cols = rows + index.row0, cols + index.col0
    down, right = rows // BLOCK_CELLS, cols // BLOCK_CELLS
    order = np.lexsort((_hash(rows, cols), right, down))
    starts = np.flatnonzero(np.diff(down[order], prepend=down[order[0]] - 1) | np.diff(right[order], prepend=0))
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    cells: dict[Tile, list[Tile]] = defaultdict(list)
    for row, col in sorted(zip(*(axis[order][rank < SAMPLE].tolist() for axis in (rows, cols)), strict=True)):
        cells[Tile(row // BLOCK_CELLS, col // BLOCK_CELLS)].append(Tile(row, col))
    return {block: cells[block] for block in sorted(cells)}


def weights(corner: int) -> tuple[tuple[int, float], ...]:
    """Along one axis: the blocks that count at a corner with their weights; a single one at a block's centre."""
    first, rest = divmod(2 * corner - BLOCK_CELLS, 2 * BLOCK_CELLS)
    share = rest / (2 * BLOCK_CELLS)
    return ((first, 1 - share), (first + 1, share)) if rest else ((first, 1.0),)


def blocks_around(box: PixelBox) -> list[Tile]:
    """Blocks that count anywhere in a box of the grid, row by row; some may hold nothing of the area."""
    corners = box.coarsen(CELL)
    rows = range(weights(corners.row0)[0][0], weights(corners.row1)[-1][0] + 1)
    cols = range(weights(corners.col0)[0][0], weights(corners.col1)[-1][0] + 1)
    return [Tile(row, col) for row in rows for col in cols]


def widest_halo() -> int:
    """Grid pixels around a tile for which its own block still counts at every corner."""
    return (BLOCK_CELLS // 2 - 1) * CELL


def _hash(rows: NDArray[np.int64], cols: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Of absolute cells: splitmix64 of the column, after that of the row."""
    return _mix(_mix(rows.astype(np.uint64)) ^ cols.astype(np.uint64))


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finalizer of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014)."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
