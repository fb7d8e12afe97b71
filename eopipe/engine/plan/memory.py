"""Peak memory of a worker, and the tile side that fits it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.cube.reader import block_memory
from eopipe.cube.reader import memory as reader_memory
from eopipe.engine.plan.tiles import strip_rows
from eopipe.errors import PlanError
from eopipe.grid import TILE_SIZES
from eopipe.text import gib

if TYPE_CHECKING:
    from collections.abc import Callable

    from eopipe.kernelinfo import KernelInfo

GDAL_CACHE = 128 * 2**20
"""Bytes of GDAL's block cache a worker: a strip's blocks of many assets; more did not read faster."""

TILES_A_WORKER = 4
"""``tile: auto`` wants at least so many tiles a worker, so that none idles at the end."""

OBJECT_BYTES = 2500
"""An object of ten runs until its file is written: runs, polygon, row; seen on blobs of 60 to 250 pixels."""

OBJECT_PIXELS = 250
"""Pixels of a tile for which one object is allowed."""

_DRAWING = 32 * 2**20
"""Memory of the polygon tracer, however few objects there are."""


@dataclass(frozen=True)
class TileMemory:
    """Bytes by cause, at the peak of a tile's task.

    Args:
        base: The process with its libraries and the kernel.
        reading: Three strips, and the stack of scenes being composited.
        gdal: GDAL's block cache.
        strip: The strip's pixels as float32, with their validity.
        kernel: The kernel's own working memory.
        arrays: The tile's outputs, and their encoding.
        features: Window features of a strip, where they are kept: as they come, and as they are written.
        objects: The tile's objects, where the kernel finds any: their runs, their polygons and their file.
        blocks: Decoding the files' blocks, where these are large.
    """

    base: int
    reading: int
    gdal: int
    strip: int
    kernel: int
    arrays: int
    features: int = 0
    objects: int = 0
    blocks: int = 0

    @property
    def total(self) -> int:
        """The plan's promise: a worker stays within 1.15 times of it."""
        return sum(vars(self).values())


def tile_memory(
    size: int,
    *,
    info: KernelInfo,
    kernel_bytes: Callable[[tuple[int, int]], int],
    base: int,
    scenes: int,
    cog: bool,
    block_bytes: int = 0,
) -> TileMemory:
    """Peak of one task.

    Args:
        size: Side of a tile, grid pixels.
        info: The kernel's.
        kernel_bytes: :meth:`eopipe.kernels.protocol.Kernel.memory`.
        base: Bytes of a worker at rest (:class:`eopipe.engine.plan.model.Calibration`).
        scenes: Most scenes of one epoch that any tile has.
        cog: Whether COGs are written too.
        block_bytes: Of the largest block of the files.
    """
    fine, halo, bands, epochs = size * info.factor, info.window.halo, len(info.inputs.bands), info.inputs.epochs
    rows = strip_rows(info.factor) * info.factor
    height, width = rows + 2 * halo, fine + 2 * halo
    mapped = epochs * height * width * (4 * bands + 1)
    planes = sum(max(len(spec.bands), 1) * np.dtype(spec.dtype).itemsize for spec in info.arrays) + 1
    return TileMemory(
        base=base,
        reading=reader_memory((height, width), scenes, bands, epochs=epochs, modality=info.inputs.modality),
        gdal=GDAL_CACHE,
        strip=mapped,
        kernel=kernel_bytes((rows, fine)),
        arrays=int(size * size * planes * (3 if cog else 2)),
        features=_feature_bytes(info, rows, fine),
        objects=_object_bytes(info, size),
        blocks=block_memory(block_bytes, scenes * bands * epochs),
    )


def _feature_bytes(info: KernelInfo, rows: int, cols: int) -> int:
    """Features of the windows of a strip in 32 bits, and those of a row of them in 16 bits twice."""
    if info.features is None:
        return 0
    across = math.ceil(info.window.touching(cols))
    down = math.ceil(info.window.touching(rows))
    return info.features.tokens * info.features.channels * across * (4 * down + 4)


def _object_bytes(info: KernelInfo, size: int) -> int:
    return 0 if info.objects is None else _DRAWING + size * size * OBJECT_BYTES // OBJECT_PIXELS


def choose_tile(
    *, peak: Callable[[int], int], tiles: Callable[[int], int], limit: int | None, workers: int, cause: str = ""
) -> int:
    """The largest side that fits the worker's memory and gives every worker tiles enough.

    Args:
        peak: Peak bytes of a worker for a tile side.
        tiles: Number of tiles for a side.
        limit: A worker's memory in bytes, None where it has no limit.
        workers: Number of workers.
        cause: What else than the tile takes memory, for the error.

    Raises:
        PlanError: Not even the smallest side fits.
    """
    fitting = [size for size in TILE_SIZES if limit is None or peak(size) <= limit]
    if not fitting:
        least = TILE_SIZES[-1]
        raise PlanError(
            f"a worker needs {gib(peak(least))} even for tiles of {least}{cause}, and has {gib(limit or 0)}; "
            f"give it more memory (cluster.memory), or fewer workers"
        )
    return next((size for size in fitting if tiles(size) >= TILES_A_WORKER * workers), fitting[-1])


def check_fits(size: int, *, peak: Callable[[int], int], limit: int | None, cause: str = "") -> None:
    """Refuse a tile side that does not fit, naming the one that would, and what else takes memory.

    Raises:
        PlanError: The peak is above the worker's memory.
    """
    if limit is None or peak(size) <= limit:
        return
    smaller = next((side for side in TILE_SIZES if side < size and peak(side) <= limit), None)
    remedy = f"grid.tile: {smaller} would fit" if smaller else "give a worker more memory (cluster.memory)"
    raise PlanError(f"tiles of {size} need {gib(peak(size))} a worker{cause}, which has {gib(limit)}; {remedy}")
