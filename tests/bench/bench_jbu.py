"""What the bilateral upsamplers cost on the CPU, by part: ``python -m tests.bench.bench_jbu``.

The parts of the last stage run alone over all its units, on one thread, in CPU time: the least of the rounds, for
the arithmetic does not vary and other work on the machine does. Whole windows are timed by the wall.
"""

from __future__ import annotations

import os
import statistics
import time

import numpy as np
import torch
from torch.nn import functional

from eopipe.models._simd import jit
from eopipe.models.upsample import _jbu_basis as basis
from eopipe.models.upsample import _jbu_filters as filters
from eopipe.models.upsample import _jbu_keys as keys
from eopipe.models.upsample import _jbu_layout as layout
from eopipe.models.upsample import _jbu_rows as rows
from eopipe.models.upsample import _jbu_tiles as tiles
from eopipe.models.upsample.jbu import JBU
from eopipe.models.upsample.jbu_cpu import JBUCpu, _Bands, _Workspace

SIDE, CHANNELS, QUERIES = 224, 512, 13
ROUNDS = 15


def over_units(body):
    """All of a stage's units, one part of the work."""

    @jit
    def loop(grid, stage, scratch, pixels, cosines):
        for m in range(grid.height):
            for t in range(0, grid.width, layout.LANES):
                body(m, t, grid, stage, scratch, pixels, cosines)

    return loop


@jit
def _affinities(m, t, grid, stage, scratch, pixels, cosines):
    filters._affinities(m, t, grid, stage.radius, scratch)


@jit
def _weights(m, t, grid, stage, scratch, pixels, cosines):
    filters._weights(stage, scratch)


@jit
def _hide(m, t, grid, stage, scratch, pixels, cosines):
    filters._colours(m, t, grid, 2 * stage.radius + 1, scratch.taps)
    filters._hide(stage, scratch)


@jit
def _correct(m, t, grid, stage, scratch, pixels, cosines):
    filters._correct(stage, scratch)


@jit
def _fold(m, t, grid, stage, scratch, pixels, cosines):
    filters._fold(stage.radius, scratch)


@jit
def _mix(m, t, grid, stage, scratch, pixels, cosines):
    plane = layout.LANES * grid.channels
    rows._mix(m, t, grid, stage.radius, scratch.folded, pixels, 0 * m, grid.channels, plane, 2 * plane)


@jit
def _cosines(m, t, grid, stage, scratch, pixels, cosines):
    rank = grid.channels - 28
    rows._cosines(m, t, layout.LANES + 0 * m, pixels, grid.channels, rank, pixels, pixels, 1.0, cosines)


def least(function, *arguments) -> float:
    """CPU milliseconds of the calling thread."""
    function(*arguments)
    taken = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        function(*arguments)
        taken.append(time.thread_time() - start)
    return 1e3 * min(taken)


_tile = tiles.make_product(layout.LANES, filters.VECTORS, 11, a_row=1, a_k=11, pairs=False, add=False, gelu=False)


@jit
def _in_cache(a, b, c, turns):
    step = filters.VECTORS * layout.LANES
    for _ in range(turns):
        _tile(a, 0, 0, b, 0, step, 0, 120, 1, c, 0, step, 0)


def peak() -> float:
    """GFLOP/s of a tile whose factors stay in the first cache."""
    a, b, c = (np.ones(4096, np.float32) for _ in range(3))
    return 2 * 120 * 11 * filters.VECTORS * layout.LANES * 10_000 / 1e6 / least(_in_cache, a, b, c, 10_000)


