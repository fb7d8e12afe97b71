"""From scenes to maps for one box of the grid: read, composite, map, strip by strip.

A strip is ``STRIP`` rows of the kernel's lattice over the box's whole width. While one strip is
mapped, the next is read in the background; the rows that two strips share are read once. So memory
is bounded by strips, not by the box. Tasks and notebooks both call :func:`map_box`, which is
why a notebook's map equals the mosaic byte for byte.
"""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.cube.reader import TileReader
from eopipe.engine.tiles import read_box
from eopipe.grid import CELL, PixelBox

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.cube.reader import Pixels, ReadSettings, ReadStats
    from eopipe.cube.scenes import Scene
    from eopipe.kernelinfo import ArraySpec
    from eopipe.kernels.protocol import Kernel

STRIP = CELL
"""Rows of the kernel's lattice that are mapped at once."""


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.stage = "start"

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage; stages may come again and add up."""
        self.stage, start = stage, time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def map_box(
    kernel: Kernel, scenes: Sequence[Sequence[Scene]], read: ReadSettings, box: PixelBox, *, watch: Stopwatch
) -> tuple[dict[str, NDArray[Any]], ReadStats]:
    """All arrays of a box, the engine's ``observations`` included.

    Args:
        kernel: Loaded, unless there is no scene.
        scenes: One list an epoch, in scene order.
        read: How pixels are read, on the kernel's lattice.
        box: On the grid; corners at multiples of the kernel's stride (divided by its factor).
        watch: Told of the stages ``read`` and ``kernel``.

    Returns:
        Arrays of the box's shape, and what reading took.

    Raises:
        TileFault: A scene could not be read.
    """
    info = kernel.info
    arrays = {
        spec.name: np.full((len(spec.bands), *box.shape)[0 if spec.bands else 1 :], spec.nodata, spec.dtype)
        for spec in info.arrays
    }
    arrays["observations"] = np.zeros(box.shape, np.uint8)
    with TileReader(scenes, read) as reader:
        if any(scenes):
            strips = list(_strips(box, info.factor))
            for strip, following in zip(strips, [*strips[1:], None], strict=True):
                with watch("read"):
                    pixels = reader.read(read_box(strip, info))
                if following is not None:
                    reader.prefetch(read_box(following, info))
                with watch("kernel"):
                    _strip(kernel, pixels, strip, strip.slices(box)[0], arrays)
        return arrays, reader.stats


def outside_is_nodata(
    arrays: Mapping[str, NDArray[Any]], inside: NDArray[np.bool_], specs: Iterable[ArraySpec]
) -> None:
    """Pixels outside the area are no data in a tile that the area touches (DESIGN §5); in place.

    Args:
        arrays: Array name to ``[y, x]`` or ``[plane, y, x]``.
        inside: ``[y, x]``: whether a pixel's centre is inside the area.
        specs: What is no data in each array.
    """
    for spec in specs:
        arrays[spec.name][..., ~inside] = spec.nodata


def _strips(box: PixelBox, factor: int) -> Iterator[PixelBox]:
    step = STRIP // math.gcd(STRIP, factor)  # the fewest rows whose kernel rows are whole windows
    for row in range(box.row0, box.row1, step):
        yield PixelBox(row, box.col0, row + step, box.col1)


def _strip(kernel: Kernel, pixels: Pixels, strip: PixelBox, rows: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
    info = kernel.info
    inside = slice(info.window.halo, -info.window.halo or None)
    seen = pixels.observations.max(axis=0)[inside, inside]
    arrays["observations"][rows] = _coarsest(seen, info.factor)
    if not pixels.valid.any():
        return
    values = np.where(pixels.valid[:, None], pixels.values, 0).astype(np.float32)
    result = kernel(values, pixels.valid, strip.scale(info.factor), {})
    for name, made in result.arrays.items():
        arrays[name][..., rows, :] = made


def _coarsest(seen: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Most scenes seen by any of a grid pixel's kernel pixels."""
    rows, cols = seen.shape
    most: NDArray[np.uint8] = seen.reshape(rows // factor, factor, cols // factor, factor).max(axis=(1, 3))
    return most
