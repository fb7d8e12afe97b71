"""What a land-cover window costs: ``python tests/bench/bench_land_cover.py``.

One window is 560 x 560 pixels (a core of 512 and the halo). Each round times every variant once, so that
what else the machine does weighs on all alike; the table has the medians, and ratios of the same round.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from eopipe.models.dynamicworld.net import (
    DYNAMIC_WORLD,
    GFLOP_PER_PIXEL,
    HALO,
    DynamicWorld,
    FastDynamicWorld,
    TorchDynamicWorld,
    normalise,
)
from eopipe.models.weights import load_arrays

SIDE = 512 + 2 * HALO
ROUNDS = 7


def seconds(function) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def peak(side: int = 1536) -> float:
    """GFLOP/s of a float32 product of torch's BLAS with the threads as set."""
    a, b = torch.rand(side, side), torch.rand(side, side)
    a @ b
    return 2 * side**3 / 1e9 / min(seconds(lambda: a @ b) for _ in range(5))


def scene() -> np.ndarray:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    waves = [np.sin(y / rng.uniform(3, 30)) * np.cos(x / rng.uniform(3, 30)) for _ in range(9)]
    return np.rint(np.exp(7 + 1.2 * np.array(waves))).astype(np.float32)


def main() -> None:
    torch.set_num_threads(1)
    arrays = load_arrays(DYNAMIC_WORLD.weights)
    pixels, valid = scene(), np.ones((SIDE, SIDE), bool)
    module = DynamicWorld().eval()
    module.load_published(arrays)

    def plain() -> np.ndarray:
        with torch.inference_mode():
            return module(normalise(torch.from_numpy(pixels))[None])[0].numpy()

    fast = FastDynamicWorld(arrays)
    channels_last = TorchDynamicWorld(arrays)
    bfloat16 = TorchDynamicWorld(arrays, precision="bfloat16")
    variants = {
        "eager float32 NCHW, 1 thread": plain,
        "eager float32 channels-last": lambda: channels_last(pixels, valid),
        "eager bfloat16 channels-last": lambda: bfloat16(pixels, valid),
        "fast float32, whole window": lambda: fast(pixels, valid),
        "fast float32, core only": lambda: fast(pixels, valid, crop=HALO),
    }
    exact = plain()
    for name, variant in variants.items():  # warms up, too
        result = variant()
        inside = exact if result.shape == exact.shape else exact[:, HALO:-HALO, HALO:-HALO]
        agree = (result.argmax(axis=0) == inside.argmax(axis=0)).mean()
        print(f"{name:32s} max |difference| {abs(result - inside).max():.1e}, labels equal {agree:.5%}")
    times: dict[str, list[float]] = {name: [] for name in variants}
    two: dict[str, list[float]] = {"eager float32 NCHW, 2 threads": [], "fast float32 core, 2 at once": []}
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            for name, variant in variants.items():
                times[name].append(seconds(variant))
            torch.set_num_threads(2)
            two["eager float32 NCHW, 2 threads"].append(seconds(plain))
            torch.set_num_threads(1)
            both = seconds(lambda: list(pool.map(lambda _: fast(pixels, valid, crop=HALO), range(2))))
            two["fast float32 core, 2 at once"].append(both / 2)

    one_peak = peak()
    gflop = GFLOP_PER_PIXEL * SIDE * SIDE
    print(f"\n{cpu_name()}, {os.cpu_count()} CPUs, torch {torch.__version__}, {ROUNDS} rounds")
    print(
        f"{gflop:.1f} GFLOP a window of {SIDE} x {SIDE}; torch's float32 product, 1 thread: {one_peak:.0f} GFLOP/s\n"
    )
    print(f"{'variant':32s} {'median s':>9s} {'range s':>13s} {'ratio':>6s} {'GFLOP/s':>8s} {'of product':>10s}")
    base = times["eager float32 NCHW, 1 thread"]
    for name, values in (times | two).items():
        median = statistics.median(values)
        ratio = statistics.median(b / v for b, v in zip(base, values, strict=True))
        span = f"{min(values):.2f}-{max(values):.2f}"
        speed = gflop / median  # of the whole window's arithmetic, also where the core alone needs less
        print(f"{name:32s} {median:9.3f} {span:>13s} {ratio:5.1f}x {speed:8.0f} {speed / one_peak:10.0%}")


if __name__ == "__main__":
    main()
