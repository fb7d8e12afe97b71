"""Which arithmetic a run uses: ``auto`` is measured and frozen, and a worker that crawls in it is refused.

A bfloat16 matrix product was four times as fast as float32 on a CPU with AVX512-BF16, and 400 times slower on one
with AVX2 only. So nothing is assumed of a machine: a product of a vision transformer's size is timed on it.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from eopipe.engine.plan.resolved_spec import resolve
from eopipe.kernels.protocol import MeasuresPrecision

if TYPE_CHECKING:
    from collections.abc import Callable

    from eopipe.engine.plan.open import Opened
    from eopipe.engine.work.calibrate import Calibration
    from eopipe.kernels.protocol import Kernel

LIMIT = 3.0
"""A worker on which the run's precision takes more than so many times what float32 takes is refused."""

SHAPE = (197, 768, 768)
"""Rows, depth and columns of the product: the tokens of a window through a square layer of ViT-B/16; 0.23 GFLOP."""

ROUNDS = 9


def product_ratio(precision: str, device: str) -> float:
    """Seconds of a matrix product in a precision over seconds in float32; medians of interleaved rounds.

    Args:
        precision: A torch dtype's name, such as ``bfloat16``.
        device: Such as ``cpu``.
    """
    rows, depth, cols = SHAPE
    source = torch.Generator().manual_seed(0)
    left, right = torch.rand(rows, depth, generator=source), torch.rand(depth, cols, generator=source)
    pairs = [tuple(one.to(device, dtype) for one in (left, right)) for dtype in (torch.float32, _dtype(precision))]
    for pair in pairs:
        _seconds(*pair)
    taken: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for pair, times in zip(pairs, taken, strict=True):
            times.append(_seconds(*pair))
        if taken[1][0] > 20 * taken[0][0]:  # hopeless: more rounds would take seconds
            break
    plain, asked = map(statistics.median, taken)
    return asked / plain


def slowdown(kernel: Kernel, device: str) -> float:
    """How many times longer a loaded kernel's precision takes on this machine than float32 would."""
    precision = kernel.info.options.get("precision", "float32")
    if precision in {"float32", "auto"}:
        return 1.0
    return kernel.precision_ratio() if isinstance(kernel, MeasuresPrecision) else product_ratio(precision, device)


WORTH = 0.9
"""``auto`` gives up float32's bits for a tenth of the time at least: two equal timings never differ by nothing."""


def freeze_precision(opened: Opened, measure: Callable[[Kernel], Calibration]) -> tuple[Opened, Calibration]:
    """Resolve ``precision: auto`` by measuring both; returns the calibration of what was chosen.

    Args:
        opened: The run.
        measure: :func:`eopipe.engine.work.calibrate.calibrate`, or the same on a worker.
    """
    kernel = opened.job.kernel
    if kernel.info.options.get("precision") != "auto":
        return opened, measure(kernel)
    plain, plain_time = _with(opened, "float32", measure)
    if plain_time.bfloat16 > LIMIT:
        why = f"a bfloat16 product takes {plain_time.bfloat16:.0f} times as long as float32's"
        return _chosen(plain, f"float32 was taken ({why})"), plain_time
    half, half_time = _with(opened, "bfloat16", measure)
    said = f"float32 {plain_time.window_seconds:.3f} s, bfloat16 {half_time.window_seconds:.3f} s a window"
    if half_time.window_seconds < WORTH * plain_time.window_seconds:
        return _chosen(half, f"bfloat16 was taken ({said})"), half_time
    return _chosen(plain, f"float32 was taken ({said})"), plain_time


def _with(opened: Opened, precision: str, measure: Callable[[Kernel], Calibration]) -> tuple[Opened, Calibration]:
    job = opened.job
    tried = resolve(job.spec, job.now, kernel_options={**job.kernel.info.options, "precision": precision})
    return replace(opened, job=tried), measure(tried.kernel)


def _chosen(opened: Opened, said: str) -> Opened:
    return replace(opened, warnings=(*opened.warnings, f"precision auto: {said}"))


def _dtype(precision: str) -> torch.dtype:
    found: torch.dtype = getattr(torch, precision)
    return found


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.perf_counter()
    made = left @ right
    if made.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
