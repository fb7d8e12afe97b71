"""A snapshot's files: ``snapshots/<hash>/`` with a GeoParquet index and the JSON of each collection's items.

Why parquet for JSON strings: it compresses items (they are near copies of each other) some thirty times, and
a worker that needs forty items of a hundred thousand reads two row groups. For that the rows of an items file
lie by place, not by time: the scenes of one tile are neighbours in it.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eopipe import run_folder
from eopipe.errors import DamageError, one_line
from eopipe.snapshot.snapshot import INDEX_SCHEMA, Snapshot, snapshot_hash

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.storage import Storage

FORMAT = 1
GROUP = 32
"""Items in a row group of an items file: about half a megabyte of JSON."""

_GROUPS_IN_MEMORY = 24
_GEO = {
    "version": "1.1.0",
    "primary_column": "geometry",
    "columns": {
        "geometry": {
            "encoding": "WKB",
            "geometry_types": [],
            "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
        }
    },
}


def write_snapshot(snapshot: Snapshot, storage: Storage) -> None:
    """Write under ``snapshots/<hash>/``; ``snapshot.json`` comes last, so a torn write is no snapshot."""
    folder = run_folder.snapshot(snapshot.hash)
    files: dict[str, dict[str, Any]] = {}
    collections = snapshot.index.column("collection").to_numpy(zero_copy_only=False)
    for name in dict.fromkeys(collections.tolist()):
        rows = np.flatnonzero(collections == name)
        stem = _stem(name, files)
        index = _parquet(_index_table(snapshot, rows), group=10_000)
        storage.put(f"{folder}/{stem}.items.parquet", _parquet(_items_table(snapshot, rows), group=GROUP))
        storage.put(f"{folder}/{stem}.parquet", index)
        files[stem] = {"collection": name, "rows": len(rows), "index_sha256": hashlib.sha256(index).hexdigest()}
    manifest = {"format": FORMAT, "hash": snapshot.hash, "epochs": list(snapshot.epochs), "files": files}
    storage.put(f"{folder}/snapshot.json", json.dumps(manifest, indent=1).encode())


def read_snapshot(storage: Storage, expected: str) -> Snapshot:
    """Read a written snapshot by its hash; the items' JSON stays in its files until it is needed.

    Raises:
        DamageError: A file is missing or damaged, or what it holds does not have this hash.
    """
    folder = run_folder.snapshot(expected)
    manifest = _manifest(storage, folder, expected)
    tables = [
        _read_index(storage, f"{folder}/{stem}.parquet", entry["index_sha256"])
        for stem, entry in manifest["files"].items()
    ]
    index = pa.concat_tables([INDEX_SCHEMA.empty_table(), *tables]).sort_by("row").combine_chunks()
    epochs = tuple(manifest["epochs"])
    pairs = zip(index.column("epoch").to_pylist(), index.column("hash").to_pylist(), strict=True)
    actual = snapshot_hash(epochs, pairs)
    if actual != expected:
        raise DamageError(
            f"snapshot {expected[:12]}: its index has the hash {actual[:12]}; restore {folder}/ or start anew"
        )
    sizes = dict(storage.sizes(folder))
    files = {
        entry["collection"]: _ItemsFile(storage, folder, f"{stem}.items.parquet", sizes)
        for stem, entry in manifest["files"].items()
    }
    return Snapshot(hash=expected, index=index, epochs=epochs, _texts=_InParquet(files, index))


def _stem(collection: str, taken: dict[str, dict[str, Any]]) -> str:
    """A file name for a collection: its id where that is plain, else a readable part and a hash."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", collection).strip(".-")[:80] or "items"
    mark = hashlib.sha256(collection.encode()).hexdigest()[:8]
    same = plain == collection and plain.lower() not in {stem.lower() for stem in taken}
    return plain if same else f"{plain}-{mark}"


def _index_table(snapshot: Snapshot, rows: NDArray[np.int64]) -> pa.Table:
    table = snapshot.index.take(pa.array(rows))
    return table.replace_schema_metadata({"geo": json.dumps(_GEO), "eopipe:snapshot": snapshot.hash})


def _items_table(snapshot: Snapshot, rows: NDArray[np.int64]) -> pa.Table:
    ordered = rows[_by_place(snapshot.index.take(pa.array(rows)))]
    texts = pa.array(snapshot.texts(ordered.tolist()), pa.large_string())
    return pa.table({"row": pa.array(ordered, pa.int32()), "item": texts})


