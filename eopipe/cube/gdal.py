"""GDAL as a worker uses it: settings, addresses, one open file with retries, and what an error means.

Retries: GDAL remembers a failed address and answers it from memory, so a retry reopens the
file under ``CPL_VSIL_CURL_NON_CACHED`` (for this thread and this address only), which makes it ask
the server again; first opens stay cached.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
import rasterio
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from eopipe.cube.geometry import Source
from eopipe.errors import TileFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from eopipe.cube.scenes import AssetRef
    from eopipe.grid import PixelBox

HEADER_BYTES = 32768
"""Bytes asked for in the request that opens a file: the headers of most COGs are shorter."""

REGIONS = 16 * 2**20
"""GDAL's cache of network regions, in bytes. It also is the longest range that GDAL asks for at once, and a
longer run of blocks would be read twice over."""

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses after which trying again may help."""

_HTTP = re.compile(
    r"(?:HTTP (?:response )?(?:error )?code ?(?:: ?|= ?)?|HTTP/[\d.]+ |response_code=|status code:? ?)(\d{3})"
)


@dataclass(frozen=True)
class RetryPolicy:
    """How transient faults are retried: exponential back-off with full jitter.

    Args:
        attempts: Tries in all.
        base: Seconds; try n waits a random time up to ``base * 2**n``.
        cap: Longest wait in seconds.
    """

    attempts: int = 5
    base: float = 0.5
    cap: float = 20.0

    def wait(self, attempt: int) -> float:
        """Seconds to sleep after failed try ``attempt`` (from 0)."""
        return random.uniform(0.0, min(self.cap, self.base * 2**attempt))  # noqa: S311  (jitter, not a secret)


@dataclass
class ReadStats:
    """What reading a tile took; counted under a lock.

    Args:
        opens: Files opened, reopens included.
        reads: Windows read.
        retries: Transient faults that were tried again.
        bytes_read: Estimate of compressed bytes, from the blocks' pixels and the file's mean compression.
        seconds: Summed over threads.
    """

    opens: int = 0
    reads: int = 0
    retries: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, **amounts: float) -> None:
        """Add to several counters at once."""
        with self.lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)


