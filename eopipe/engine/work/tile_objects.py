"""Vectors of a run: which objects are a tile's own, its file of them, and the whole run's.

An object belongs to the tile that holds its first pixel, in row order, *that the area holds*. So every object that
touches the area has one owner whatever the tile size, and that owner is a tile of the run; one that touches no pixel
of the area has none.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from eopipe import run_folder
from eopipe.engine.output.ledger import FileInfo
from eopipe.errors import SpecError
from eopipe.grid import PixelBox, Tile
from eopipe.kernels.objects import FoundObjects
from eopipe.mosaic.objects import ObjectLayout, encode, table_of
from eopipe.mosaic.objects_merge import Merged, ObjectsFile, digest_of, merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from eopipe.area.on_grid import GridArea
    from eopipe.engine.output.ledger import Record
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.engine.work.worker_state import RunContext
    from eopipe.kernel_info import KernelInfo
    from eopipe.snapshot import Snapshot
    from eopipe.storage import Storage

OBJECTS = "objects"
"""Name of the asset, of a tile and of the run."""


class TileObjects:
    """Collects the objects that are a tile's own, and writes them; any task that finds objects uses one.

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
        self._found: list[FoundObjects] = []
        self._places: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]

    @classmethod
    def of(cls, context: RunContext, tile: Tile, inside: NDArray[np.bool_] | None) -> TileObjects | None:
        """A tile's of a run; None where its kernel finds no objects."""
        layout = object_layout(context.kernel.info, context.region)
        return None if layout is None else cls(layout, context.region, tile.box(context.layout.tile), inside)

    def add(self, found: FoundObjects) -> None:
        """Keep those that are the tile's own.

        Raises:
            ValueError: They lack a column that the kernel declares, or have another.
        """
        declared = {column.name for column in self._layout.spec.columns}
        if len(found) and set(found.columns) != declared:
            raise ValueError(f"objects have the columns {sorted(found.columns)}, and declared are {sorted(declared)}")
        own, places = owned(found, self._box, self._region, self._inside)
        if own.any():
            self._found.append(_taken(found, own))
            self._places.append(places)

    def write(self, storage: Storage, tile: Tile, inputs: str) -> dict[str, FileInfo]:
        """Write the tile's file, which its record must name; none where it has no object.

        Raises:
            OutputError: Denied, full or unreachable.
        """
        if not self._found:
            return {}
        table = table_of(FoundObjects.concatenate(self._found), np.concatenate(self._places), self._layout)
        path, data = run_folder.objects(tile, inputs), encode(table)
        storage.put(path, data)
        return {OBJECTS: FileInfo(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest())}


def object_layout(info: KernelInfo, region: GridArea) -> ObjectLayout | None:
    """What a run's files of objects hold; None where its kernel finds none."""
    return None if info.objects is None else ObjectLayout(info.objects, region.grid)


def check_objects(info: KernelInfo) -> None:
    """Refuse objects on another lattice than the grid's: the area, and so the owner, is told by the grid's pixels.

    Raises:
        SpecError: They are.
    """
    if info.objects is not None and info.factor != 1:
        raise SpecError(
            f"kernel.gsd: {info.name} finds objects on the grid's own pixels, and its pixels would be {info.factor} "
            f"times as fine; leave kernel.gsd out, or give a grid of that resolution"
        )


