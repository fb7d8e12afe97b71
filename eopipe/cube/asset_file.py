"""One open file: read window by window, with retries.

Retries: GDAL remembers a failed address and answers it from memory, so a retry reopens the
file under ``CPL_VSIL_CURL_NON_CACHED`` (for this thread and this address only), which makes it ask
the server again; first opens stay cached.
"""

from __future__ import annotations

import random
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from rasterio.enums import Interleaving
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eopipe.cube.access import explained
from eopipe.cube.cell_coordinates import Georeference
from eopipe.cube.file_radiometry import MaskKind, Numbers, alpha_band, mask_kind, numbers_of
from eopipe.cube.gdal_settings import DRIVERS, gdal_env, gdal_path, is_remote, settings_for
from eopipe.cube.http_probe import NO_HEAD, probe
from eopipe.cube.read_errors import GDAL_MESSAGES, classify
from eopipe.errors import TileFault
from eopipe.grid import PixelBox
from eopipe.hrefs import host_of
from eopipe.redact import bare_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from eopipe.cube.scenes import AssetRef


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
        bytes_read: Compressed bytes of the blocks that were touched, as the headers state them.
        seconds: Summed over threads.
        notes: Conflicts and assumptions about the files' numbers, one line each.
    """

    opens: int = 0
    reads: int = 0
    retries: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    notes: dict[str, None] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def add(self, **amounts: float) -> None:
        """Add to several counters at once."""
        with self.lock:
            for name, amount in amounts.items():
                setattr(self, name, getattr(self, name) + amount)


DOUBTS = 2
"""How often a remote file that seems corrupt is opened anew: a connection that breaks within the header makes GDAL
report an unknown format."""

_MASK_FILE = -2
"""Level under which the ``.msk`` file is held open; -1 is full resolution."""

_FAILED: set[str] = set()
"""Addresses that failed in this process. GDAL would answer for them from memory, also in a later run on the same
workers, when the file is whole again; so they are opened past its cache from then on."""


_WITHOUT_HEAD: set[str] = set()
"""Hosts of this process that refuse HEAD and answer GET."""

_READABLE: dict[str, int] = {}
"""Addresses that could not be read, and the number of the alternate that could."""

_UNREADABLE = frozenset({"read.login", "read.expired", "read.missing", "read.denied", "read.requester_pays",
                         *(f"read.http_{status}" for status in (400, 401, 403, 404, 405, 410, 501))})  # fmt: skip
"""Reasons for which a file's alternate address is tried: its main one cannot be read, however often."""


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
        self._number = _READABLE.get(ref.href, 0)
        self._sign = sign
        self._pays = requester_pays
        self._retry = retry
        self._stats = stats
        self._closing = closing or threading.Event()
        self._datasets: dict[int, Any] = {}
        self._facts: dict[AssetRef, Facts] = {}
        self._fresh = ref.href in _FAILED
        self._touched: set[tuple[int, int, int]] = set()

    def facts(self, ref: AssetRef) -> Facts:
        """Georeferencing, overviews, numbers, mask and block layout of a band; opens the file if need be.

        Raises:
            TileFault: The file could not be read.
            ItemError: Nothing says what its numbers mean.
        """
        with self.lock:
            if ref not in self._facts:
                self._facts[ref] = facts = self._attempts(lambda: self._inspect(ref))
                self._stats.notes.update(dict.fromkeys(facts.numbers.notes))
            return self._facts[ref]

    def read(self, ref: AssetRef, window: PixelBox, level: int) -> NDArray[Any]:
        """Pixels of a window of one band and level (-1 is full resolution), in the file's type; retried.

        Raises:
            TileFault: The file could not be read.
        """
        facts = self.facts(ref)
        sections = facts.sections(window, level)

        def once() -> NDArray[Any]:
            dataset = self._dataset(level)
            parts = [self._section(dataset, ref, facts, section, level) for section in sections]
            return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

        started = time.perf_counter()
        with self.lock:
            pixels: NDArray[Any] = self._attempts(once)
            size = self._compressed(ref, facts, window, level)
        self._stats.add(reads=1, seconds=time.perf_counter() - started, bytes_read=size)
        return pixels

    def _compressed(self, ref: AssetRef, facts: Facts, window: PixelBox, level: int) -> int:
        """Compressed bytes of the window's blocks that no read before touched, as the header states them."""
        if level not in self._datasets:
            return 0
        total = 0
        for row, col in (block for part in facts.sections(window, level) for block in product(*facts.blocks(part))):
            if (level, row, col) not in self._touched:
                self._touched.add((level, row, col))
                # A dataset of one overview calls its blocks as a file calls those of its full resolution.
                total += _block_size(self._datasets[level], ref.band_index, row, col)
        return total

    def close(self) -> None:
        """Close every level; a later read opens again."""
        with self.lock, gdal_env():
            for dataset in self._datasets.values():
                with suppress(RasterioError):
                    dataset.close()
            self._datasets.clear()

    def close_if_idle(self) -> None:
        """Close every level, unless a thread is reading."""
        if self.lock.acquire(blocking=False):
            try:
                self.close()
            finally:
                self.lock.release()

    @property
    def held_bytes(self) -> int:
        """Bytes of the decoded block that GDAL keeps with an open file of interleaved bands."""
        if not self._datasets:
            return 0
        return max((facts.block_bytes for facts in self._facts.values() if facts.planes > 1), default=0)

    @property
    def is_open(self) -> bool:
        """Whether a dataset is open."""
        return bool(self._datasets)

    @property
    def _source(self) -> AssetRef:
        """The file at the address that is read: the main one, or an alternate after that one failed."""
        if self._number == 0:
            return self.ref
        href, pays = self.ref.alternates[self._number - 1]
        return replace(self.ref, href=href, requester_pays=pays)

    def _attempts(self, action: Callable[[], Any]) -> Any:
        """Do something with the file, at its alternate addresses too where it was never opened at the main one."""
        try:
            return self._tries(action)
        except TileFault as fault:
            first = fault
        while first.reason in _UNREADABLE and not self._facts and self._number < len(self.ref.alternates):
            self._number += 1
            try:
                result = self._tries(action)
            except TileFault as fault:
                alternate = f"its alternate {bare_url(self._source.href)} neither ({fault.reason})"
                first = TileFault(first.reason, f"{first.detail}; {alternate}", transient=first.transient)
            else:
                _READABLE[self.ref.href] = self._number
                return result
        raise first

    def _tries(self, action: Callable[[], Any]) -> Any:
        doubts = 0
        for attempt in range(self._retry.attempts):
            GDAL_MESSAGES.listen()
            try:
                with gdal_env():
                    return action()
            except (RasterioError, OSError, ValueError, IndexError) as error:
                # A ValueError or IndexError comes from damaged headers (rasterio checks late).
                fault = classify(error, self._source.href, GDAL_MESSAGES.collect())
                if fault.reason in {"read.truncated", "read.corrupt"} | NO_HEAD:
                    fault = self._ask_server(fault)
                fault = explained(fault, self._source.href, self._signed)
                if fault.reason == "read.corrupt" and is_remote(self._source.href) and doubts < DOUBTS:
                    doubts += 1
                    fault = TileFault(fault.reason, fault.detail, transient=True)
            finally:
                GDAL_MESSAGES.collect()
            self.close()
            if not fault.transient or attempt + 1 == self._retry.attempts or self._closing.is_set():
                break
            self._fresh = True
            self._stats.add(retries=1)
            self._closing.wait(self._retry.wait(attempt))
        _FAILED.add(self._source.href)
        raise fault

    def _ask_server(self, fault: TileFault) -> TileFault:
        """The server's own answer, where it is a bad one: GDAL keeps the status of a data request to itself."""
        href = self._source.href
        if not is_remote(href):
            # A file on disk does not grow while it is tried again.
            return TileFault(fault.reason, fault.detail)
        answer, host = probe(self._signed(), href), host_of(href)
        if answer is not None or fault.reason not in NO_HEAD or not host or host in _WITHOUT_HEAD:
            return answer or fault
        _WITHOUT_HEAD.add(host)
        return TileFault(fault.reason, f"{fault.detail}; by GET it is answered", transient=True)

    def _signed(self) -> str:
        href = self._source.href
        return self._sign(href) if self._sign else href

    def _dataset(self, level: int) -> Any:
        if level not in self._datasets:
            self._datasets[level] = self._open(level)
        return self._datasets[level]

    def _open(self, level: int) -> Any:
        source = self._source
        options = settings_for(source, requester_pays=self._pays)
        path = gdal_path(self._signed())
        if level == _MASK_FILE:
            name, mark, query = path.partition("?")
            path = f"{name}.msk{mark}{query}"
        if host_of(source.href) in _WITHOUT_HEAD:
            options["CPL_VSIL_CURL_USE_HEAD"] = "NO"
        if self._fresh:
            options["CPL_VSIL_CURL_NON_CACHED"] = path
        extra = {} if level < 0 else {"overview_level": level}
        with gdal_env(**options), warnings.catch_warnings():
            # _georeference says it, with the remedy. Threads may leave this one filter in place; no harm.
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            # Unlike rasterio.open, this takes a path as it stands, and several drivers.
            dataset = DatasetReader(path, driver=list(DRIVERS), sharing=False, **extra)
        self._stats.add(opens=1)
        return dataset

    def _inspect(self, ref: AssetRef) -> Facts:
        dataset, index = self._dataset(-1), ref.band_index
        if index > dataset.count:
            raise TileFault(
                "read.corrupt", f"{bare_url(ref.href)} has {dataset.count} bands; the item says band {index}"
            )
        numbers = numbers_of(dataset, ref)
        return Facts(
            georeference=_georeference(dataset, ref),
            factors=tuple(dataset.overviews(index)),
            dtype=str(dataset.dtypes[index - 1]),
            block=dataset.block_shapes[index - 1],
            numbers=numbers,
            masked="msk" if self._has_mask_file(ref, dataset) else mask_kind(dataset, ref),
            planes=dataset.count if dataset.interleaving is Interleaving.pixel else 1,
        )

    def _section(self, dataset: Any, ref: AssetRef, facts: Facts, window: PixelBox, level: int) -> NDArray[Any]:
        """Pixels of a window that lies within the file, under its own mask."""
        height, width = window.shape
        area = Window(window.col0, window.row0, width, height)
        pixels: NDArray[Any] = dataset.read(ref.band_index, window=area)
        return _with_mask(pixels, self._mask(ref, facts, window, level)) if facts.masked else pixels

    def _mask(self, ref: AssetRef, facts: Facts, window: PixelBox, level: int) -> NDArray[np.uint8]:
        """The file's own mask of a window, 0 where there is no data."""
        dataset, (height, width) = self._dataset(level), window.shape
        area = Window(window.col0, window.row0, width, height)
        if facts.masked == "internal":
            return dataset.read_masks(ref.band_index, window=area)  # type: ignore[no-any-return]
        if facts.masked == "alpha":
            return dataset.read(alpha_band(dataset), window=area)  # type: ignore[no-any-return]
        # It may lack the overviews of the file: its own pixels under the window, each nearest.
        file, shape = self._dataset(_MASK_FILE), facts.level(level).shape
        down, right = file.height / shape[0], file.width / shape[1]
        full = Window(window.col0 * right, window.row0 * down, width * right, height * down)
        band = min(ref.band_index, file.count)
        return file.read(band, window=full, out_shape=window.shape)  # type: ignore[no-any-return]

    def _has_mask_file(self, ref: AssetRef, dataset: Any) -> bool:
        """Whether a ``.msk`` file lies beside it.

        A server is asked only where nothing else says which pixels have no data: it takes a request a file.
        """
        if dataset.driver != "GTiff":
            return False
        if not is_remote(ref.href):
            return Path(f"{gdal_path(ref.href)}.msk").exists()
        known = ref.nodata is not None or dataset.nodatavals[ref.band_index - 1] is not None
        if known or ref.unit == "codes" or mask_kind(dataset, ref):
            return False
        try:
            self._dataset(_MASK_FILE)
        except (RasterioError, OSError) as error:
            if classify(error, ref.href, GDAL_MESSAGES.collect()).transient:
                raise
            GDAL_MESSAGES.listen()
            return False
        return True

    def block_sizes(self, ref: AssetRef, level: int) -> NDArray[np.int64]:
        """Compressed bytes of each block of a band, ``[rows, cols]``; 0 where sparse or not known."""
        facts = self.facts(ref)
        extra = {} if level < 0 else {"ovr": level}
        with self.lock:
            sizes = np.zeros(facts.block_counts(level), np.int64)
            for row, col in np.ndindex(sizes.shape):
                sizes[row, col] = _block_size(self._dataset(-1), ref.band_index, row, col, **extra)
        return sizes