def parts(upsampler: JBUCpu, patches, guidance, text) -> None:
    stages = upsampler._plan(patches, guidance)
    work, stage = _Workspace(stages, (patches.shape[2], patches.shape[3])), stages[-1]
    with _Bands(1) as bands:
        columns, packed = patches[0].flatten(1).numpy(), basis.pack_rows(text.numpy())
        factored = least(upsampler._window, columns, packed, QUERIES)
        window = work.begin(bands, guidance[0], lambda: upsampler._window(columns, packed, QUERIES))
        grid = work.advance(bands, window)
    scratch = filters.make_scratch(stage.radius)
    pixels = np.zeros(layout.STEP * grid.channels, np.float32)
    cosines = np.zeros((2 * grid.height, 2 * grid.width, QUERIES), np.float32)
    side, reach = 2 * stage.radius + 1, 2 * layout.half_window(stage.radius) + 1
    area, count = side * side, 4 * grid.height * grid.width
    width = window.rank + QUERIES
    flop = {  # multiplications and additions a pixel that the formulas of this form need
        "affinities": (_affinities, 2 * layout.KEYS * area),
        "softmax, spatial, sum": (_weights, 0),
        "net, first layer": (_hide, 2 * (area + 4) * area),
        "net, second layer": (_correct, 2 * (area + 1) * area),
        "fold": (_fold, 2 * 4 * (side * side + side * reach)),
        "filter": (_mix, 2 * reach * reach * width),
        "lengths and cosines": (_cosines, 2 * window.rank),
    }
    top = peak()
    print(f"\n{upsampler.name}, last stage, 1 thread; a tile in the cache: {top:.0f} GFLOP/s")
    print(f"{'part':24s} {'ms':>7s} {'GFLOP/s':>8s} {'of tile':>10s}")
    image = guidance[0].numpy()
    own = least(keys.keys, 0, 2 * grid.height, grid, stage, image)
    table = {"keys": (own, 2 * (4 * 32 + 33 * 32))}
    for name, (body, each) in flop.items():
        table[name] = (least(over_units(body), grid, stage, scratch, pixels, cosines), each)
    for name, (milliseconds, each) in table.items():
        speed = each * count / 1e6 / milliseconds
        rate = f"{speed:8.0f} {speed / top:10.0%}" if each else ""
        print(f"{name:24s} {milliseconds:7.2f} {rate}")
    total, work_done = sum(ms for ms, _ in table.values()), sum(each for _, each in table.values()) * count / 1e6
    print(f"{'sum of the last stage':24s} {total:7.2f} {work_done / total:8.0f} {work_done / total / top:10.0%}")
    for n in range(len(stages)):
        small = work._grid(n, work.sources[n])
        if n + 1 < len(stages):
            target = work.sources[n + 1].reshape(-1)
            taken = least(rows.double, 0, small.height, small, stages[n], work.half[n + 1], target)
        else:
            arguments = (grid, stage, window.rank, window.constant, window.rest, cosines)
            taken = least(rows.score, 0, grid.height, *arguments)
        taken += least(keys.keys, 0, 2 * small.height, small, stages[n], image)
        print(f"stage {n + 1} with keys       {taken:7.2f}")
    print(f"low-rank form            {factored:7.2f}")


def whole(upsampler: JBUCpu, model: JBU, patches, guidance, text) -> None:
    def plain():
        with torch.inference_mode():
            features = functional.normalize(model(patches, guidance), dim=1)
            return torch.einsum("bcyx,qc->byxq", features, text)

    expected = plain()
    variants = {}
    for threads in (1, 2):
        fused = JBUCpu(model.state_dict(), threads=threads)
        variants[f"fused, {threads} threads"] = (lambda fused=fused: fused.score(patches, guidance, text), threads, 9)
    for threads in (1, 2):
        variants[f"plain torch, {threads} threads"] = (plain, threads, 2)
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for n in range(9):
        for name, (variant, threads, rounds) in variants.items():
            if n < rounds:
                torch.set_num_threads(threads)
                start = time.perf_counter()
                result = variant()
                taken[name].append(1e3 * (time.perf_counter() - start))
    torch.set_num_threads(1)
    print(f"\n{upsampler.name}, one window of {SIDE} x {SIDE}, {CHANNELS} channels, {QUERIES} queries, by the wall")
    for name, values in taken.items():
        print(f"{name:24s} median {statistics.median(values):7.1f} ms, least {min(values):7.1f} ms")
    difference = abs(upsampler.score(patches, guidance, text) - expected).max()
    print(f"greatest difference of a cosine {difference:.1e}; load {os.getloadavg()[0]:.1f}")
    del result


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    patches = torch.randn(1, CHANNELS, SIDE // 16, SIDE // 16, generator=generator)
    guidance = torch.randn(1, 3, SIDE, SIDE, generator=generator)
    text = functional.normalize(torch.randn(QUERIES, CHANNELS, generator=generator), dim=1)
    for name in ("jbu_one", "jbu_stack"):
        torch.manual_seed(0)
        model = JBU(name, CHANNELS)
        upsampler = JBUCpu(model.state_dict(), threads=1)
        parts(upsampler, patches, guidance, text)
        whole(upsampler, model, patches, guidance, text)


if __name__ == "__main__":
    main()
