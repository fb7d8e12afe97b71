"""A folder of any other scheme (sftp, hdfs, webdav …), or in this process's memory, by fsspec.

fsspec has no conditional replace, and its exclusive create depends on the file system; so ``create`` and ``swap``
do not decide between several writers, and the lease does not hold between machines.
"""

# ruff: noqa: D102  (Storage documents each method)
from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

import fsspec
from zarr.storage import FsspecStore

from eopipe.errors import OutputAddressError
from eopipe.storage.backend import Backend
from eopipe.storage.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from zarr.core.buffer import Buffer


class FsspecFolder(Backend):
    """Backend on a folder of an fsspec file system."""

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        scheme = uri.partition("://")[0]
        if scheme in {"http", "https"}:
            raise OutputAddressError(
                f"output {uri!r} cannot be written over {scheme}; give a folder or s3://, gs://, az://"
            )
        try:
            self._uri, self._options = uri, options
            self._fs, self._root = fsspec.core.url_to_fs(uri, **options)
        except (ValueError, ImportError, OSError, TypeError) as error:
            reason = first_line(str(error))
            raise OutputAddressError(
                f"output {uri!r} cannot be opened: {reason}; give a folder, s3://, gs://, az://,"
                " or install the fsspec library for this scheme"
            ) from error

    def _full(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}" if path else self._root

    def get(self, path: str) -> bytes:
        return bytes(self._fs.cat_file(self._full(path)))

    def put(self, path: str, data: bytes) -> None:
        """Under another name, then moved: most of these file systems show a file while it grows."""
        partial = self._partial(path)
        self._fs.pipe_file(partial, data)
        self._fs.mv(partial, self._full(path))

    def exists(self, path: str) -> bool:
        return bool(self._fs.isfile(self._full(path)))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        self._fs.invalidate_cache()
        try:
            details = self._fs.find(self._full(prefix), detail=True)
        except FileNotFoundError:
            return
        for path in sorted(details):
            if not path.endswith(".partial"):
                yield path.removeprefix(self._root).lstrip("/"), int(details[path]["size"])

    def delete(self, path: str) -> None:
        if self.exists(path):
            self._fs.rm_file(self._full(path))

    def zarr_store(self, path: str) -> FsspecStore:
        return _FolderMakingStore.from_url(f"{self._uri}/{path}", storage_options=dict(self._options))

    def upload(self, path: str, file: Path) -> None:
        partial = self._partial(path)
        self._fs.put_file(str(file), partial)
        self._fs.mv(partial, self._full(path))

    def _partial(self, path: str) -> str:
        target = self._full(path)
        self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        return f"{target}.{uuid.uuid4().hex}.partial"


class MemoryFolder(FsspecFolder):
    """A folder in this process's memory, whose ``create`` and ``swap`` do decide; never for a run with workers."""

    _LOCK: ClassVar = threading.RLock()

    def create(self, path: str, data: bytes) -> bool:
        with self._LOCK:
            return super().create(path, data)

    def swap(self, path: str, data: bytes, version: str) -> bool:
        with self._LOCK:
            return super().swap(path, data, version)


class _FolderMakingStore(FsspecStore):
    """zarr leaves out the folders that file systems (other than object stores) want first."""

    async def set(self, key: str, value: Buffer, byte_range: tuple[int, int] | None = None) -> None:
        folder = f"{self.path}/{key}".rpartition("/")[0]
        await self.fs._makedirs(folder, exist_ok=True)  # noqa: SLF001  (fsspec's name for its public coroutine)
        await super().set(key, value, byte_range)