def worker_settings(memory: int) -> dict[str, str]:
    """GDAL's settings for a worker with ``memory`` bytes, by name.

    The block cache gets a sixth, at most 1 GiB. The cache of network regions is kept small: blocks are
    read in whole ranges and the block cache keeps them, so that requests can be counted beforehand.
    """
    cache = max(64, min(1024, memory // 6 // 2**20))
    return {
        "GDAL_CACHEMAX": str(cache),
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_NUM_THREADS": "1",
        "GDAL_INGESTED_BYTES_AT_OPEN": str(HEADER_BYTES),
        "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
        "GDAL_HTTP_MULTIPLEX": "YES",
        "GDAL_HTTP_VERSION": "2",
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


def gdal_worker_env(memory: int) -> None:
    """Set GDAL up in this worker process: its cache, HTTP behaviour and open-file limit.

    A setting that is already in the environment wins: an administrator put it there.
    """
    for name, value in worker_settings(memory).items():
        os.environ.setdefault(name, value)
    _raise_file_limit()


def _raise_file_limit() -> None:
    try:
        import resource  # noqa: PLC0415  (not on Windows)
    except ImportError:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(8192, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def gdal_path(href: str) -> str:
    """GDAL's name for an address: ``/vsicurl/``, ``/vsis3/``, ``/vsigs/``, ``/vsiaz/`` or a local path."""
    url = urlsplit(href)
    if url.scheme in {"http", "https"}:
        return f"/vsicurl/{href}"
    if url.scheme == "file":
        return url.path
    prefixes = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/", "abfs": "/vsiaz/", "oss": "/vsioss/"}
    if url.scheme in prefixes:
        return f"{prefixes[url.scheme]}{url.netloc}{url.path}"
    if url.scheme and "://" in href:
        raise TileFault(
            "read.missing", f"{plain(href)}: scheme {url.scheme!r} cannot be read; use https, s3, gs or az"
        )
    return href


def _driver(href: str) -> str:
    # Only these two: a VRT from a server could name any file of the worker.
    return "JP2OpenJPEG" if plain(href).lower().endswith((".jp2", ".j2k")) else "GTiff"


def plain(href: str) -> str:
    """An address without its query string and credentials, fit for a message."""
    base = href.split("?", 1)[0]
    return re.sub(r"://[^/@]*@", "://", base)


_CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_PROFILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_NO_SIGN_REQUEST",
)


def settings_for(ref: AssetRef, *, requester_pays: bool) -> dict[str, str]:
    """Settings of one open: charges only when asked for, unsigned S3 requests where there are no credentials.

    Raises:
        TileFault: The file's bucket charges its reader, and the run did not agree to that.
    """
    if ref.requester_pays and not requester_pays:
        raise TileFault(
            "read.requester_pays",
            f"{plain(ref.href)} is in a bucket that charges its readers; "
            "set source.requester_pays: true to accept the charge, or use a catalog with free copies",
        )
    if not ref.href.startswith("s3://"):
        return {}
    found = {"AWS_REQUEST_PAYER": "requester" if ref.requester_pays else ""}
    if not ref.requester_pays and not any(name in os.environ for name in _CREDENTIALS):
        found["AWS_NO_SIGN_REQUEST"] = "YES"
    return found


_KINDS = (
    ("read.timeout", re.compile(r"timed? ?out|timeout", re.IGNORECASE), True),
    (
        "read.reset",
        re.compile(
            r"connection (was )?reset|recv failure|send failure|empty reply|(could not|couldn't|failed to) connect"
            r"|(could not|couldn't) resolve|connection refused|connection died|transfer closed|curl error|ssl",
            re.IGNORECASE,
        ),
        True,
    ),
    (
        "read.denied",
        re.compile(r"permission denied|access ?denied|forbidden|credential|unauthori[sz]ed", re.IGNORECASE),
        False,
    ),
    (
        "read.truncated",
        re.compile(r"got \d+ bytes, expected \d+|read error at|short read|unexpected end", re.IGNORECASE),
        True,
    ),
    ("read.missing", re.compile(r"no such file|does not exist|nosuchkey|not found", re.IGNORECASE), False),
)
"""Reason, what GDAL's sentences say, transient; the first that fits."""


def classify(error: BaseException, href: str) -> TileFault:
    """The tile fault that an error from GDAL means; the message holds no query string."""
    said = " | ".join(_chain(error))
    status = _HTTP.search(said)
    if status:
        code = int(status[1])
        return TileFault(f"read.http_{code}", f"{plain(href)}: HTTP {code}", transient=code in TRANSIENT)
    detail = f"{plain(href)}: {_scrub(said)[:300]}"
    for reason, pattern, transient in _KINDS:
        if pattern.search(said):
            return TileFault(reason, detail, transient=transient)
    return TileFault("read.corrupt", detail)


def _chain(error: BaseException | None) -> list[str]:
    found: list[str] = []
    while error is not None and len(found) < 10:
        found.append(" ".join(str(error).split()))
        error = error.__cause__ or error.__context__
    return found


def _scrub(text: str) -> str:
    # Query strings carry signatures; GDAL's sentences repeat the whole address.
    return re.sub(r"\?[^\s'\"|]*", "", re.sub(r"://[^/@\s]*@", "://", text))


@dataclass
class _Handle:
    dataset: Any
    source: Source


class AssetFile:
    """One file, opened when first needed; used by one thread at a time.

    Args:
        ref: What to open.
        sign: Turns an unsigned address into a signed one, just before the open.
        requester_pays: Whether charges were accepted.
        retry: Retry policy.
        stats: Counters of the tile.
        closing: Set when the tile is given up, so that no thread goes on waiting between retries.
    """

    def __init__(
        self,
        ref: AssetRef,
        *,
        sign: Callable[[str], str] | None,
        requester_pays: bool,
        retry: RetryPolicy,
        stats: ReadStats,
        closing: threading.Event | None = None,
    ) -> None:
        self.ref = ref
        self.lock = threading.RLock()
        self._sign = sign
        self._pays = requester_pays
        self._retry = retry
        self._stats = stats
        self._closing = closing or threading.Event()
        self._handles: dict[int, _Handle] = {}
        self._facts: dict[tuple[int, float | None], Facts] = {}
        self._fresh = False

    def facts(self, ref: AssetRef) -> Facts:
        """Georeferencing, overviews, no-data and block layout of a band; opens the file if need be."""
        with self.lock:
            key = (ref.band_index, ref.nodata)
            if key not in self._facts:
                self._facts[key] = self._attempts(lambda: self._look(ref))
            return self._facts[key]

    def read(self, ref: AssetRef, window: PixelBox, level: int) -> NDArray[Any]:
        """Pixels of a window of one band and level (-1 is full resolution), in the file's type; retried.

        Raises:
            TileFault: The file could not be read.
        """
        height, width = window.shape
        area = Window(window.col0, window.row0, width, height)
        facts = self.facts(ref)

        def once() -> NDArray[Any]:
            dataset = self._handle(level).dataset
            pixels: NDArray[Any] = dataset.read(ref.band_index, window=area)
            return _with_mask(pixels, dataset.read_masks(ref.band_index, window=area)) if facts.masked else pixels

        started = time.perf_counter()
        with self.lock:
            found: NDArray[Any] = self._attempts(once)
        self._stats.add(reads=1, seconds=time.perf_counter() - started)
        return found

    def close(self) -> None:
        """Close every level; a later read opens again."""
        with self.lock:
            for handle in self._handles.values():
                with suppress(RasterioError):
                    handle.dataset.close()
            self._handles.clear()

    @property
    def is_open(self) -> bool:
        """Whether a handle is held."""
        return bool(self._handles)

    def _attempts(self, action: Callable[[], Any]) -> Any:
        for attempt in range(self._retry.attempts):
            try:
                return action()
            except (RasterioError, OSError, ValueError, IndexError) as error:
                # A ValueError or IndexError comes from damaged headers (rasterio checks late).
                fault = classify(error, self.ref.href)
            self.close()
            if not fault.transient or attempt + 1 == self._retry.attempts or self._closing.is_set():
                break
            self._fresh = True
            self._stats.add(retries=1)
            self._closing.wait(self._retry.wait(attempt))
        raise fault

    def _handle(self, level: int) -> _Handle:
        if level not in self._handles:
            self._handles[level] = self._open(level)
        return self._handles[level]

    def _open(self, level: int) -> _Handle:
        options = settings_for(self.ref, requester_pays=self._pays)
        href = self._sign(self.ref.href) if self._sign else self.ref.href
        path = gdal_path(href)
        if self._fresh:
            options["CPL_VSIL_CURL_NON_CACHED"] = path
        extra = {} if level < 0 else {"overview_level": level}
        with rasterio.Env(**options):
            dataset = rasterio.open(path, driver=_driver(self.ref.href), sharing=False, **extra)
        self._stats.add(opens=1)
        return _Handle(dataset, _source(dataset, self.ref))

    def _look(self, ref: AssetRef) -> Facts:
        handle = self._handle(-1)
        dataset, index = handle.dataset, ref.band_index
        if index > dataset.count:
            raise TileFault(
                "read.corrupt", f"{plain(ref.href)} has {dataset.count} bands; the item says band {index}"
            )
        nodata = ref.nodata if ref.nodata is not None else dataset.nodatavals[index - 1]
        flags = dataset.mask_flag_enums[index - 1]
        return Facts(
            source=handle.source,
            factors=tuple(dataset.overviews(index)),
            dtype=str(dataset.dtypes[index - 1]),
            nodata=None if nodata is None else float(nodata),
            masked=nodata is None and (MaskFlags.per_dataset in flags or MaskFlags.alpha in flags),
            block=dataset.block_shapes[index - 1],
        )

    def block_sizes(self, ref: AssetRef, level: int) -> NDArray[np.int64]:
        """Compressed bytes of each block of a band, ``[rows, cols]``; 0 where sparse or not known."""
        facts = self.facts(ref)
        shape, (height, width) = facts.level_source(level).shape, facts.block
        found = np.zeros((-(-shape[0] // height), -(-shape[1] // width)), np.int64)
        extra = {} if level < 0 else {"ovr": level}
        with self.lock:
            dataset = self._handle(-1).dataset
            for (row, col), _ in np.ndenumerate(found):
                size = dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=ref.band_index, **extra)
                found[row, col] = int(size or 0)
        return found


@dataclass(frozen=True)
class Facts:
    """What a file says of itself and of one band."""

    source: Source
    factors: tuple[int, ...]
    dtype: str
    nodata: float | None
    masked: bool
    block: tuple[int, int]

    def level_source(self, level: int) -> Source:
        """Georeferencing of an overview (or of the file, for -1)."""
        if level < 0:
            return self.source
        rows, cols = (-(-side // self.factors[level]) for side in self.source.shape)
        scale = rasterio.Affine.scale(self.source.shape[1] / cols, self.source.shape[0] / rows)
        return Source(self.source.crs, self.source.transform * scale, (rows, cols))

    def level_for(self, ratio: float) -> int:
        """The coarsest overview that is still finer than the grid, given source pixels per grid pixel."""
        fits = [n for n, factor in enumerate(self.factors) if factor <= ratio * 1.01]
        return max(fits, key=lambda n: self.factors[n], default=-1)


MASKED = -(2**30)
"""Stands in int32 pixels for one that the file's own mask leaves out."""


def _with_mask(pixels: NDArray[Any], mask: NDArray[np.uint8]) -> NDArray[Any]:
    """Pixels as int32 (floats stay) where masked ones hold a value that no DN has."""
    if pixels.dtype.kind == "f":
        pixels[mask == 0] = float("nan")
        return pixels
    wide = pixels.astype("int32")
    wide[mask == 0] = MASKED
    return wide


def _source(dataset: Any, ref: AssetRef) -> Source:
    if dataset.crs is None or dataset.transform == rasterio.Affine.identity():
        how = "only ground control points" if dataset.gcps[0] else "no CRS or no geotransform"
        raise TileFault(
            "read.corrupt", f"{plain(ref.href)} has {how}; warp it to a map projection before mapping from it"
        )
    epsg = dataset.crs.to_epsg(confidence_threshold=100)
    return Source(
        f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt(), dataset.transform, (dataset.height, dataset.width)
    )


__all__ = [
    "AssetFile",
    "ReadStats",
    "RetryPolicy",
    "classify",
    "gdal_path",
    "gdal_worker_env",
    "settings_for",
    "worker_settings",
]