def owned(
    found: FoundObjects, box: PixelBox, region: GridArea, inside: NDArray[np.bool_] | None
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which objects are a tile's own.

    Args:
        found: Any objects.
        box: The tile.
        region: The area.
        inside: ``[y, x]`` over the tile: whether the area holds a pixel; None where it holds all.

    Returns:
        ``[N]``, and of those that are the row and column of their first pixel that the area holds, ``[M, 2]``.
    """
    own, places = np.zeros(len(found), bool), np.zeros((len(found), 2), np.int64)
    if not len(found):
        return own, places
    row, start, stop = found.runs.T
    touches = (row >= box.row0) & (row < box.row1) & (start < box.col1) & (stop > box.col0)
    near = np.logical_or.reduceat(touches, found.offsets[:-1])
    places[:] = found.runs[found.offsets[:-1], :2]
    own = near & _within(places, box)  # where the first pixel of all is the tile's and the area's, it decides
    if inside is not None:
        own[own] = inside[places[own, 0] - box.row0, places[own, 1] - box.col0]
    for index in np.flatnonzero(near & ~own).tolist():
        place = _first(found.runs[found.offsets[index] : found.offsets[index + 1]], region)
        if place is not None and _within(place, box):
            own[index], places[index] = True, place
    return own, places[own]


def _within(places: NDArray[np.int64], box: PixelBox) -> NDArray[np.bool_]:
    row, col = places[..., 0], places[..., 1]
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


def _taken(found: FoundObjects, own: NDArray[np.bool_]) -> FoundObjects:
    counts = np.diff(found.offsets)
    return FoundObjects(
        found.runs[np.repeat(own, counts)],
        np.concatenate([[0], np.cumsum(counts[own], dtype=np.int64)]),
        found.seam[own],
        {name: values[own] for name, values in found.columns.items()},
    )


class SceneDates:
    """When what an object shows was acquired: by the scenes that meet its box, so no tile can be seen in it.

    Args:
        snapshot: The run's scenes.
        region: The area on the grid.
    """

    def __init__(self, snapshot: Snapshot, region: GridArea) -> None:
        times = snapshot.index.column("datetime").to_numpy().astype("datetime64[D]")
        self._scenes, self._days = snapshot.scenes(region.grid), times.astype(np.int64)
        self._names, self._epochs = snapshot.epochs, snapshot.epoch_codes

    def __call__(self, bounds: NDArray[np.float64]) -> dict[str, pa.Array]:
        """First and last day of each epoch, such as ``date_before_start``; of a single epoch ``date_start``."""
        rows = self._scenes.query(bounds) if len(bounds) else []
        box = np.repeat(np.arange(len(rows)), [len(found) for found in rows])
        row = np.concatenate([np.zeros(0, np.int64), *rows]).astype(np.int64)
        columns = {}
        for code, name in enumerate(self._names):
            mine = self._epochs[row] == code
            stem = f"date_{name}" if len(self._names) > 1 else "date"
            for end, choose, none in (("start", np.minimum, 2**31), ("end", np.maximum, -(2**31))):
                days = np.full(len(bounds), none, np.int64)
                choose.at(days, box[mine], self._days[row[mine]])
                columns[f"{stem}_{end}"] = pa.array(days.astype(np.int32), pa.date32(), mask=days == none)
        return columns


def parts_of(records: Iterable[Record]) -> list[ObjectsFile]:
    """The files of objects that records vouch for, by tile."""
    named = ((Tile.parse(record.tile), record.files[OBJECTS]) for record in records if OBJECTS in record.files)
    return [ObjectsFile(tile.name, file.path, file.sha256) for tile, file in sorted(named, key=lambda pair: pair[0])]


def merge_objects(storage: Storage, job: Job, snapshot: Snapshot, records: Iterable[Record]) -> Merged | None:
    """Write the run's objects as one file; None where its kernel finds none.

    Raises:
        DamageError: A tile's file is missing or damaged.
        OutputError: The folder cannot be written.
    """
    layout = object_layout(job.kernel.info, job.region)
    if layout is None:
        return None
    return merge(storage, run_folder.MERGED, parts_of(records), layout, SceneDates(snapshot, job.region))


def merged_problem(storage: Storage, assets: Mapping[str, Any], records: Iterable[Record]) -> str | None:
    """What is wrong with the whole file, by what the Collection says of it and by the tiles' records.

    A file that is missing is not told of here: that is so of any asset.
    """
    parts, stated = parts_of(records), assets.get(OBJECTS)
    if stated is None:
        return f"{run_folder.COLLECTION} lacks the objects of {len(parts)} tiles" if parts else None
    if stated["eopipe:sources"] != digest_of(parts):
        return f"{run_folder.MERGED} was not made of the objects that the ledger's records name"
    found = _sha256(storage, run_folder.MERGED)
    return None if found is None or stated["file:checksum"].endswith(found) else f"{run_folder.MERGED} was changed"


def _sha256(storage: Storage, path: str) -> str | None:
    """Of a file, which may be larger than memory where it is local; None where there is none."""
    local = storage.local_path(path)
    try:
        if local is None:
            return hashlib.sha256(storage.get(path)).hexdigest()
        with storage.guard(path), local.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
