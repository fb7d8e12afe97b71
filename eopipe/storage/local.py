"""A folder of the file system, by the standard library.

obstore's LocalStore has no conditional replace and hides ``errno``, which distinguishes a full disk from a denied
one; so the local folder is written out here. All atomicity rests on three calls that POSIX file systems and
NFS share: ``rename`` (replace as a whole), ``link`` (fails if the name exists) and ``flock`` (a lock that
the kernel drops with its process, so a killed one leaves none behind).
"""

# ruff: noqa: D102  (Storage documents each method)
from __future__ import annotations

import errno
import fcntl
import os
import shutil
import uuid
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

from zarr.storage import LocalStore

from eopipe.storage.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PARTIAL = ".partial"
_LOCK = ".lock"
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class LocalFolder(Backend):
    """Backend on a folder of this machine, or one that all machines mount."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def get(self, path: str) -> bytes:
        return (self._root / path).read_bytes()

    def put(self, path: str, data: bytes) -> None:
        self._replace(path, lambda file: file.write(data))

    def _replace(self, path: str, fill: Callable[[IO[bytes]], object]) -> None:
        with _staged(self._root / path, fill) as (partial, target):
            partial.replace(target)

    def create(self, path: str, data: bytes) -> bool:
        if (self._root / path).exists():
            return False
        with _staged(self._root / path, lambda file: file.write(data)) as (partial, target):
            try:
                os.link(partial, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return _create_under_lock(partial, target)
        return True

    def swap(self, path: str, data: bytes, version: str) -> bool:
        if not self.exists(path):
            return False
        with _locked(self._root / path), suppress(FileNotFoundError):
            return super().swap(path, data, version)
        return False

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Sorted, as object stores list; without what is half-written or locks."""
        with suppress(FileNotFoundError, NotADirectoryError):
            yield from _walk(self._root / prefix, f"{prefix}/" if prefix else "")

    def delete(self, path: str) -> None:
        (self._root / path).unlink(missing_ok=True)

    def local_path(self, path: str) -> Path | None:
        return self._root / path

    def zarr_store(self, path: str) -> LocalStore:
        """Zarr's own local store writes each key to ``*.partial`` and renames it."""
        return LocalStore(self._root / path)

    def upload(self, path: str, file: Path) -> None:
        def copy(out: IO[bytes]) -> None:
            with file.open("rb") as source:
                shutil.copyfileobj(source, out, 1 << 20)

        self._replace(path, copy)

    def flush(self, path: str) -> None:
        target = self._root / path
        with suppress(FileNotFoundError):  # a shard of nothing but fill has no file
            _fsync(target)
        with suppress(FileNotFoundError):
            _fsync(target.parent)


@contextmanager
def _staged(target: Path, fill: Callable[[IO[bytes]], object]) -> Iterator[tuple[Path, Path]]:
    """Write beside the target under a hidden name and onto the disk; leave no partial file in any case."""
    _make_folder(target.parent)
    partial = target.parent / f".{target.name}.{uuid.uuid4().hex}{_PARTIAL}"
    try:
        with partial.open("xb") as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        yield partial, target
        _fsync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def _create_under_lock(partial: Path, target: Path) -> bool:
    """For file systems without hard links (exFAT, some FUSE): all creators agree on a lock instead."""
    with _locked(target):
        if target.exists():
            return False
        partial.replace(target)
        return True


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold ``.<name>.lock``; the file stays, since removing it would let two hold a lock of one name."""
    with (target.parent / f".{target.name}{_LOCK}").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make_folder(folder: Path) -> None:
    """Make it and its parents, each entry on disk before its contents."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir()
        _fsync(folder.parent)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, f"{folder} is a file where a folder must be")


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network mounts cannot sync a folder
            raise
    finally:
        os.close(handle)


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: f"{entry.name}/" if entry.is_dir() else entry.name)
    for entry in ordered:
        if entry.is_dir():
            yield from _walk(folder / entry.name, f"{prefix}{entry.name}/")
        elif not (entry.name.endswith(_PARTIAL) or (entry.name.startswith(".") and entry.name.endswith(_LOCK))):
            with suppress(FileNotFoundError):  # removed since
                yield f"{prefix}{entry.name}", entry.stat().st_size
