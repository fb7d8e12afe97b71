"""A short calibration on the machine at hand: what a process weighs, and how fast the kernel is."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import torch
from distributed import get_worker
from distributed.scheduler import KilledWorker

from eopipe.engine.cluster.device import choose_device, device_label
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.statistics.for_calibration import StandIn, stand_in
from eopipe.engine.work.precision import product_ratio
from eopipe.errors import ClusterError, WeightsError
from eopipe.grid import PixelBox
from eopipe.kernels.protocol import StripContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distributed import Client

    from eopipe.kernel_info import Window
    from eopipe.kernels.protocol import FeatureSource, Kernel

CALLS = 3
"""Timed calls of the kernel; their median counts."""

STRIDES = 4
"""Side, in strides, of the largest box that is timed: at its edges windows overlap it in part only."""

CALL_SECONDS = 4.0
"""What a timed call may take, and all of them together twice that; a smaller box is taken, and fewer calls."""


@dataclass(frozen=True)
class Calibration:
    """Figures of one worker process.

    Args:
        base: Bytes resident once the libraries and the kernel are loaded and one window has been mapped.
        window_seconds: Median seconds of one kernel window, its share of what is done a strip included. A tile
            has :meth:`eopipe.kernel_info.Window.touching` squared of them.
        device: What it ran on.
        bfloat16: Seconds of a bfloat16 matrix product over those of float32.
        stage_seconds: Seconds of a cell, by stage of the kernel's statistics.
    """

    base: int
    window_seconds: float
    device: str
    bfloat16: float = 1.0
    stage_seconds: Mapping[str, float] = field(default_factory=dict)


def calibrate_here(
    kernel: Kernel, *, device: str, threads: int, features: FeatureSource | None = None
) -> Calibration:
    """Load the kernel in this process and time it on seeded pixels.

    Args:
        kernel: Which.
        device: Such as ``cpu``.
        threads: Of torch.
        features: What stands for kept window features where a run scores those.
    """
    torch.set_num_threads(threads)
    kernel.load(device=device, threads=threads)
    measured = stand_in(kernel)
    context = StripContext(features=features)
    _time(kernel, 1, context, measured)  # compiles and warms up
    seconds = [_time(kernel, 1, context, measured)]
    strides = _strides(kernel.info.window, seconds[0])
    if strides > 1:
        seconds.clear()
    while len(seconds) < CALLS and (not seconds or sum(seconds) + seconds[0] <= 2 * CALL_SECONDS):
        seconds.append(_time(kernel, strides, context, measured))
    windows = kernel.info.window.touching(strides * kernel.info.window.stride) ** 2
    return Calibration(
        base=int(psutil.Process().memory_info().rss),
        window_seconds=statistics.median(seconds) / windows,
        device=device_label(device),
        bfloat16=product_ratio("bfloat16", device),
        stage_seconds=dict(measured.seconds),
    )


def _strides(window: Window, seconds: float) -> int:
    """Side of the box to time, in strides, where one of a single stride takes so many seconds.

    Where windows lie side by side one is like the next. Where they overlap, those that only touch a small box would
    count as much as whole ones, though they add few pixels.
    """
    if window.covers <= window.stride:
        return 1
    each = seconds / window.touching(window.stride) ** 2
    fitting = (n for n in range(STRIDES, 1, -1) if each * window.touching(n * window.stride) ** 2 <= CALL_SECONDS)
    return next(fitting, 1)


def _time(kernel: Kernel, strides: int, context: StripContext, measured: StandIn) -> float:
    """Seconds of one call on a box of so many strides a side."""
    info = kernel.info
    side = strides * info.window.stride
    pixels, valid = _seeded(info.inputs.epochs, len(info.inputs.bands), side + 2 * info.window.halo)
    box = PixelBox(0, 0, side, side)
    context = replace(context, statistics=measured.around(box.pad(info.window.halo)))
    start = time.perf_counter()
    kernel(pixels, valid, box, context)
    return time.perf_counter() - start


def calibrate_on_worker(client: Client, kernel: Kernel, *, features: FeatureSource | None = None) -> Calibration:
    """The same on one worker of a cluster, which it warms up too.

    Raises:
        ClusterError: The worker died; most often it was killed for memory.
        WeightsError: The worker lacks weights that this process has, or has others; it is named.
    """
    try:
        found: Calibration = client.submit(_on_worker, kernel, features, pure=False).result()
    except KilledWorker:
        raise ClusterError(
            "a worker was killed before it could map one window; give workers more memory, or take another precision"
        ) from None
    return found


def calibrate(kernel: Kernel) -> Calibration:
    """The same in a fresh process, which weighs what a worker weighs.

    Raises:
        ClusterError: The process died; most often it was killed for memory.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_as_worker, kernel).result()
        except BrokenProcessPool:
            raise ClusterError(
                "the calibration process was killed before it could map one window; "
                "free some memory, or choose a smaller kernel or precision"
            ) from None


def _on_worker(kernel: Kernel, features: FeatureSource | None) -> Calibration:
    try:
        return _as_worker(kernel, features)
    except WeightsError as error:  # they are here where the run was started
        raise WeightsError(f"worker {get_worker().address}: {error}") from None


def _as_worker(kernel: Kernel, features: FeatureSource | None = None) -> Calibration:
    import eopipe.engine.work.tile  # noqa: F401, PLC0415  (what a worker imports, so that the base weighs the same)
    from eopipe.engine.work.warm_up import warm_up  # noqa: PLC0415

    warm_up(kernel.info)
    return calibrate_here(kernel, device=choose_device(), threads=THREADS, features=features)


def _seeded(epochs: int, bands: int, side: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(200, 4000, (epochs, bands, side, side)).astype(np.float32)
    return pixels, np.ones((epochs, side, side), dtype=bool)