def _by_place(index: pa.Table) -> NDArray[np.int64]:
    """Order that puts scenes of the same place together: half-degree squares along a Z curve, then time."""
    bbox = index.column("bbox").combine_chunks()
    sides = ("xmin", "ymin", "xmax", "ymax")
    west, south, east, north = (
        np.nan_to_num(pc.struct_field(bbox, side).to_numpy(zero_copy_only=False)) for side in sides
    )
    across = np.clip((west + east + 360) // 1, 0, 719).astype(np.int64)
    up = np.clip((south + north + 180) // 1, 0, 359).astype(np.int64)
    code = np.zeros_like(across)
    for bit in range(10):
        code |= ((across >> bit) & 1) << (2 * bit) | ((up >> bit) & 1) << (2 * bit + 1)
    return np.lexsort((index.column("row").to_numpy(), code))


def _parquet(table: pa.Table, *, group: int) -> bytes:
    sink = io.BytesIO()
    pq.write_table(
        table, sink, row_group_size=group, compression="zstd", compression_level=9, use_dictionary=group > GROUP,
        write_statistics=False, write_page_checksum=True,
    )  # fmt: skip
    return sink.getvalue()


def _manifest(storage: Storage, folder: str, expected: str) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads(storage.get(f"{folder}/snapshot.json"))
        stated = (manifest["format"], manifest["hash"])
        checked = {"files": dict(manifest["files"]), "epochs": list(manifest["epochs"])}
    except FileNotFoundError:
        raise DamageError(f"snapshot {expected[:12]} is not there; {folder}/snapshot.json is missing") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError(
            f"snapshot {expected[:12]}: {folder}/snapshot.json is damaged ({error}); restore it"
        ) from None
    if stated != (FORMAT, expected):
        raise DamageError(
            f"snapshot {expected[:12]}: {folder}/snapshot.json says format and hash {stated}; restore it"
        )
    return checked


def _read_index(storage: Storage, path: str, sha256: str) -> pa.Table:
    try:
        data = storage.get(path)
    except FileNotFoundError:
        raise DamageError(f"snapshot file {path} is missing; restore it or start a new run") from None
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DamageError(f"snapshot file {path} is not the one that was written (sha256); restore it or start anew")
    return pq.read_table(io.BytesIO(data)).replace_schema_metadata(None).cast(INDEX_SCHEMA)


@dataclass(frozen=True)
class _InParquet:
    """Texts from the items files of a written snapshot; picklable."""

    files: dict[str, _ItemsFile]
    index: pa.Table

    def __call__(self, rows: Sequence[int]) -> list[str]:
        collections = self.index.column("collection")
        by_collection: dict[str, list[int]] = {}
        for row in rows:
            by_collection.setdefault(collections[int(row)].as_py(), []).append(int(row))
        texts: dict[int, str] = {}
        for name, numbers in by_collection.items():
            texts.update(self.files[name].read(numbers))
        return [texts[int(row)] for row in rows]


class _ItemsFile:
    """One items file: knows which row group holds a row, and keeps the last few groups."""

    def __init__(self, storage: Storage, folder: str, name: str, sizes: dict[str, int]) -> None:
        self.storage, self.folder, self.name = storage, folder, name
        self.size = next((size for path, size in sizes.items() if path.endswith(f"/{name}")), None)
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._file: pq.ParquetFile | None = None
        self._group_of: dict[int, int] = {}
        self._groups: dict[int, dict[int, str]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("storage", "folder", "name", "size")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def read(self, rows: Sequence[int]) -> dict[int, str]:
        """Row number to JSON.

        Raises:
            DamageError: The file is missing, damaged or does not hold a row.
        """
        where = f"{self.folder}/{self.name}"
        with self._lock:  # a ParquetFile is not for several threads
            try:
                file = self._open()
                return {row: self._group(file, self._group_of[row])[row] for row in rows}
            except KeyError as error:
                raise DamageError(f"snapshot file {where} does not hold row {error}; restore it") from None
            except FileNotFoundError:
                raise DamageError(f"snapshot file {where} is missing; restore it or start a new run") from None
            except (pa.ArrowException, OSError) as error:
                self._file = None
                reason = one_line(error, 200)
                raise DamageError(
                    f"snapshot file {where} cannot be read: {reason}; restore it or start anew"
                ) from None

    def _open(self) -> pq.ParquetFile:
        if self._file is None:
            source = self._source()
            file = pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True)
            numbers = file.read(columns=["row"]).column("row").to_pylist()
            starts = np.cumsum([0] + [file.metadata.row_group(g).num_rows for g in range(file.num_row_groups)])
            groups = np.searchsorted(starts, np.arange(len(numbers)), side="right") - 1
            self._group_of = dict(zip(numbers, groups.tolist(), strict=True))
            self._file = file
        return self._file

    def _source(self) -> Any:
        path = self.storage.local_path(f"{self.folder}/{self.name}")
        if path is not None:
            return pa.OSFile(str(path), "rb")
        if self.size is None:
            raise FileNotFoundError(self.name)
        return pa.PythonFile(_Ranges(self.storage.zarr_store(self.folder), self.name, self.size), mode="r")

    def _group(self, file: pq.ParquetFile, number: int) -> dict[int, str]:
        texts = self._groups.pop(number, None)
        if texts is None:
            table = file.read_row_group(number)
            texts = dict(zip(table.column("row").to_pylist(), table.column("item").to_pylist(), strict=True))
        self._groups[number] = texts  # last: most recently used
        if len(self._groups) > _GROUPS_IN_MEMORY:
            del self._groups[next(iter(self._groups))]
        return texts


class _Ranges(io.RawIOBase):
    """A remote object as a seekable file: each read is one ranged request, through the storage's zarr store."""

    def __init__(self, store: Any, key: str, size: int) -> None:
        super().__init__()
        self._store, self._key, self._size, self._at = store, key, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence] + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._size if size < 0 else min(self._size, self._at + size)
        if stop <= self._at:
            return b""
        data = _ranged(self._store, self._key, self._at, stop)
        self._at += len(data)
        return data


def _ranged(store: Any, key: str, start: int, stop: int) -> bytes:
    from zarr.abc.store import RangeByteRequest  # noqa: PLC0415  (only remote snapshots pay for the import)
    from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415
    from zarr.core.sync import sync  # noqa: PLC0415

    data = sync(store.get(key, default_buffer_prototype(), RangeByteRequest(start, stop)))
    if data is None:
        raise FileNotFoundError(key)
    return bytes(data.to_bytes())
