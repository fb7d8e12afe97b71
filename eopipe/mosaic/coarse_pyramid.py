"""The pyramid's last pass: the levels whose shards several tiles share, one task a shard.

The levels are built in order, since each is reduced from the one below; within a level the order does not matter, and
a task that runs twice writes the same bytes (docs/ARCHITECTURE.md, "The mosaic and its files").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.mosaic.pyramid import reduce
from eopipe.mosaic.store import MosaicWriter

if TYPE_CHECKING:
    from eopipe.mosaic.layout import Layout
    from eopipe.storage import Storage

Parent = tuple[int, int, int]
"""Level, shard row and shard column."""


def coarse_tasks(layout: Layout) -> list[list[Parent]]:
    """The tasks after the tiles: one list a level, to be run in this order; empty where tiles write all levels."""
    return [
        [(level, i, j) for i in range(layout.shards(level)[0]) for j in range(layout.shards(level)[1])]
        for level in range(layout.own_levels, layout.levels)
    ]


def build_parent(storage: Storage, layout: Layout, level: int, i: int, j: int) -> None:
    """Reduce the level below to one shard of a coarse level, and write it; a shard of fill only has no file.

    Args:
        storage: The run's folder.
        layout: The mosaic's.
        level: A coarse level; the one below is complete.
        i: Shard row.
        j: Shard column.

    Raises:
        OutputError: Denied, full or unreachable.
        ValueError: The level is written by the tiles.
    """
    if not layout.own_levels <= level < layout.levels:
        raise ValueError(f"level {level} is not coarse; those are {layout.own_levels} to {layout.levels - 1}")
    writer = MosaicWriter(storage, layout)
    rows, cols = writer.region(level, (i, j))
    height, width = layout.shape(level - 1)
    below = (slice(2 * rows.start, min(2 * rows.stop, height)), slice(2 * cols.start, min(2 * cols.stop, width)))
    for spec in layout.arrays:
        values = writer.read_region(level - 1, spec.name, *below)
        writer.write_shard(level, spec.name, (i, j), reduce(values, spec))


def build_coarse(storage: Storage, layout: Layout) -> None:
    """Build all coarse levels in this process, for small mosaics and tests.

    A run gives the tasks to its cluster.
    """
    for tasks in coarse_tasks(layout):
        for level, i, j in tasks:
            build_parent(storage, layout, level, i, j)
