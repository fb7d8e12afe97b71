"""What is published: one tile's output, and the run's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from eopipe.area.crs import metres_per_unit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from eopipe.area.lonlat import Area
    from eopipe.area.on_grid import GridArea
    from eopipe.grid import Tile
    from eopipe.kernelinfo import ArraySpec, KernelInfo
    from eopipe.run_folder import MergedObjects, OutputFile


@dataclass(frozen=True)
class SceneRef:
    """An input item, by name and address.

    Args:
        id: Item id.
        collection: Collection id; empty where it has none.
        datetime: When it was taken, UTC.
        href: Its own address, unsigned; None where it has none that holds elsewhere.
    """

    id: str
    collection: str
    datetime: datetime
    href: str | None = None


@dataclass(frozen=True)
class TileOutput:
    """One tile that was produced; a failed tile has none, and so no Item.

    Args:
        tile: Which.
        inputs: Hash of its inputs (hex).
        status: ``done``, ``empty`` or ``masked``.
        scenes: Every scene that was used.
        files: Asset name to file; empty where only the mosaic holds the tile.
        histogram: Code to number of pixels of the first categorical array, inside the area.
    """

    tile: Tile
    inputs: str
    status: str
    scenes: tuple[SceneRef, ...] = ()
    files: Mapping[str, OutputFile] = field(default_factory=dict)
    histogram: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishInfo:
    """The run that is published.

    Args:
        name: The run's name: id of the Collection.
        description: One paragraph for people.
        area: In longitude and latitude.
        region: The same on the grid.
        tile_size: Side of a tile in pixels.
        kernel: What mapped it.
        arrays: All arrays of the mosaic, in the order of a COG's bands.
        interval: Start and end of the time that was searched or used.
        created: When this is published, UTC.
        software: Name to version.
        failed: Failed tile's name to reason.
        counts: Status to number of tiles, ``failed`` included.
        levels: Number of pyramid levels in the store.
        quicklook: Picture of the whole, if one was made.
        objects: All objects, where the kernel finds any.
        warnings: What had to be assumed of the scenes' numbers, one line each.
    """

    name: str
    description: str
    area: Area
    region: GridArea
    tile_size: int
    kernel: KernelInfo
    arrays: tuple[ArraySpec, ...]
    interval: tuple[datetime, datetime]
    created: datetime
    software: Mapping[str, str]
    failed: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    levels: int = 1
    quicklook: OutputFile | None = None
    objects: MergedObjects | None = None
    warnings: tuple[str, ...] = ()

    @property
    def gsd(self) -> float:
        """Ground sample distance in metres; at the equator where the CRS is in degrees."""
        return round(self.region.grid.resolution * metres_per_unit(self.region.grid.crs), 6)

    def arrays_of(self, asset: str) -> tuple[ArraySpec, ...]:
        """The arrays that an asset's file holds: the one of its name; all, where none has it."""
        return tuple(spec for spec in self.arrays if spec.name == asset) or self.arrays
