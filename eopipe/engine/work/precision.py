"""How fast a machine is in a precision: a product is timed, and a worker that is far too slow is refused.

A bfloat16 matrix product was four times as fast as float32 on a CPU with AVX512-BF16, and 400 times slower on one
with AVX2 only. So no machine's speed is assumed: a product of a vision transformer's size is timed on it.
"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

import torch

from eopipe.kernels.protocol import MeasuresPrecision

if TYPE_CHECKING:
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
    dtypes: tuple[torch.dtype, torch.dtype] = (torch.float32, getattr(torch, precision))
    pairs = [(left.to(device, dtype), right.to(device, dtype)) for dtype in dtypes]
    for pair in pairs:
        _seconds(*pair)
    taken: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for pair, times in zip(pairs, taken, strict=True):
            times.append(_seconds(*pair))
        if taken[1][0] > 20 * taken[0][0]:  # hopeless: more rounds would take seconds
            break
    plain, other = map(statistics.median, taken)
    return other / plain


def slowdown(kernel: Kernel, device: str) -> float:
    """How many times longer a loaded kernel's precision takes on this machine than float32 would."""
    precision = kernel.info.options.get("precision", "float32")
    if precision in {"float32", "auto"}:
        return 1.0
    return kernel.precision_ratio() if isinstance(kernel, MeasuresPrecision) else product_ratio(precision, device)


def _seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    start = time.perf_counter()
    product = left @ right
    if product.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start
