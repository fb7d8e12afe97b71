"""A folder in this process's memory: for tests of the store, never for a run with worker processes."""

# ruff: noqa: D102, ARG002  (Storage documents each method; not each kind of folder needs all arguments)
from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING

from zarr.core.buffer import Buffer, default_buffer_prototype
from zarr.storage import MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

_LOCK = threading.RLock()
_FILES: dict[str, bytes] = {}


class MemoryFolder:
    """Backend on one dictionary a process; ``memory://a/b`` is a folder of ``memory://a``."""

    shareable = False
    atomic = True

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
            if self.exists(path):
                return False
            self.put(path, data)
            return True

    def get_versioned(self, path: str) -> tuple[bytes, str]:
        data = self.get(path)
        return data, hashlib.blake2b(data, digest_size=16).hexdigest()

    def swap(self, path: str, data: bytes, version: str) -> bool:
        with _LOCK:
            if not self.exists(path) or self.get_versioned(path)[1] != version:
                return False
            self.put(path, data)
            return True

    def exists(self, path: str) -> bool:
        return self._prefix + path in _FILES

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        start = self._prefix + (f"{prefix}/" if prefix else "")
        with _LOCK:
            found = sorted((key, len(data)) for key, data in _FILES.items() if key.startswith(start))
        for key, size in found:
            yield key.removeprefix(self._prefix), size

    def delete(self, path: str) -> None:
        with _LOCK:
            _FILES.pop(self._prefix + path, None)

    def local_path(self, path: str) -> Path | None:
        return None

    def zarr_store(self, path: str) -> MemoryStore:
        return MemoryStore(_View(f"{self._prefix}{path}/"))

    def upload(self, path: str, file: Path) -> None:
        self.put(path, file.read_bytes())

    def flush(self, path: str) -> None:
        return


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
            found = [key for key in _FILES if key.startswith(self._prefix)]
        return (key.removeprefix(self._prefix) for key in found)

    def __len__(self) -> int:
        return sum(1 for _ in self)