def _block_size(dataset: Any, band: int, row: int, col: int, **extra: int) -> int:
    return int(dataset.get_tag_item(f"BLOCK_SIZE_{col}_{row}", "TIFF", bidx=band, **extra) or 0)


@dataclass(frozen=True)
class Facts:
    """What a file says of itself and of one band.

    Args:
        georeference: Of full resolution.
        factors: How many times coarser each overview is.
        dtype: Type of the pixels.
        block: Rows and columns of a block.
        numbers: What the pixels mean, no-data included.
        masked: Where the file's own mask is; empty where it has none.
        planes: Bands that are decoded with a block of one: all of a file whose pixels are interleaved.
    """

    georeference: Georeference
    factors: tuple[int, ...]
    dtype: str
    block: tuple[int, int]
    numbers: Numbers = field(default_factory=Numbers)
    masked: MaskKind = ""
    planes: int = 1

    @property
    def block_bytes(self) -> int:
        """Bytes that GDAL holds to decode one block."""
        return self.block[0] * self.block[1] * self.planes * np.dtype(self.dtype).itemsize

    def level(self, level: int) -> Georeference:
        """Georeference of an overview (or of the file, for -1)."""
        full = self.georeference
        if level < 0:
            return full
        rows, cols = (-(-side // self.factors[level]) for side in full.shape)
        wide, tall, a = full.shape[1] / cols, full.shape[0] / rows, full.transform
        # Written out: affine 2 multiplies with *, affine 3 with @, and warns of the other.
        return Georeference(full.crs, Affine(a.a * wide, a.b * tall, a.c, a.d * wide, a.e * tall, a.f), (rows, cols))

    def block_counts(self, level: int) -> tuple[int, int]:
        """Rows and columns of blocks in an overview (or in the file, for -1)."""
        rows, cols = self.level(level).shape
        return -(-rows // self.block[0]), -(-cols // self.block[1])

    def sections(self, window: PixelBox, level: int) -> list[PixelBox]:
        """The parts of a window that lie within the file, west to east: several where it crosses the file's seam."""
        source = self.level(level)
        if window.col0 >= 0 and window.col1 <= source.shape[1]:
            return [window]
        sections, col = [], window.col0
        while col < window.col1:
            first = col % source.turn
            count = min(source.turn - first, window.col1 - col)
            sections.append(PixelBox(window.row0, first, window.row1, first + count))
            col += count
        return sections

    def blocks(self, window: PixelBox) -> tuple[range, range]:
        """Rows and columns of the blocks that a window touches."""
        height, width = self.block
        return (
            range(window.row0 // height, -(-window.row1 // height)),
            range(window.col0 // width, -(-window.col1 // width)),
        )

    def level_for(self, ratio: float) -> int:
        """The coarsest overview that is still finer than the grid, given source pixels per grid pixel."""
        fits = [n for n, factor in enumerate(self.factors) if factor <= ratio * 1.01]
        return max(fits, key=lambda n: self.factors[n], default=-1)


MASKED = -(2**30)
"""Value of an int32 pixel that the file's own mask leaves out."""


def _with_mask(pixels: NDArray[Any], mask: NDArray[np.uint8]) -> NDArray[Any]:
    """Pixels as int32 where masked ones hold a value that no DN has; floats, and what int32 cannot hold, with NaN."""
    if pixels.dtype.kind == "f" or pixels.dtype.itemsize > 2:
        pixels = pixels if pixels.dtype.kind == "f" else pixels.astype(np.float64)
        pixels[mask == 0] = float("nan")
        return pixels
    wide = pixels.astype("int32")
    wide[mask == 0] = MASKED
    return wide


def _georeference(dataset: Any, ref: AssetRef) -> Georeference:
    if dataset.crs is None or dataset.transform == Affine.identity():
        points = bool(dataset.gcps[0])
        how = "only ground control points" if points else "no CRS or no geotransform"
        # Control points carry no relief between them: a radar's slopes would lie hundreds of metres off.
        better = "with terrain correction, or take a terrain-corrected product (SAR: RTC), " if points else ""
        raise TileFault(
            "read.corrupt",
            f"{bare_url(ref.href)} has {how}; warp it to a map projection {better}before mapping from it",
        )
    epsg = dataset.crs.to_epsg(confidence_threshold=100)
    return Georeference(
        f"EPSG:{epsg}" if epsg else dataset.crs.to_wkt(), dataset.transform, (dataset.height, dataset.width)
    )
