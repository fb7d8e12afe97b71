"""TileReader: one task's pixels from many scenes, the same for any box that holds them.

Every value is a function of the absolute pixel: coordinates hang on the cell (see
:mod:`eopipe.cube.cell_coordinates`), resampling and composites are integer arithmetic, a mask is read
with its own halo. So part of a cell may be read alone, and a tile's halo costs only its own
pixels, not the cells around it.

Order of work for a box: for each epoch, each file is opened once and read once per strip, as one
window (which lets GDAL ask for neighbouring blocks in one request), by a small pool of threads; then
the stack is composited. The rows of the last strip are kept, so that the overlap of two strips
is read once.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from eopipe.cube.asset_choice import AssetChoice
from eopipe.cube.asset_file import AssetFile, ReadStats, RetryPolicy
from eopipe.cube.cell_coordinates import Geometry
from eopipe.cube.composite import combine, scene_order
from eopipe.cube.masks import mask_table, passes
from eopipe.cube.sar import decibels, modality_of
from eopipe.cube.windows import MOST_FULL, MOST_PIXELS, sample_bands, sample_mask
from eopipe.grid import PixelBox

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.cube.scenes import AssetRef, Scene
    from eopipe.grid import Grid
    from eopipe.spec import MaskSpec, RadiometrySpec, SarSpec

HELD_BYTES = 256 * 2**20
"""Open files whose decoded blocks are more than this together are closed, the least recently used first."""

USUAL_BLOCK = 8 * 2**20
"""Bytes of a block (1024² x 4 bands of 16 bits) up to which a plan makes no special allowance."""

STACK_BYTES = 256 * 2**20
"""A strip is composited in columns such that the stack of scenes stays below this."""


@dataclass(frozen=True)
class ReadSettings:
    """How to read.

    Args:
        grid: The lattice.
        bands: Canonical bands, in the order wanted.
        composite: How scenes become one picture.
        mask: Quality mask, or None.
        sar: What the spec says of SAR files, or None.
        radiometry: What the spec says of the files' numbers, or None.
        sign: Signing hook; picklable.
        requester_pays: Whether reads may be charged.
        assets: Band to the keys of assets that may hold it, as the spec says (``source.bands``).
        alternate: Name of the alternate addresses that are read where assets have them.
        threads: Reader threads of one task.
        retry: Retry policy.
        stack_bytes: Bound on the stack of scenes in memory.
        max_open: Files held open at once; the least recently used are closed.
    """

    grid: Grid
    bands: tuple[str, ...]
    composite: Literal["first", "median", "least-cloudy"] = "median"
    mask: MaskSpec | None = None
    sar: SarSpec | None = None
    radiometry: RadiometrySpec | None = None
    sign: Callable[[str], str] | None = None
    requester_pays: bool = False
    assets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    alternate: str | None = None
    threads: int = 4
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    stack_bytes: int = STACK_BYTES
    max_open: int = 400

    @property
    def choice(self) -> AssetChoice:
        """How assets and their addresses are chosen."""
        return AssetChoice(self.assets, self.alternate, self.requester_pays)

    @property
    def modality(self) -> Literal["optical", "sar"]:
        """What the bands are."""
        return modality_of(self.bands)


@dataclass(frozen=True)
class Pixels:
    """Composited pixels of a box.

    Args:
        values: uint16 ``[epoch, band, y, x]``, 0 where invalid: reflectance x 10000; of SAR codes of decibels
            (:mod:`eopipe.cube.sar`).
        valid: bool ``[epoch, y, x]``.
        observations: uint8 ``[epoch, y, x]``, valid scenes at the pixel, 254 for more.
    """

    values: NDArray[np.uint16]
    valid: NDArray[np.bool_]
    observations: NDArray[np.uint8]

    def __getitem__(self, index: tuple[slice, slice]) -> Pixels:
        """The same for some rows and columns; views."""
        return Pixels(self.values[..., *index], self.valid[..., *index], self.observations[..., *index])

    def for_kernel(self, modality: str) -> NDArray[np.float32]:
        """What a kernel receives: reflectance x 10000, or of SAR decibels; 0 where invalid, so heed ``valid``."""
        valid = self.valid[:, None]
        if modality == "sar":
            return np.where(valid, decibels(self.values), np.float32(0))
        return np.where(valid, self.values, 0).astype(np.float32)

    @classmethod
    def empty(cls, epochs: int, bands: int, shape: tuple[int, int]) -> Pixels:
        """Pixels of which none is valid."""
        return cls(
            np.zeros((epochs, bands, *shape), np.uint16),
            np.zeros((epochs, *shape), np.bool_),
            np.zeros((epochs, *shape), np.uint8),
        )


def memory(
    shape: tuple[int, int],
    scenes: int,
    bands: int,
    *,
    epochs: int = 1,
    modality: str = "optical",
) -> int:
    """Peak bytes that reading strips of ``shape`` (halo included) takes, GDAL's cache aside.

    Args:
        shape: Rows and columns of a strip with its halo.
        scenes: Most scenes of an epoch over the tile.
        bands: Bands read.
        epochs: Epochs.
        modality: Of SAR a window is float32, held beside its codes, and of full resolution on any grid.
    """
    pixels = shape[0] * shape[1]
    strip = epochs * pixels * (2 * bands + 2)
    column = shape[0] * min(shape[1], COLUMN) * scenes * (2 * bands + 1)
    stack = min(pixels * scenes * (2 * bands + 1), max(STACK_BYTES, column))
    # Three strips: the one being mapped, the last one for its overlap, and the one read ahead. Each of four threads
    # holds a window of a file, which is larger than the strip where the file is finer than the grid.
    source = min(4 * pixels, MOST_PIXELS)
    windows = 4 * (6 * max(source, MOST_FULL) if modality == "sar" else 2 * source)
    return 3 * strip + stack + windows


def block_memory(block_bytes: int, files: int) -> int:
    """Peak bytes of decoding large blocks, such as one strip of a whole file, beyond GDAL's cache.

    Measured on files of one strip of 6000² x 4 bands: 2 x 288 MB a thread that reads, and 288 MB an open file. Blocks
    of usual sizes are within what :func:`memory` allows a thread.

    Args:
        block_bytes: Of the largest block (:attr:`eopipe.cube.asset_file.Facts.block_bytes`).
        files: Files of a tile.
    """
    if block_bytes <= USUAL_BLOCK:
        return 0
    threads = ReadSettings.threads
    return min(threads, files) * 2 * block_bytes + min(max(files - threads, 0) * block_bytes, HELD_BYTES)


COLUMN = 512
"""Narrowest column that a strip is cut into."""


def columns(box: PixelBox, scenes: int, settings: ReadSettings) -> list[PixelBox]:
    """Columns of whole cells that a box is composited in, as wide as the bound on the stack allows."""
    height, width = box.shape
    pixel_column = height * max(scenes, 1) * (2 * len(settings.bands) + 1)
    step = max(COLUMN, settings.stack_bytes // max(pixel_column, 1) // COLUMN * COLUMN)
    if step >= width:
        return [box]
    edges = range(box.col0 // step * step, box.col1, step)
    return [PixelBox(box.row0, col, box.row1, col + step) & box for col in edges]


class TileReader:
    """Reads the boxes of one tile; one per task.

    Args:
        scenes: One list an epoch, in scene order.
        settings: How to read.
    """

    def __init__(self, scenes: Sequence[Sequence[Scene]], settings: ReadSettings) -> None:
        self.stats = ReadStats()
        self._scenes = [list(epoch) for epoch in scenes]
        self._settings = settings
        self._geometry = Geometry(settings.grid)
        if settings.mask:
            mask_table(settings.mask)  # a wrong class is named before any file is opened
        self._closing = threading.Event()
        self._files: dict[str, AssetFile] = {}
        self._files_lock = threading.Lock()
        self._pool = ThreadPoolExecutor(settings.threads, "read")
        self._ahead = ThreadPoolExecutor(1, "read-ahead")
        self._pending: tuple[PixelBox, Future[Pixels]] | None = None
        self._last: tuple[PixelBox, Pixels] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, box: PixelBox) -> Pixels:
        """Composited pixels of any box; rows that it shares with the box before are taken from memory.

        Raises:
            TileFault: A file could not be read after retries.
        """
        if self._pending is not None:
            ahead, future = self._pending
            self._pending = None
            pixels = future.result()
            if ahead == box:
                return pixels
        return self._read(box)

    def prefetch(self, box: PixelBox) -> None:
        """Start to read a box in the background; the next :meth:`read` of it waits for that."""
        if self._pending is not None:
            self._pending[1].result()
        self._pending = (box, self._ahead.submit(self._read, box))

    def close(self) -> None:
        """Close the files and stop the threads; reads in hand end soon."""
        self._closing.set()
        if self._pending is not None:
            self._pending[1].cancel()
            self._pending = None
        self._ahead.shutdown(wait=True, cancel_futures=True)
        self._pool.shutdown(wait=True, cancel_futures=True)
        for file in self._files.values():
            file.close()
        self._last = None

    def _read(self, box: PixelBox) -> Pixels:
        last_box, last = self._last or (PixelBox(0, 0, 0, 0), None)
        shared = last_box & box
        if last is None or shared.empty or box.col0 < last_box.col0 or last_box.col1 < box.col1:
            pixels = self._composite(box)
        else:
            pixels = Pixels.empty(len(self._scenes), len(self._settings.bands), box.shape)
            _copy(pixels[shared.slices(box)], last[shared.slices(last_box)])
            for row0, row1 in ((box.row0, shared.row0), (shared.row1, box.row1)):
                rows = PixelBox(row0, box.col0, row1, box.col1)
                if not rows.empty:
                    _copy(pixels[rows.slices(box)], self._composite(rows))
        self._last = (box, pixels)
        return pixels

    def _composite(self, box: PixelBox) -> Pixels:
        pixels = Pixels.empty(len(self._scenes), len(self._settings.bands), box.shape)
        for epoch, scenes in enumerate(self._scenes):
            for column in columns(box, len(scenes), self._settings) if scenes else ():
                self._composite_epoch(epoch, scenes, column, pixels[column.slices(box)])
        return pixels

    def _composite_epoch(self, epoch: int, scenes: Sequence[Scene], box: PixelBox, out: Pixels) -> None:
        settings = self._settings
        stack = np.empty((len(scenes), len(settings.bands), *box.shape), np.uint16)
        passed = np.ones((len(scenes), *box.shape), np.bool_) if settings.mask else None
        jobs: list[Future[None]] = []
        for n, scene in enumerate(scenes):
            by_href: dict[str, list[int]] = {}
            for b, band in enumerate(settings.bands):
                by_href.setdefault(scene.bands[band].href, []).append(b)
            jobs.extend(self._pool.submit(self._bands, scene, group, box, stack[n]) for group in by_href.values())
            if scene.mask is not None and passed is not None:
                jobs.append(self._pool.submit(self._mask, scene.mask, box, passed[n]))
        _finish(jobs)
        combine(
            stack,
            passed,
            scene_order(scenes, settings.composite),
            median=settings.composite == "median",
            sar=settings.modality == "sar",
            values=out.values[epoch],
            valid=out.valid[epoch],
            observations=out.observations[epoch],
        )

    def _bands(self, scene: Scene, group: Sequence[int], box: PixelBox, out: NDArray[np.uint16]) -> None:
        for b in group:
            ref = scene.bands[self._settings.bands[b]]
            sample_bands(self._file(ref), ref, self._geometry, box, out[b])

    def _mask(self, ref: AssetRef, box: PixelBox, out: NDArray[np.bool_]) -> None:
        mask = self._settings.mask
        assert mask is not None
        grown = box.pad(mask.dilate)
        codes, present = np.zeros(grown.shape, np.uint16), np.zeros(grown.shape, np.bool_)
        fill = sample_mask(self._file(ref), ref, self._geometry, grown, codes, present)
        passes(codes, present, mask_table(mask, fill), mask.dilate, out)

    def _file(self, ref: AssetRef) -> AssetFile:
        settings = self._settings
        with self._files_lock:
            file = self._files.pop(ref.href, None)
            if file is None:
                file = AssetFile(
                    ref,
                    sign=settings.sign,
                    requester_pays=settings.requester_pays,
                    retry=settings.retry,
                    stats=self.stats,
                    closing=self._closing,
                )
            self._files[ref.href] = file  # last in the dict: most recently used
            spare = [other for other in self._files.values() if other.is_open and other is not file]
            surplus = spare[: max(0, len(spare) + 1 - settings.max_open)]
            heavy = _beyond(spare, HELD_BYTES)
        for other in surplus:
            other.close()
        for other in heavy:
            other.close_if_idle()
        return file


def _beyond(files: Sequence[AssetFile], limit: int) -> list[AssetFile]:
    """The files, least recently used first, without which the others hold no more bytes than the limit."""
    sizes = [file.held_bytes for file in files]
    excess, surplus = sum(sizes) - limit, []
    for file, size in zip(files, sizes, strict=True):
        if excess <= 0:
            break
        if size:
            surplus.append(file)
            excess -= size
    return surplus


def _finish(jobs: Sequence[Future[Any]]) -> None:
    """Wait for all, then raise the first fault in the jobs' order, so that a failure reads the same each time."""
    try:
        for job in jobs:
            job.result()
    finally:
        for job in jobs:
            job.cancel()
        for job in jobs:
            if not job.cancelled():
                job.exception()


def _copy(target: Pixels, source: Pixels) -> None:
    target.values[...] = source.values
    target.valid[...] = source.valid
    target.observations[...] = source.observations
