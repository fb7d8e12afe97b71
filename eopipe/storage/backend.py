"""What a kind of folder does, and what most kinds do alike; :class:`eopipe.storage.Storage` documents each method."""

# ruff: noqa: D102, ARG002  (Storage documents each method; not each kind of folder needs all arguments)
from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from zarr.abc.store import Store


class Backend(Protocol):
    """Methods raise what their library raises; Storage translates.

    The inherited ``create`` and ``swap`` are right for one writer at a time; a kind of folder that can decide
    between several has its own.
    """

    def get(self, path: str) -> bytes: ...
    def put(self, path: str, data: bytes) -> None: ...
    def exists(self, path: str) -> bool: ...
    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]: ...
    def delete(self, path: str) -> None: ...
    def zarr_store(self, path: str) -> Store: ...

    def create(self, path: str, data: bytes) -> bool:
        if self.exists(path):
            return False
        self.put(path, data)
        return True

    def get_versioned(self, path: str) -> tuple[bytes, str]:
        """The version is the content's hash: clocks and inode times are too coarse to distinguish two writes."""
        data = self.get(path)
        return data, hashlib.blake2b(data, digest_size=16).hexdigest()

    def swap(self, path: str, data: bytes, version: str) -> bool:
        if not self.exists(path) or self.get_versioned(path)[1] != version:
            return False
        self.put(path, data)
        return True

    def upload(self, path: str, file: Path) -> None:
        self.put(path, file.read_bytes())

    def local_path(self, path: str) -> Path | None:
        return None

    def flush(self, path: str) -> None:
        return
