"""A run's objects in one file: the tiles' files one after another, those at seams joined or dropped.

The tiles' files are read twice: once for the objects at seams, which are held, and once to write. The merged file is
ordered by tile, and in a tile by place; a joined object has the position of its first part.
"""

from __future__ import annotations

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eopipe.errors import DamageError
from eopipe.mosaic.objects import bounds_of, decode
from eopipe.mosaic.objects_seams import resolve
from eopipe.run_folder import MergedObjects, OutputFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.mosaic.objects import ObjectLayout
    from eopipe.storage import Storage

    Dates = Callable[[NDArray[np.float64]], Mapping[str, pa.Array]]

GROUP = 16_384
"""Objects after which a row group ends, with the tile they are of."""

_READERS = 8
_AHEAD = 8
"""Tiles' files that are read at once: an object store answers one request in 20-50 ms."""


@dataclass(frozen=True)
class ObjectsFile:
    """One tile's file.

    Args:
        tile: The tile's name.
        path: In the run's folder.
        sha256: From its record, in hex.
    """

    tile: str
    path: str
    sha256: str


def digest_of(files: Sequence[ObjectsFile]) -> str:
    """A hash over the tiles' files, in order."""
    return hashlib.sha256("".join(f"{file.path} {file.sha256}\n" for file in files).encode()).hexdigest()


def merge(
    storage: Storage, path: str, files: Sequence[ObjectsFile], layout: ObjectLayout, dates: Dates
) -> MergedObjects:
    """Write the merged file; the same bytes for the same tiles' files.

    Args:
        storage: The run's folder.
        path: Where it goes.
        files: The tiles' files, in the order of the merged file.
        layout: Of the tiles' files.
        dates: Bounds ``[N, 4]`` (left, bottom, right, top in the grid's CRS) to a date an object, by column.

    Raises:
        DamageError: A tile's file is missing or differs from its record.
        OutputError: The folder cannot be written.
    """
    seams, counts = [layout.schema.empty_table()], [0]
    for _, table in _tables(storage, files, layout):
        seams.append(table.filter(table.column("seam")))
        counts.append(len(seams[-1]))
    rows, resolved = resolve(pa.concat_tables(seams), layout)
    starts = np.cumsum(counts)
    with tempfile.TemporaryDirectory(prefix="eopipe-objects-") as scratch:
        target = Path(scratch) / "objects.parquet"
        count = _write(target, _whole(storage, files, layout, starts, (rows, resolved)), layout, dates)
        with target.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        storage.upload(path, target)
        return MergedObjects(OutputFile(path, target.stat().st_size, sha256), count, digest_of(files))


def _whole(
    storage: Storage,
    files: Sequence[ObjectsFile],
    layout: ObjectLayout,
    starts: NDArray[np.int64],
    seams: tuple[NDArray[np.int64], pa.Table],
) -> Iterator[pa.Table]:
    """Each tile's objects after joining.

    Args:
        storage: The run's folder.
        files: The tiles' files.
        layout: Of them.
        starts: Where each tile's objects at seams begin among all of them.
        seams: The rows of all of them that remain, ascending, and their table after joining.
    """
    rows, resolved = seams
    for number, table in _tables(storage, files, layout):
        at_seam = table.column("seam").to_numpy()
        low, high = np.searchsorted(rows, starts[number : number + 2])
        positions = np.flatnonzero(at_seam)[rows[low:high] - starts[number]]
        both = pa.concat_tables([table.filter(pc.invert(table.column("seam"))), resolved.slice(low, high - low)])
        yield both.take(pa.array(np.argsort(np.concatenate([np.flatnonzero(~at_seam), positions]))))


def _write(target: Path, tables: Iterator[pa.Table], layout: ObjectLayout, dates: Dates) -> int:
    """Row groups of whole tiles; returns the number of objects."""
    count, waiting = 0, [layout.schema.empty_table()]
    empty = _dated(waiting[0], dates)
    with pq.ParquetWriter(target, empty.schema, compression="zstd") as writer:
        for table in tables:
            waiting.append(table)
            count += len(table)
            if sum(map(len, waiting)) >= GROUP:
                _flush(writer, waiting, dates)
        _flush(writer, waiting, dates)
    return count


def _flush(writer: pq.ParquetWriter, waiting: list[pa.Table], dates: Dates) -> None:
    table = pa.concat_tables(waiting)
    waiting[1:] = []
    if len(table):
        writer.write_table(_dated(table, dates), row_group_size=len(table))


def _dated(table: pa.Table, dates: Dates) -> pa.Table:
    """With the columns of dates, before ``seam``."""
    at = table.schema.get_field_index("seam")
    for name, values in reversed(list(dates(bounds_of(table)).items())):
        table = table.add_column(at, pa.field(name, pa.date32()), values)
    return table


def _tables(storage: Storage, files: Sequence[ObjectsFile], layout: ObjectLayout) -> Iterator[tuple[int, pa.Table]]:
    """Number and table of each tile's file, a few ahead."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="objects") as pool:
        for start in range(0, len(files), _AHEAD):
            some = files[start : start + _AHEAD]
            yield from enumerate(pool.map(lambda file: _read(storage, file, layout), some), start)


def _read(storage: Storage, file: ObjectsFile, layout: ObjectLayout) -> pa.Table:
    remedy = "delete its record and run again"
    try:
        data = storage.get(file.path)
    except FileNotFoundError:
        raise DamageError(f"tile {file.tile}: its objects {file.path} are missing; {remedy}") from None
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DamageError(f"tile {file.tile}: its objects {file.path} were changed; {remedy}")
    try:
        return decode(data, layout)
    except ValueError as error:
        raise DamageError(f"tile {file.tile}: its objects {file.path} cannot be used: {error}; {remedy}") from None
