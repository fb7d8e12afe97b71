"""A folder of an object store (S3, Google, Azure), by obstore.

``create`` is a PUT with ``If-None-Match: *``, ``swap`` one with ``If-Match`` (Google: generation match), so the
server decides between writers. All three providers, MinIO, Ceph and moto's server do so.
"""

# ruff: noqa: D102  (Storage documents each method)
from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import from_url
from zarr.storage import ObjectStore

from eopipe.errors import OutputAddressError
from eopipe.storage.backend import Backend
from eopipe.storage.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SCHEMES = frozenset({"s3", "s3a", "gs", "az", "abfs", "abfss", "adl", "azure"})

# 5 retries with jitter reach past a restart of a gateway, and say "unreachable" within half a minute
_RETRY = {
    "max_retries": 5,
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=8), "base": 2},
    "retry_timeout": timedelta(seconds=120),
}
# a shard of 4096² may be 16 MB on a slow line; the default of 30 s a request is too short for it
_CLIENT = {"timeout": "300s", "connect_timeout": "10s"}


def _plain_http() -> bool:
    """Client options replace all that obstore reads of them from the environment, so this is read again."""
    return os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true", "yes", "on"}


class ObjectFolder(Backend):
    """Backend on a bucket's prefix."""

    def __init__(self, uri: str, options: Mapping[str, Any]) -> None:
        self._uri = uri
        self._options = dict(options)
        self._store = self._open("")

    def _open(self, path: str) -> Any:
        settings: dict[str, Any] = {"retry_config": _RETRY, **self._options}
        settings["client_options"] = {**_CLIENT, "allow_http": _plain_http(), **settings.get("client_options", {})}
        try:
            return from_url(f"{self._uri}/{path}".rstrip("/"), **settings)
        except (obstore.exceptions.BaseError, ValueError, TypeError) as error:
            reason = first_line(str(error))
            raise OutputAddressError(
                f"output {self._uri!r} cannot be opened: {reason}; correct the address"
            ) from error

    def get(self, path: str) -> bytes:
        return bytes(self._store.get(path).bytes())

    def put(self, path: str, data: bytes) -> None:
        self._store.put(path, data)

    def create(self, path: str, data: bytes) -> bool:
        try:
            # in one request: the parts of a multipart upload cannot be conditional
            self._store.put(path, data, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def get_versioned(self, path: str) -> tuple[bytes, str]:
        file = self._store.get(path)
        return bytes(file.bytes()), f"{file.meta.get('e_tag') or ''}|{file.meta.get('version') or ''}"

    def swap(self, path: str, data: bytes, version: str) -> bool:
        tag, _, generation = version.partition("|")
        expected = {key: value for key, value in (("e_tag", tag), ("version", generation)) if value}
        try:
            self._store.put(path, data, mode=expected, use_multipart=False)
        except (PreconditionError, FileNotFoundError) as error:
            if "NoSuchBucket" in str(error):
                raise
            return False
        return True

    def exists(self, path: str) -> bool:
        try:
            self._store.head(path)
        except FileNotFoundError:
            return False
        return True

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        for page in self._store.list(prefix or None):
            for entry in page:
                yield entry["path"], entry["size"]

    def delete(self, path: str) -> None:
        try:
            self._store.delete(path)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise

    def zarr_store(self, path: str) -> ObjectStore[Any]:
        return ObjectStore(self._open(path))

    def upload(self, path: str, file: Path) -> None:
        self._store.put(path, file)
