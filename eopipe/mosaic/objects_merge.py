"""A run's objects in one file: the tiles' files one after another, what met at seams put right.

Twice through the tiles' files: once for the objects at seams, which are held, and once to write. What is written is
ordered by tile, and in a tile by place; an object that was joined stands where its first part stood.
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
class Part:
    """One tile's file.

    Args:
        tile: The tile's name.
        path: In the run's folder.
        sha256: What its record says of it, in hex.
    """

    tile: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Merged:
    """The whole file: path in the run's folder, bytes, sha256 (hex), objects, and what it was made of."""

    path: str
    size: int
    sha256: str
    count: int
    sources: str


def digest_of(parts: Sequence[Part]) -> str:
    """What a file is made of: a hash over the tiles' files, in order."""
    return hashlib.sha256("".join(f"{part.path} {part.sha256}\n" for part in parts).encode()).hexdigest()


def merge(storage: Storage, path: str, parts: Sequence[Part], layout: ObjectLayout, dates: Dates) -> Merged:
    """Write the whole file; the same bytes for the same parts.

    Args:
        storage: The run's folder.
        path: Where it goes.
        parts: The tiles' files, in the order in which they are to stand in it.
        layout: Of the tiles' files.
        dates: Bounds ``[N, 4]`` (left, bottom, right, top in the grid's CRS) to a date an object, by column.

    Raises:
        DamageError: A tile's file is missing or not what its record says.
        OutputError: The folder cannot be written.
    """
    seams, counts = [layout.schema.empty_table()], [0]
    for _, table in _tables(storage, parts, layout):
        seams.append(table.filter(table.column("seam")))
        counts.append(len(seams[-1]))
    rows, resolved = resolve(pa.concat_tables(seams), layout)
    starts = np.cumsum(counts)
    with tempfile.TemporaryDirectory(prefix="eopipe-objects-") as scratch:
        target = Path(scratch) / "objects.parquet"
        count = _write(target, _whole(storage, parts, layout, starts, (rows, resolved)), layout, dates)
        with target.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        storage.upload(path, target)
        return Merged(path, target.stat().st_size, sha256, count, digest_of(parts))


def _whole(
    storage: Storage,
    parts: Sequence[Part],
    layout: ObjectLayout,
    starts: NDArray[np.int64],
    seams: tuple[NDArray[np.int64], pa.Table],
) -> Iterator[pa.Table]:
    """Each tile's objects as they are in the end.

    Args:
        storage: The run's folder.
        parts: The tiles' files.
        layout: Of them.
        starts: Where each tile's objects at seams begin among all of them.
        seams: Which of all of them are left, ascending, and what became of these.
    """
    rows, resolved = seams
    for number, table in _tables(storage, parts, layout):
        at_seam = table.column("seam").to_numpy()
        low, high = np.searchsorted(rows, starts[number : number + 2])
        mine = np.flatnonzero(at_seam)[rows[low:high] - starts[number]]
        both = pa.concat_tables([table.filter(pc.invert(table.column("seam"))), resolved.slice(low, high - low)])
        yield both.take(pa.array(np.argsort(np.concatenate([np.flatnonzero(~at_seam), mine]))))


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


def _tables(storage: Storage, parts: Sequence[Part], layout: ObjectLayout) -> Iterator[tuple[int, pa.Table]]:
    """Number and table of each tile's file, a few ahead."""
    with ThreadPoolExecutor(_READERS, thread_name_prefix="objects") as pool:
        for start in range(0, len(parts), _AHEAD):
            some = parts[start : start + _AHEAD]
            yield from enumerate(pool.map(lambda part: _read(storage, part, layout), some), start)


def _read(storage: Storage, part: Part, layout: ObjectLayout) -> pa.Table:
    remedy = "delete its record and run again"
    try:
        data = storage.get(part.path)
    except FileNotFoundError:
        raise DamageError(f"tile {part.tile}: its objects {part.path} are missing; {remedy}") from None
    if hashlib.sha256(data).hexdigest() != part.sha256:
        raise DamageError(f"tile {part.tile}: its objects {part.path} were changed; {remedy}")
    try:
        return decode(data, layout)
    except ValueError as error:
        raise DamageError(f"tile {part.tile}: its objects {part.path} cannot be used: {error}; {remedy}") from None
