"""What the store costs: shard writes, pyramid, checksums, COGs, and a store of 20,000 tiles.

Run it: ``python tests/bench/bench_store.py``. Labels are patches of 8 pixels with 10 % speckle, confidence is noise.
"""

import shutil
import tempfile
import time
from collections.abc import Callable

import numpy as np

from eopipe.grid import Grid, PixelBox, Tile
from eopipe.kernelinfo import ArraySpec, ClassInfo
from eopipe.mosaic.cog import CogInfo, write_cog
from eopipe.mosaic.pyramid import reduce
from eopipe.mosaic.store import Layout, MosaicWriter, checksum, create
from eopipe.storage import Storage

CLASSES = tuple(ClassInfo(code, f"class {code}", f"#{code * 25:02x}8040") for code in range(1, 10))
LABEL = ArraySpec("label", "uint8", 255, 0, CLASSES, (0, 255))
CONFIDENCE = ArraySpec("confidence", "uint8", 255, 0, losers=(255,))
OBSERVATIONS = ArraySpec("observations", "uint8", 255, 0, losers=(255,))
ARRAYS = (LABEL, CONFIDENCE, OBSERVATIONS)


def tile_arrays(side: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    label = np.kron(rng.integers(1, 10, (side // 8, side // 8)), np.ones((8, 8), int)).astype(np.uint8)
    speckle = rng.random(label.shape) < 0.1
    label[speckle] = rng.integers(1, 10, int(speckle.sum()))
    confidence = np.clip(60 + 20 * rng.normal(size=label.shape), 0, 100).astype(np.uint8)
    observations = np.kron(rng.integers(3, 9, (side // 64, side // 64)), np.ones((64, 64), int)).astype(np.uint8)
    return {"label": label, "confidence": confidence, "observations": observations}


def best(call: Callable[[], object], times: int = 5) -> float:
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        found.append(time.perf_counter() - begun)
    return min(found)


def bench_tile(side: int, pipeline: str) -> None:
    folder = tempfile.mkdtemp()
    storage = Storage.open(folder)
    layout = Layout.plan(Grid("EPSG:32632", 10.0), side, PixelBox(0, 0, 2, 2), ARRAYS)
    create(storage, layout, {})
    writer = MosaicWriter(storage, layout, pipeline=pipeline)
    arrays = tile_arrays(side)
    seconds = best(lambda: writer.write(Tile(0, 0), arrays))
    read = best(lambda: [writer.read(Tile(0, 0), name) for name in arrays])
    raw = sum(values.nbytes for values in arrays.values())
    stored = sum(size for path, size in storage.sizes("mosaic.zarr/0") if "/c/" in path)
    print(
        f"tile {side:5d} {pipeline:5s}: write all levels, checksums and fsync {seconds * 1e3:7.1f} ms"
        f" = {raw / seconds / 1e6:6.0f} MB/s of level 0; read {raw / read / 1e6:6.0f} MB/s;"
        f" {raw / stored:.2f} times smaller"
    )
    shutil.rmtree(folder)


def bench_parts(side: int) -> None:
    arrays = tile_arrays(side)
    geobox = Grid("EPSG:32632", 10.0).geobox(Tile(0, 0).box(side))
    storage = Storage.open("memory://bench")
    info = CogInfo("bench", "bench", ARRAYS)
    for name, call in {
        "mode of label": lambda: reduce(arrays["label"], LABEL),
        "mean of confidence": lambda: reduce(arrays["confidence"], CONFIDENCE),
        "sha256 of label": lambda: checksum(arrays["label"]),
        "three COGs": lambda: write_cog(storage, path="c.tif", geobox=geobox, arrays=arrays, info=info),
    }.items():
        seconds = best(call, 3)
        print(f"tile {side:5d}: {name:20s} {seconds * 1e3:8.1f} ms")


def bench_large() -> None:
    folder = tempfile.mkdtemp()
    storage = Storage.open(folder)
    layout = Layout.plan(Grid("EPSG:32632", 10.0), 4096, PixelBox(-100, -3, 40, 140), ARRAYS)
    seconds = best(lambda: create(storage, layout, {}), 1)
    size = sum(size for _, size in storage.sizes())
    print(f"a store of {140 * 143:,} tiles, {layout.levels} levels: made in {seconds:.2f} s, {size / 1e6:.1f} MB")
    shutil.rmtree(folder)


if __name__ == "__main__":
    for size in (512, 1024, 2048, 4096):
        for kind in ("zarr", "zarrs"):
            bench_tile(size, kind)
    for size in (1024, 4096):
        bench_parts(size)
    bench_large()
