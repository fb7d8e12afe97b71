"""A tile's vectors: which objects belong to it, and its file of them.

An object belongs to the tile that holds its first pixel, in row order, *that the area holds*. So every object that
touches the area has one owner whatever the tile size, and that owner is a tile of the run; one that touches no pixel
of the area has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe import run_folder
from eopipe.grid import PixelBox
from eopipe.kernels.objects import FoundObjects
from eopipe.mosaic.objects import ObjectLayout, encode, table_of
from eopipe.run_folder import OutputFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.area.on_grid import GridArea
    from eopipe.grid import Tile
    from eopipe.storage import Storage

OBJECTS = "objects"
"""Name of the asset that holds objects, in a tile's record and in the run's Collection."""


class TileObjects:
    """Collects the objects that belong to a tile, and writes them.

    Args:
        layout: Of the file.
        region: The area on the grid.
        box: The tile.
        inside: ``[y, x]`` over the tile: whether the area holds a pixel; None where it holds all.
    """

    def __init__(
        self, layout: ObjectLayout, region: GridArea, box: PixelBox, inside: NDArray[np.bool_] | None
    ) -> None:
        self._layout, self._region, self._box, self._inside = layout, region, box, inside
        self._objects: list[FoundObjects] = []
        self._origins: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]

    def add(self, objects: FoundObjects) -> None:
        """Keep those that belong to the tile.

        Raises:
            ValueError: They lack a column that the kernel declares, or have another.
        """
        declared = {column.name for column in self._layout.spec.columns}
        if len(objects) and set(objects.columns) != declared:
            raise ValueError(
                f"objects have the columns {sorted(objects.columns)}, and declared are {sorted(declared)}"
            )
        belongs, origins = owned(objects, self._box, self._region, self._inside)
        if belongs.any():
            self._objects.append(_select(objects, belongs))
            self._origins.append(origins)

    def write(self, storage: Storage, tile: Tile, inputs: str) -> dict[str, OutputFile]:
        """Write the tile's file, which its record must name; none where it has no object.

        Raises:
            OutputError: Denied, full or unreachable.
        """
        if not self._objects:
            return {}
        table = table_of(FoundObjects.concatenate(self._objects), np.concatenate(self._origins), self._layout)
        path, data = run_folder.objects(tile, inputs), encode(table)
        storage.put(path, data)
        return {OBJECTS: OutputFile.of(path, data)}


def owned(
    objects: FoundObjects, box: PixelBox, region: GridArea, inside: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which objects belong to a tile.

    Args:
        objects: Any objects.
        box: The tile.
        region: The area.
        inside: ``[y, x]`` over the tile: whether the area holds a pixel; None where it holds all.

    Returns:
        ``[N]``, and of those that do the row and column of their first pixel that the area holds, ``[M, 2]``.
    """
    belongs, origins = np.zeros(len(objects), bool), np.zeros((len(objects), 2), np.int64)
    if not len(objects):
        return belongs, origins
    row, start, stop = objects.runs.T
    touches = (row >= box.row0) & (row < box.row1) & (start < box.col1) & (stop > box.col0)
    near = np.logical_or.reduceat(touches, objects.offsets[:-1])
    origins[:] = objects.runs[objects.offsets[:-1], :2]
    belongs = near & _within(origins, box)  # where the very first pixel is the tile's and the area's, it decides
    if inside is not None:
        belongs[belongs] = inside[origins[belongs, 0] - box.row0, origins[belongs, 1] - box.col0]
    for index in np.flatnonzero(near & ~belongs).tolist():
        origin = _first(objects.runs[objects.offsets[index] : objects.offsets[index + 1]], region)
        if origin is not None and _within(origin, box):
            belongs[index], origins[index] = True, origin
    return belongs, origins[belongs]


def _within(pixels: NDArray[np.int64], box: PixelBox) -> NDArray[np.bool_]:
    row, col = pixels[..., 0], pixels[..., 1]
    inside: NDArray[np.bool_] = (row >= box.row0) & (row < box.row1) & (col >= box.col0) & (col < box.col1)
    return inside


def _first(runs: NDArray[np.int64], region: GridArea) -> NDArray[np.int64] | None:
    """The first pixel of some runs that the area holds."""
    row0, col0 = int(runs[0, 0]), int(runs[:, 1].min())
    mask = region.mask(PixelBox(row0, col0, int(runs[-1, 0]) + 1, int(runs[:, 2].max())))
    for row, start, stop in runs.tolist():
        inside = mask[row - row0, start - col0 : stop - col0]
        if inside.any():
            return np.array([row, start + int(inside.argmax())])
    return None


def _select(objects: FoundObjects, chosen: NDArray[np.bool_]) -> FoundObjects:
    counts = np.diff(objects.offsets)
    return FoundObjects(
        objects.runs[np.repeat(chosen, counts)],
        np.concatenate([[0], np.cumsum(counts[chosen], dtype=np.int64)]),
        objects.seam[chosen],
        {name: values[chosen] for name, values in objects.columns.items()},
    )
