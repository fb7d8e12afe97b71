"""A folder in this process's memory: for tests of the store, never for a run with worker processes."""

# ruff: noqa: D102  (Storage documents each method)
from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping

from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

from eopipe.storage.backend import Backend

_LOCK = threading.RLock()
_FILES: dict[str, bytes] = {}


class MemoryFolder(Backend):
    """Backend on one dictionary a process; ``memory://a/b`` is a folder of ``memory://a``."""

    def __init__(self, name: str) -> None:
        self._prefix = f"{name.strip('/')}/"

    def get(self, path: str) -> bytes:
        try:
            return _FILES[self._prefix + path]
        except KeyError:
            raise FileNotFoundError(path) from None

    def put(self, path: str, data: bytes) -> None:
        with _LOCK:
            _FILES[self._prefix + path] = bytes(data)

    def create(self, path: str, data: bytes) -> bool:
        with _LOCK:
            return super().create(path, data)

    def swap(self, path: str, data: bytes, version: str) -> bool:
        with _LOCK:
            return super().swap(path, data, version)

    def exists(self, path: str) -> bool:
        return self._prefix + path in _FILES

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        start = self._prefix + (f"{prefix}/" if prefix else "")
        with _LOCK:
            files = sorted((key, len(data)) for key, data in _FILES.items() if key.startswith(start))
        for key, size in files:
            yield key.removeprefix(self._prefix), size

    def delete(self, path: str) -> None:
        with _LOCK:
            _FILES.pop(self._prefix + path, None)

    def zarr_store(self, path: str) -> MemoryStore:
        return MemoryStore(_View(f"{self._prefix}{path}/"))


class _View(MutableMapping[str, Buffer]):
    """The files below a prefix, as the mapping that Zarr's memory store works on."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __getitem__(self, key: str) -> Buffer:
        return default_buffer_prototype().buffer.from_bytes(_FILES[self._prefix + key])

    def __setitem__(self, key: str, value: Buffer) -> None:
        with _LOCK:
            _FILES[self._prefix + key] = value.to_bytes()

    def __delitem__(self, key: str) -> None:
        with _LOCK:
            del _FILES[self._prefix + key]

    def __iter__(self) -> Iterator[str]:
        with _LOCK:
            keys = [key for key in _FILES if key.startswith(self._prefix)]
        return (key.removeprefix(self._prefix) for key in keys)

    def __len__(self) -> int:
        return sum(1 for _ in self)
