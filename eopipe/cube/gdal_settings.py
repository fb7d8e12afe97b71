"""GDAL's settings for a worker process, and GDAL's names for addresses."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import rasterio
from rasterio.session import DummySession

from eopipe.credentials import headers_for
from eopipe.errors import TileFault
from eopipe.hrefs import canonical_href
from eopipe.redact import bare_url

if TYPE_CHECKING:
    from eopipe.cube.scenes import AssetRef

HEADER_BYTES = 32768
"""Bytes of the request that opens a file: the headers of most COGs are shorter."""

REGIONS = 16 * 2**20
"""Bytes of GDAL's cache of network regions, and of the longest range in one request: a longer run of blocks would
be read twice."""

_OPEN_FILES = 8192
_PREFIXES = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/", "abfs": "/vsiaz/", "oss": "/vsioss/"}


def worker_settings(cache: int) -> dict[str, str]:
    """GDAL's settings for a worker, by name.

    The cache of network regions is kept small: blocks are read in whole ranges and the block cache keeps them, so
    that requests can be counted beforehand.

    Args:
        cache: Bytes of the block cache.
    """
    return {
        "GDAL_CACHEMAX": str(cache // 2**20),
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_NUM_THREADS": "1",
        "GDAL_INGESTED_BYTES_AT_OPEN": str(HEADER_BYTES),
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        "GDAL_HTTP_MULTIPLEX": "YES",
        "GDAL_HTTP_VERSION": "2TLS",
        "GDAL_HTTP_TCP_KEEPALIVE": "YES",
        "GDAL_HTTP_CONNECTTIMEOUT": "15",
        "GDAL_HTTP_TIMEOUT": "120",
        "GDAL_HTTP_LOW_SPEED_TIME": "30",
        "GDAL_HTTP_LOW_SPEED_LIMIT": "1000",
        "GDAL_HTTP_MAX_RETRY": "0",
        "CPL_VSIL_CURL_CACHE_SIZE": str(REGIONS),
        "VSI_CACHE": "FALSE",
        "GDAL_MAX_DATASET_POOL_SIZE": "450",
        "GTIFF_VIRTUAL_MEM_IO": "NO",
    }


def gdal_worker_env(cache: int) -> None:
    """Set GDAL up in this worker process: its cache, HTTP behaviour and open-file limit.

    A setting that is already in the environment wins: an administrator put it there.

    Args:
        cache: Bytes of the block cache.
    """
    for name, value in worker_settings(cache).items():
        os.environ.setdefault(name, value)
    _raise_file_limit()


def gdal_env(**options: str) -> rasterio.Env:
    """GDAL's settings within a block of code, in this thread; GDAL's messages go to Python's logging.

    Outside of it, GDAL writes to standard error by itself, signed addresses and all (``CPL_DEBUG``). No boto
    session is made, as rasterio would by default where credentials are in the environment: it takes as long as
    opening a file, and GDAL finds credentials by itself.
    """
    return rasterio.Env(session=DummySession(), **options)


def header_settings() -> dict[str, str]:
    """GDAL's settings for reading headers in a process that is no worker, as options of :func:`gdal_env`.

    The same time-outs and the same requests as a worker's: GDAL's own defaults wait without limit for a server
    that does not answer, and ask for sidecar files that no COG has. Caches are the process's own business.
    """
    caches = {"GDAL_CACHEMAX", "CPL_VSIL_CURL_CACHE_SIZE"}
    return {name: value for name, value in worker_settings(0).items() if name not in caches | os.environ.keys()}


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def gdal_path(href: str) -> str:
    """GDAL's name for an address: ``/vsicurl/``, ``/vsis3/``, ``/vsigs/``, ``/vsiaz/`` or a local path."""
    href = canonical_href(href)
    scheme, mark, rest = href.partition("://")
    if not mark:
        return href
    if scheme in {"http", "https"}:
        return f"/vsicurl/{href}"
    if scheme in _PREFIXES:
        return f"{_PREFIXES[scheme]}{rest}"
    if scheme == "file":
        raise TileFault("read.missing", f"{href}: names a file of another machine; use file:///path, https or s3")
    raise TileFault("read.missing", f"{bare_url(href)}: scheme {scheme!r} cannot be read; use https, s3, gs or az")


def is_remote(href: str) -> bool:
    """Whether an address is read by requests to a server."""
    return gdal_path(href).startswith("/vsi")


DRIVERS = ("GTiff", "JP2OpenJPEG")
"""GDAL's drivers; by a file's first bytes GDAL knows which. No others: a VRT could name any file of the worker."""


ENDPOINTS = {"eodata": "eodata.dataspace.copernicus.eu"}
"""Buckets of known servers that are not Amazon's; ``AWS_S3_ENDPOINT`` in the environment outranks them."""

_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_ROLE_ARN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "CPL_AWS_CREDENTIALS_FILE",
    "AWS_NO_SIGN_REQUEST",
)


def _web_settings(href: str) -> dict[str, str]:
    """Headers and the ``.netrc`` that the environment states, for one web server."""
    headers = [f"{name}: {value}" for name, value in headers_for(href).items()]
    settings: dict[str, str] = {}
    if headers:
        common = os.environ.get("GDAL_HTTP_HEADERS")
        settings["GDAL_HTTP_HEADERS"] = "\r\n".join([*([common] if common else []), *headers])
    if "NETRC" in os.environ and "GDAL_HTTP_NETRC_FILE" not in os.environ:
        settings["GDAL_HTTP_NETRC_FILE"] = os.environ["NETRC"]
    return settings


def settings_for(ref: AssetRef, *, requester_pays: bool) -> dict[str, str]:
    """Settings of one open: charges only where the run accepted them, unsigned S3 requests without credentials.

    Raises:
        TileFault: The file's bucket charges its reader, and the run did not agree to that.
    """
    if ref.requester_pays and not requester_pays:
        raise TileFault(
            "read.requester_pays",
            f"{bare_url(ref.href)} is in a bucket that charges its readers; "
            "set source.requester_pays: true to accept the charge, or use a catalog with free copies",
        )
    if not ref.href.startswith("s3://"):
        return _web_settings(ref.href)
    settings = {"AWS_REQUEST_PAYER": "requester" if ref.requester_pays else ""}
    endpoint = ENDPOINTS.get(ref.href.split("/")[2])
    if endpoint is not None and "AWS_S3_ENDPOINT" not in os.environ:
        settings |= {"AWS_S3_ENDPOINT": endpoint, "AWS_VIRTUAL_HOSTING": "FALSE"}
    if not ref.requester_pays and not any(name in os.environ for name in _CREDENTIALS):
        settings["AWS_NO_SIGN_REQUEST"] = "YES"
    return settings
