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
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.cube.reader import TileReader
from eopipe.engine.plan.tiles import read_box
from eopipe.grid import CELL, PixelBox
from eopipe.kernels.protocol import Measuring, Result, StripContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.cube.reader import Pixels, ReadSettings, ReadStats
    from eopipe.cube.scenes import Scene
    from eopipe.engine.statistics.interpolate import Statistics
    from eopipe.kernel_info import ArraySpec, KernelInfo
    from eopipe.kernels.objects import FoundObjects
    from eopipe.kernels.protocol import FeatureSource, Kernel

    Keep = Callable[[Mapping[tuple[int, int], NDArray[np.float32]]], None]
    Tell = Callable[[Mapping[str, tuple[float, float]]], None]
    Found = Callable[[FoundObjects], None]

STRIP = CELL
"""Rows of the kernel's lattice that are mapped at once. Windows may reach over a strip's edge: what the upper strip
knows of those that the lower one needs too it hands down (``Result.carry``)."""


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


def map_box(  # noqa: PLR0913  (keyword-only: all that a box's arrays depend on)
    kernel: Kernel,
    scenes: Sequence[Sequence[Scene]],
    read: ReadSettings,
    box: PixelBox,
    *,
    watch: Stopwatch,
    inside: NDArray[np.bool_] | None = None,
    features: FeatureSource | None = None,
    keep: Keep | None = None,
    statistics: Statistics | None = None,
    tell: Tell | None = None,
    found: Found | None = None,
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
        watch: Told of the stages ``read``, ``kernel`` and ``features``.
        inside: ``[y, x]`` over the box: whether a pixel's centre is inside the area; None where all are.
        features: Kept window features that are scored instead of encoding.
        keep: Takes the features of the windows that the kernel encoded, strip by strip.
        statistics: What the kernel's stages measured; None where it declares none.
        tell: Takes the kernel's figures, strip by strip.
        found: Takes the objects that the kernel found, strip by strip; None leaves them.

    Returns:
        Arrays of the box's shape, and what reading took.

    Raises:
        TileFault: A scene could not be read, or a block of statistics is not there.
    """
    info = kernel.info
    arrays = {
        spec.name: np.full((len(spec.bands), *box.shape)[0 if spec.bands else 1 :], spec.nodata, spec.dtype)
        for spec in info.arrays
    }
    arrays["observations"] = np.zeros(box.shape, np.uint8)
    wanted = None if inside is None or info.features is not None else _finer(inside, info.factor)
    with TileReader(scenes, read) as reader:
        if any(scenes):
            strips, carry = list(_strips(box, info.factor)), None
            for strip, following in zip(strips, [*strips[1:], None], strict=True):
                with watch("read"):
                    pixels = reader.read(read_box(strip, info))
                if following is not None:
                    reader.prefetch(read_box(following, info))
                near = None if wanted is None else _near(wanted, box, strip, info)
                said = StripContext(carry=carry, features=features, inside=near)
                result = _strip(kernel, pixels, strip, said, watch=watch, statistics=statistics)
                arrays["observations"][strip.slices(box)[0]] = _seen(pixels, info)
                for name, made in result.arrays.items():
                    arrays[name][..., strip.slices(box)[0], :] = made
                carry = result.carry
                if tell is not None:
                    tell(result.figures)
                if found is not None and result.objects is not None:
                    with watch("objects"):
                        found(result.objects)
                if keep is not None and result.windows:
                    with watch("features"):
                        keep(result.windows)
                del result  # its features may weigh as much as the next strip's pixels
        if len(scenes) > 1:
            _outside_is_nodata(arrays, arrays["observations"] > 0, info.arrays)
        if inside is not None:
            _outside_is_nodata(arrays, inside, info.arrays)
        return arrays, reader.stats


def _outside_is_nodata(
    arrays: Mapping[str, NDArray[Any]], inside: NDArray[np.bool_], specs: Iterable[ArraySpec]
) -> None:
    """Pixels outside the area are no data in a tile that the area touches (DESIGN §5), as is what was not seen.

    In place.
    """
    arrays["observations"][~inside] = 0
    for spec in specs:
        arrays[spec.name][..., ~inside] = spec.nodata


def _finer(inside: NDArray[np.bool_], factor: int) -> NDArray[np.bool_]:
    return inside if factor == 1 else inside.repeat(factor, axis=0).repeat(factor, axis=1)


def _near(wanted: NDArray[np.bool_], box: PixelBox, strip: PixelBox, info: KernelInfo) -> NDArray[np.bool_]:
    """``wanted`` over what is read of a strip, on the kernel's lattice; what lies outside the box is another's."""
    whole, read = box.scale(info.factor), strip.scale(info.factor).pad(info.window.halo)
    near = np.zeros(read.shape, dtype=bool)
    shared = whole & read
    near[shared.slices(read)] = wanted[shared.slices(whole)]
    return near


def _strips(box: PixelBox, factor: int) -> Iterator[PixelBox]:
    step = STRIP // math.gcd(STRIP, factor)  # the fewest rows whose kernel rows are whole windows
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
    """What the kernel makes of a strip; nothing, also for the strip below, where an epoch has no valid pixel."""
    if not pixels.valid.any(axis=(1, 2)).all():
        return Result({})
    if statistics is not None and isinstance(kernel, Measuring):
        with watch("statistics"):
            around = statistics.around(kernel.stages(), read_box(strip, kernel.info))
        context = replace(context, statistics=around)
    with watch("kernel"):
        values = pixels.for_kernel(kernel.info.inputs.modality)
        return kernel(values, pixels.valid, strip.scale(kernel.info.factor), context)


def _seen(pixels: Pixels, info: KernelInfo) -> NDArray[np.uint8]:
    """Most scenes seen by any of a grid pixel's kernel pixels; of several epochs, in the one that has fewest."""
    inside, factor = slice(info.window.halo, -info.window.halo or None), info.factor
    seen = pixels.observations.min(axis=0)[inside, inside]
    rows, cols = seen.shape
    most: NDArray[np.uint8] = seen.reshape(rows // factor, factor, cols // factor, factor).max(axis=(1, 3))
    return most
