"""How long 100,000 items and 20,000 tiles take: freeze, write, read, index, query.

Run: ``python tests/bench/bench_snapshot.py``.

A run is planned from the index; no item is parsed. Rows are synthetic: MGRS-like squares seen on many dates
(rasters shared by many items), or frames that are all different (Landsat- or radar-like), over Africa.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import numpy as np

from eopipe.grid import Grid
from eopipe.snapshot import Row, Snapshot, read_snapshot, write_snapshot
from eopipe.storage import Storage

START = datetime(2024, 1, 1, tzinfo=UTC)


@contextmanager
def timed(what: str, times: dict[str, float]):
    started = time.perf_counter()
    yield
    times[what] = time.perf_counter() - started
    print(f"{what:34s} {times[what]:8.2f} s", flush=True)


def rows(count: int, *, shared: bool) -> list[Row]:
    """Rows over Africa in UTM zones 28 to 39, north and south; ~2 kB of JSON each."""
    rng = np.random.default_rng(0)
    filler = {f"B{n:02}": {"href": f"https://host/{n}/", "proj:shape": [10980, 10980]} for n in range(20)}
    made = []
    for number in range(count):
        zone, north = 28 + int(rng.integers(12)), bool(rng.integers(2))
        x, y = float(rng.uniform(200_000, 690_000)), float(rng.uniform(0, 3_800_000))
        if shared:
            x, y = 199_980.0 + 99_960 * int((x - 199_980) // 99_960), 99_960.0 * (y // 99_960)
        y = y if north else 10_000_000.0 - y - 109_800
        west, south = -18 + (zone - 28) * 6.0, (y if north else y - 10_000_000) / 111_000
        name = f"S2_{number:06}"
        item = {"type": "Feature", "id": name, "assets": filler, "properties": {"datetime": "2024-01-01T00:00:00Z"}}
        made.append(
            Row(
                epoch="all",
                collection="sentinel-2-l2a",
                id=name,
                datetime=START + timedelta(minutes=int(rng.integers(500_000))),
                hash=f"{number:064x}",
                text=json.dumps(item),
                crs=f"EPSG:{(32600 if north else 32700) + zone}",
                bounds=(x, y, x + 109_800.0, y + 109_800.0),
                raster_source="proj",
                bbox=(west, south, west + 6, south + 1),
            )
        )
    return made


def boxes(grid: Grid, count: int, side: float) -> np.ndarray:
    """Tiles in a block over central Africa."""
    across = int(count**0.5)
    left, bottom = np.meshgrid(np.arange(across) * side, np.arange(-(-count // across)) * side)
    centre = {"EPSG:8857": (1.6e6, -2.0e6), "EPSG:32633": (-1.0e6, -2.0e6)}.get(grid.crs, (15.0, -10.0))
    left = left.ravel()[:count] + centre[0]
    bottom = bottom.ravel()[:count] + centre[1]
    return np.stack([left, bottom, left + side, bottom + side], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--tiles", type=int, default=20_000)
    options = parser.parse_args()
    for shared in (True, False):
        times: dict[str, float] = {}
        print(f"\n{options.items} items, rasters {'shared by many items' if shared else 'all different'}")
        made = rows(options.items, shared=shared)
        with timed("build (sort, index, hash)", times):
            snapshot = Snapshot.build(["all"], made)
        with tempfile.TemporaryDirectory() as folder:
            storage = Storage.open(folder)
            with timed("write", times):
                write_snapshot(snapshot, storage)
            with timed("read (index only)", times):
                again = read_snapshot(storage, snapshot.hash)
            grid = Grid("EPSG:8857", 10.0)
            wanted = max(again.scenes(grid).query(boxes(grid, 400, 40_960)), key=len)[:60]
            for what in (f"first {len(wanted)} items of a tile", "again"):
                with timed(what, times):
                    again._texts.texts(wanted.tolist())  # synthetic hashes are not checked
        for crs, resolution, side in (
            ("EPSG:8857", 10.0, 20_480.0), ("EPSG:32633", 10.0, 20_480.0), ("EPSG:4326", 1e-4, 0.2048),
        ):  # fmt: skip
            grid = Grid(crs, resolution)
            with timed(f"scene index on {crs}", times):
                scenes = snapshot.scenes(grid)
            with timed(f"query of {options.tiles} tiles", times):
                found = scenes.query(boxes(grid, options.tiles, side))
            total = sum(map(len, found))
            print(f"{'':34s} {total:8d} pairs, {len(scenes.box_key)} rasters compared in lon/lat")


if __name__ == "__main__":
    main()
