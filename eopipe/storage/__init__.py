"""One folder, local or remote: everything that a run writes goes through here.

Three promises that object stores and file systems keep in different ways:

- :meth:`Storage.put` replaces a whole file or nothing, so a reader never sees half of one;
- :meth:`Storage.create` makes a file only if there is none, and of many callers one wins;
- :meth:`Storage.swap` replaces a file only if no other writer has since the caller read it.

Credentials and endpoints (``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID`` …) come from the environment of the
process that opens the folder. They are never part of the address, so nothing that a run writes can hold one,
and a pickled Storage finds its worker's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from eopipe.errors import OutputAddressError
from eopipe.redact import bare_url
from eopipe.storage.errors import translate
from eopipe.storage.fsspec_folder import FsspecFolder, MemoryFolder
from eopipe.storage.local import LocalFolder
from eopipe.storage.object_store import SCHEMES, ObjectFolder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from zarr.abc.store import Store

    from eopipe.storage.backend import Backend

__all__ = ["Storage"]


@dataclass(frozen=True)
class Storage:
    """A folder. Paths are relative, with ``/`` between the parts; pickles to its address.

    Every method raises :class:`~eopipe.errors.OutputError` where the folder cannot be used, with ``reason``
    ``write.denied``, ``write.full`` or ``write.unreachable``.

    Args:
        uri: Address without credentials: an absolute path, or a URL.
        options: Settings of the library behind it (retries, time-outs); not for secrets.
    """

    uri: str
    options: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    _folder: Backend = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_folder", _backend(self.uri, self.options))

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the address only; the other side opens it with its own environment."""
        return (Storage, (self.uri, dict(self.options)))

    @classmethod
    def open(cls, uri: str, **options: Any) -> Storage:
        """Name a folder; nothing is read or written yet, and it need not exist.

        Args:
            uri: Local path, ``file://``, ``s3://``, ``gs://``, ``az://``, ``memory://``, or any other scheme
                that an installed fsspec library serves.
            options: See :class:`Storage`.

        Raises:
            OutputError: The address is malformed, carries credentials, or no library serves its scheme.
        """
        return cls(_canonical(uri), options)

    def guard(self, path: str = "") -> AbstractContextManager[None]:
        """Turn what libraries raise while they work on ``path`` into one-line OutputErrors."""
        return translate(self.url(path))

    def _writing(self, path: str) -> AbstractContextManager[None]:
        return translate(self.url(path), writing=True)

    def get(self, path: str) -> bytes:
        """Content of a file.

        Raises:
            FileNotFoundError: There is none.
        """
        with self.guard(path):
            return self._folder.get(_checked(path))

    def put(self, path: str, data: bytes) -> None:
        """Write a file, replacing it as a whole; not to be mixed with ``swap`` on one path."""
        with self._writing(path):
            self._folder.put(_checked(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a file only if there is none, and make it last through a loss of power.

        Over a network a retried request may find its own first attempt and say False; a caller to whom that
        matters reads the file and looks for its own mark.

        Returns:
            False if it existed.
        """
        with self._writing(path):
            return self._folder.create(_checked(path), data)

    def get_versioned(self, path: str) -> tuple[bytes, str]:
        """Content of a file, and a mark of its version for :meth:`swap`.

        Raises:
            FileNotFoundError: There is none.
        """
        with self.guard(path):
            return self._folder.get_versioned(_checked(path))

    def swap(self, path: str, data: bytes, version: str) -> bool:
        """Replace a file only if it is still at ``version``; False if it changed or is gone."""
        with self._writing(path):
            return self._folder.swap(_checked(path), data, version)

    def exists(self, path: str) -> bool:
        """Whether there is a file (not a folder) at ``path``; False on a missing bucket too (HEAD says no more)."""
        with self.guard(path):
            return self._folder.exists(_checked(path))

    def list(self, prefix: str = "") -> Iterator[str]:
        """Files below a folder, recursively, relative to this Storage; none where it does not exist."""
        return (path for path, _ in self.sizes(prefix))

    def sizes(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """As :meth:`list`, with sizes in bytes."""
        with self.guard(prefix):
            yield from self._folder.sizes(_checked(prefix.strip("/"), empty=True))

    def delete(self, path: str) -> None:
        """Remove a file; fine if there is none."""
        with self.guard(path):
            self._folder.delete(_checked(path))

    def child(self, path: str) -> Storage:
        """A folder in this one."""
        return Storage(self.url(_checked(path.strip("/"))), self.options)

    def url(self, path: str = "") -> str:
        """Full address of a file in the folder, or of the folder; never with credentials."""
        return f"{self.uri.rstrip('/')}/{path}" if path else self.uri

    def local_path(self, path: str = "") -> Path | None:
        """The file as a path of this machine, None where the folder is not local."""
        return self._folder.local_path(path)

    def zarr_store(self, path: str) -> Store:
        """A folder in this one as a Zarr store; wrap its use in :meth:`guard`."""
        return self._folder.zarr_store(_checked(path.strip("/")))

    def upload(self, path: str, file: Path) -> None:
        """Copy a file of this machine here, without holding it in memory; replaces as a whole."""
        with self._writing(path):
            self._folder.upload(_checked(path), file)

    def flush(self, path: str) -> None:
        """Make a file written by someone else (a Zarr library) last through a loss of power."""
        with self.guard(path):
            self._folder.flush(_checked(path))


def _canonical(uri: str) -> str:
    if not uri or "\0" in uri:
        raise OutputAddressError(f"output {uri!r} is no address; give a folder or a URL such as s3://bucket/folder")
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return str(Path(uri).expanduser().absolute())
    if scheme == "file":
        return str(Path(rest.removeprefix("localhost") or "/").absolute())
    parts = urlsplit(uri)
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise OutputAddressError(
            f"output {bare_url(uri)} carries credentials or a query;"
            " put them into the environment (AWS_ACCESS_KEY_ID …)"
        )
    if scheme in SCHEMES and not parts.netloc:
        raise OutputAddressError(f"output {uri!r} names no bucket; write {scheme}://bucket/folder")
    return uri.rstrip("/")


def _backend(uri: str, options: Mapping[str, Any]) -> Backend:
    scheme, mark, _ = uri.partition("://")
    if not mark:
        return LocalFolder(Path(uri))
    if scheme == "memory":
        return MemoryFolder(uri, options)
    if scheme in SCHEMES:
        return ObjectFolder(uri, options)
    return FsspecFolder(uri, options)


def _checked(path: str, *, empty: bool = False) -> str:
    parts = path.split("/")
    if (path or not empty) and ("" in parts or ".." in parts or "." in parts):
        raise ValueError(f"{path!r} is no relative path inside a folder")
    return path
