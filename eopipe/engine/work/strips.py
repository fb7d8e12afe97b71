"""From scenes to maps for one box of the grid: read, composite, map, strip by strip.

A strip is ``STRIP`` rows of the kernel's lattice over the box's whole width. While one strip is
mapped, the next is read in the background; the rows that two strips share are read once. So memory
is bounded by strips, not by the box. Tasks and notebooks both call :func:`map_box`, which is
why a notebook's map equals the mosaic byte for byte.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.cube.reader import TileReader
from eopipe.engine.plan.tiles import read_box, strip_rows
from eopipe.grid import PixelBox
from eopipe.kernels.protocol import Measuring, Result, StripContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.cube.asset_file import ReadStats
    from eopipe.cube.reader import Pixels, ReadSettings
    from eopipe.cube.scenes import Scene
    from eopipe.engine.statistics.interpolate import Statistics
    from eopipe.kernelinfo import ArraySpec, KernelInfo
    from eopipe.kernels.protocol import FeatureSource, Kernel


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


class Sink:
    """Takes what a box's strips leave beside their arrays; this one keeps the times by stage and drops the rest."""

    def __init__(self, watch: Stopwatch | None = None) -> None:
        self.watch = watch or Stopwatch()

    def take(self, result: Result) -> None:
        """A strip's figures, objects and window features; strips come from top to bottom."""


def map_box(
    kernel: Kernel,
    scenes: Sequence[Sequence[Scene]],
    read: ReadSettings,
    box: PixelBox,
    *,
    sink: Sink,
    inside: NDArray[np.bool_] | None = None,
    features: FeatureSource | None = None,
    statistics: Statistics | None = None,
) -> tuple[dict[str, NDArray[Any]], ReadStats]:
    """All arrays of a box, the engine's ``observations`` included.

    Outside the area everything is no data, and no window is computed for it alone; but a run that keeps its windows'
    features computes them all, since a neighbouring tile may need what this one does not. Of several epochs, a pixel
    that one of them lacks is no data in every array: there is nothing to compare.

    Args:
        kernel: Loaded, unless there is no scene.
        scenes: One list an epoch, in scene order.
        read: How pixels are read, on the kernel's lattice.
        box: On the grid; corners at multiples of a cell (divided by the kernel's factor).
        sink: Takes each strip's other results; its stopwatch times ``read``, ``statistics`` and ``kernel``.
        inside: ``[y, x]`` over the box: whether a pixel's centre is inside the area; None where all are.
        features: Kept window features that are scored instead of encoding.
        statistics: The values of the kernel's statistics stages; None where it declares none.

    Returns:
        Arrays of the box's shape, and how much was read.

    Raises:
        TileFault: A scene could not be read, or a block of statistics is missing.
    """
    info, watch = kernel.info, sink.watch
    arrays = {spec.name: np.full((*spec.planes, *box.shape), spec.nodata, spec.dtype) for spec in info.arrays}
    arrays["observations"] = observations = np.zeros(box.shape, np.uint8)
    needed = None if inside is None or info.features is not None else _finer(inside, info.factor)
    with TileReader(scenes, read) as reader:
        if any(scenes):
            strips, carry = list(_strips(box, info.factor)), None
            for strip, following in zip(strips, [*strips[1:], None], strict=True):
                with watch("read"):
                    pixels = reader.read(read_box(strip, info))
                if following is not None:
                    reader.prefetch(read_box(following, info))
                near = None if needed is None else _near(needed, box, strip, info)
                context = StripContext(carry=carry, features=features, inside=near)
                result = _strip(kernel, pixels, strip, context, watch=watch, statistics=statistics)
                rows = strip.slices(box)[0]
                observations[rows] = _observations(pixels, info)
                for name, values in result.arrays.items():
                    arrays[name][..., rows, :] = values
                carry = result.carry
                sink.take(result)
                del result  # its features may weigh as much as the next strip's pixels
        if len(scenes) > 1:
            _outside_is_nodata(arrays, observations > 0, info.arrays)
        if inside is not None:
            _outside_is_nodata(arrays, inside, info.arrays)
        return arrays, reader.stats


def _outside_is_nodata(
    arrays: Mapping[str, NDArray[Any]], inside: NDArray[np.bool_], specs: Iterable[ArraySpec]
) -> None:
    """Make pixels outside the area, or without an observation in every epoch, no data; in place."""
    arrays["observations"][~inside] = 0
    for spec in specs:
        arrays[spec.name][..., ~inside] = spec.nodata


def _finer(inside: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    return inside if factor == 1 else inside.repeat(factor, axis=0).repeat(factor, axis=1)


def _near(needed: NDArray[np.bool_], box: PixelBox, strip: PixelBox, info: KernelInfo) -> NDArray[np.bool_]:
    """``needed`` over the pixels that are read of a strip, on the kernel's lattice; False outside of the box."""
    whole, read = box.scale(info.factor), read_box(strip, info)
    near = np.zeros(read.shape, dtype=bool)
    shared = whole & read
    near[shared.slices(read)] = needed[shared.slices(whole)]
    return near


def _strips(box: PixelBox, factor: int) -> Iterator[PixelBox]:
    step = strip_rows(factor)
    for row in range(box.row0, box.row1, step):
        yield PixelBox(row, box.col0, min(row + step, box.row1), box.col1)


def _strip(
    kernel: Kernel,
    pixels: Pixels,
    strip: PixelBox,
    context: StripContext,
    *,
    watch: Stopwatch,
    statistics: Statistics | None,
) -> Result:
    """The kernel's result for a strip; an empty one, which carries nothing, where an epoch has no valid pixel."""
    if not pixels.valid.any(axis=(1, 2)).all():
        return Result({})
    if statistics is not None and isinstance(kernel, Measuring):
        with watch("statistics"):
            around = statistics.around(kernel.stages(), read_box(strip, kernel.info))
        context = replace(context, statistics=around)
    with watch("kernel"):
        values = pixels.for_kernel(kernel.info.inputs.modality)
        return kernel(values, pixels.valid, strip.scale(kernel.info.factor), context)


def _observations(pixels: Pixels, info: KernelInfo) -> NDArray[np.uint8]:
    """Most scenes that observed any of a grid pixel's kernel pixels; of several epochs, in the one with fewest."""
    inside, factor = slice(info.window.halo, -info.window.halo or None), info.factor
    counts = pixels.observations.min(axis=0)[inside, inside]
    rows, cols = counts.shape
    most: NDArray[np.uint8] = counts.reshape(rows // factor, factor, cols // factor, factor).max(axis=(1, 3))
    return most
