"""A short calibration of one process: its resident memory, and the speed of the kernel."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from distributed import get_worker
from distributed.scheduler import KilledWorker

from eopipe.engine.cluster.resources import device_label, process_memory
from eopipe.engine.plan.model import Calibration
from eopipe.engine.statistics.for_calibration import SeededStatistics, measure_seeded
from eopipe.engine.work.precision import product_ratio
from eopipe.errors import ClusterError, WeightsError
from eopipe.grid import PixelBox
from eopipe.kernels.protocol import StripContext

if TYPE_CHECKING:
    from distributed import Client

    from eopipe.engine.sources.protocol import TileSource
    from eopipe.kernelinfo import Window
    from eopipe.kernels.protocol import FeatureSource, Kernel

CALLS = 3
"""Timed calls of the kernel; their median counts."""

STRIDES = 4
"""Side, in strides, of the largest box that is timed: at its edges windows overlap it in part only."""

CALL_SECONDS = 4.0
"""Seconds that a timed call may take, and all of them together twice that; else a smaller box and fewer calls."""


def calibrate_here(
    kernel: Kernel, *, device: str, threads: int, features: FeatureSource | None = None
) -> Calibration:
    """Load the kernel in this process and time it on seeded pixels.

    Args:
        kernel: Which.
        device: Such as ``cpu``.
        threads: Of torch.
        features: Seeded window features, where the run scores kept ones.
    """
    torch.set_num_threads(threads)
    kernel.load(device=device, threads=threads)
    seeded = measure_seeded(kernel)
    context = StripContext(features=features)
    _time(kernel, 1, context, seeded)  # compiles and warms up
    seconds = [_time(kernel, 1, context, seeded)]
    strides = _strides(kernel.info.window, seconds[0])
    if strides > 1:
        seconds.clear()
    while len(seconds) < CALLS and (not seconds or sum(seconds) + seconds[0] <= 2 * CALL_SECONDS):
        seconds.append(_time(kernel, strides, context, seeded))
    windows = kernel.info.window.touching(strides * kernel.info.window.stride) ** 2
    return Calibration(
        base=process_memory(),
        window_seconds=statistics.median(seconds) / windows,
        device=device_label(device),
        bfloat16=product_ratio("bfloat16", device),
        stage_seconds=dict(seeded.seconds),
    )


def _strides(window: Window, seconds: float) -> int:
    """Side of the box to time, in strides, where one of a single stride takes so many seconds.

    Where windows lie side by side one is like the next. Where they overlap, those that only touch a small box would
    count as much as whole ones, though they add few pixels.
    """
    if window.covers <= window.stride:
        return 1
    per_window = seconds / window.touching(window.stride) ** 2
    fitting = (
        n for n in range(STRIDES, 1, -1) if per_window * window.touching(n * window.stride) ** 2 <= CALL_SECONDS
    )
    return next(fitting, 1)


def _time(kernel: Kernel, strides: int, context: StripContext, seeded: SeededStatistics) -> float:
    """Seconds of one call on a box of so many strides a side."""
    info = kernel.info
    side = strides * info.window.stride
    pixels, valid = _seeded_pixels(info.inputs.epochs, len(info.inputs.bands), side + 2 * info.window.halo)
    box = PixelBox(0, 0, side, side)
    context = replace(context, statistics=seeded.around(box.pad(info.window.halo)))
    start = time.perf_counter()
    kernel(pixels, valid, box, context)
    return time.perf_counter() - start


def _seeded_pixels(epochs: int, bands: int, side: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    pixels = rng.integers(200, 4000, (epochs, bands, side, side)).astype(np.float32)
    return pixels, np.ones((epochs, side, side), dtype=bool)


def calibrate_on_worker(client: Client, source: TileSource, kernel: Kernel) -> Calibration:
    """Calibrate one worker of a cluster, which warms it up too.

    Args:
        client: Of the cluster.
        source: What tiles are made of.
        kernel: Not loaded.

    Raises:
        ClusterError: The worker died; most often it was killed for memory.
        WeightsError: The worker lacks weights that this process has, or has others; it is named.
    """
    try:
        calibration: Calibration = client.submit(_on_worker, source, kernel, pure=False).result()
    except KilledWorker:
        raise ClusterError(
            "a worker was killed before it could map one window; give workers more memory, or take another precision"
        ) from None
    return calibration


def calibrate_in_process(source: TileSource, kernel: Kernel) -> Calibration:
    """Calibrate a fresh process of this machine, which takes as much memory as a worker.

    Args:
        source: What tiles are made of.
        kernel: Not loaded.

    Raises:
        ClusterError: The process died; most often it was killed for memory.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(_as_worker, source, kernel).result()
        except BrokenProcessPool:
            raise ClusterError(
                "the calibration process was killed before it could map one window; "
                "free some memory, or choose a smaller kernel or precision"
            ) from None


def _on_worker(source: TileSource, kernel: Kernel) -> Calibration:
    try:
        return _as_worker(source, kernel)
    except WeightsError as error:  # they are present where the run was started
        raise WeightsError(f"worker {get_worker().address}: {error}") from None


def _as_worker(source: TileSource, kernel: Kernel) -> Calibration:
    import eopipe.engine.work.tile  # noqa: F401, PLC0415  (as a worker does, so that the base counts its libraries)

    return source.calibrate(kernel)
