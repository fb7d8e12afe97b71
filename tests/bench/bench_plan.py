"""Invariant 4's large numbers: 20,000 tiles and 100,000 items, planned and submitted; the limit is 30 s.

Run: ``python tests/bench/bench_plan.py``. Items are synthetic in place and time; each points to real COGs, so
that headers are sampled as in a real run. The submission is real, to two paused workers.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import replace

import dask
from distributed import Client, LocalCluster

from eopipe.engine.cluster import protocol
from eopipe.engine.plan.model import Calibration, Workers
from eopipe.engine.plan.open import Opened
from eopipe.engine.plan.resolved_spec import resolve
from eopipe.engine.run import make_context
from eopipe.engine.work.driver import submit
from eopipe.snapshot import Snapshot, item_hash
from eopipe.spec import parse_spec, resolve_now
from eopipe.storage import Storage
from tests.bench.bench_snapshot import rows
from tests.support.paths import shared

LIMIT = 30.0


def snapshot(count: int) -> Snapshot:
    """Rows over Africa whose items are the real Pisa item under other names."""
    folder = shared() / "data/sentinel2-oscd/S2_pisa_20150704"
    item = json.loads((folder / "S2_pisa_20150704.json").read_text())
    made = []
    for row in rows(count, shared=True):
        item = {**item, "id": row.id}
        made.append(
            replace(
                row,
                hash=item_hash(item),
                text=json.dumps(item),
                collection="sentinel-2-l1c-oscd",
                href=str(folder / "S2_pisa_20150704.json"),
                level="L1C",
            )
        )
    return Snapshot.build(["all"], made)


def pause(dask_worker) -> None:
    """Let the worker take no task."""
    from distributed.core import Status

    dask_worker.status = Status.paused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=100_000)
    options = parser.parse_args()
    spec = parse_spec(
        {
            "name": "africa",
            "area": [-17.0, -33.0, 36.0, 27.0],
            "source": {"catalog": "https://example.com", "collections": ["x"]},
            "grid": {"crs": "equal-earth", "resolution": 10, "tile": 4096},
            "kernel": {"name": "land-cover"},
            "output": {"uri": "memory://bench"},
        }
    )
    found = snapshot(options.items)
    calibration = Calibration(base=800 * 2**20, window_seconds=0.25, device="bench")
    with (
        dask.config.set({**protocol.scheduler_settings(), **protocol.worker_settings()}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0") as cluster,
        Client(cluster) as client,
    ):
        client.run(pause)
        start = time.perf_counter()
        job = resolve(spec, resolve_now(None))
        opened = Opened(Storage.open("memory://bench"), job, found, None, None, (), tile=4096)
        plan = opened.plan(workers=Workers(2, None), calibration=calibration)
        planned = time.perf_counter()
        context = make_context(opened, plan)
        futures = submit(client, context)
        while (known := client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks))) < len(futures):
            time.sleep(0.05)
        submitted = time.perf_counter()
        print(f"{platform.processor() or platform.machine()}: {len(found):,} items, {len(plan.tiles):,} tiles")
        print(f"plan   {planned - start:6.2f} s (limit {LIMIT:.0f} s for both)")
        print(f"submit {submitted - planned:6.2f} s, {known / len(futures):.2f} tasks a tile at the scheduler")
        client.cancel(futures, force=True)
    assert known <= 1.2 * len(futures)
    assert submitted - start <= LIMIT


if __name__ == "__main__":
    main()
