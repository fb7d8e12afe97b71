"""A run's objects as one file: merged from the tiles' files, with the dates of the scenes that show each."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from eopipe import run_folder
from eopipe.engine.plan.layouts import object_layout
from eopipe.engine.work.tile_objects import OBJECTS
from eopipe.grid import Tile
from eopipe.mosaic.objects_merge import ObjectsFile, digest_of, merge

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from eopipe.area.on_grid import GridArea
    from eopipe.engine.output.record import Record
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.run_folder import MergedObjects
    from eopipe.snapshot import Snapshot
    from eopipe.storage import Storage


class SceneDates:
    """Acquisition dates of an object: of the scenes that meet its box, so that no tile can be seen in them.

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
        scenes = self._scenes.query(bounds) if len(bounds) else []
        box = np.repeat(np.arange(len(scenes)), [len(rows) for rows in scenes])
        row = np.concatenate([np.zeros(0, np.int64), *scenes]).astype(np.int64)
        columns = {}
        for code, name in enumerate(self._names):
            of_epoch = self._epochs[row] == code
            stem = f"date_{name}" if len(self._names) > 1 else "date"
            for end, choose, none in (("start", np.minimum, 2**31), ("end", np.maximum, -(2**31))):
                days = np.full(len(bounds), none, np.int64)
                choose.at(days, box[of_epoch], self._days[row[of_epoch]])
                columns[f"{stem}_{end}"] = pa.array(days.astype(np.int32), pa.date32(), mask=days == none)
        return columns


def object_files(records: Iterable[Record]) -> list[ObjectsFile]:
    """The files of objects that records vouch for, by tile."""
    files = ((Tile.parse(record.tile), record.files[OBJECTS]) for record in records if OBJECTS in record.files)
    return [ObjectsFile(tile.name, file.path, file.sha256) for tile, file in sorted(files, key=lambda pair: pair[0])]


def merge_objects(storage: Storage, job: Job, snapshot: Snapshot, records: Iterable[Record]) -> MergedObjects | None:
    """Write the run's objects as one file; None where its kernel finds none.

    Raises:
        DamageError: A tile's file is missing or damaged.
        OutputError: The folder cannot be written.
    """
    layout = object_layout(job.kernel.info, job.region)
    if layout is None:
        return None
    return merge(storage, run_folder.MERGED, object_files(records), layout, SceneDates(snapshot, job.region))


def merged_problem(storage: Storage, assets: Mapping[str, Any], records: Iterable[Record]) -> str | None:
    """A contradiction between the merged file, the Collection's entry on it and the tiles' records; None where none.

    A file that is missing is no such contradiction: every asset is checked for that.
    """
    files, stated = object_files(records), assets.get(OBJECTS)
    if stated is None:
        return f"{run_folder.COLLECTION} lacks the objects of {len(files)} tiles" if files else None
    if stated["eopipe:sources"] != digest_of(files):
        return f"{run_folder.MERGED} was not made of the objects that the ledger's records name"
    sha256 = _sha256(storage, run_folder.MERGED)
    return None if sha256 is None or stated["file:checksum"].endswith(sha256) else f"{run_folder.MERGED} was changed"


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
