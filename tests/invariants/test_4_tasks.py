"""Invariant 4: at most 1.2 Dask tasks a tile; the large numbers are in tests/bench/bench_plan.py."""

import pytest
from distributed import SchedulerPlugin

from tests.support.runs import run
from tests.support.seeded_scenes import seeded


class CountTasks(SchedulerPlugin):
    """Counts every task that the scheduler is given, by prefix."""

    name = "count-tasks"

    def __init__(self):
        self.keys = set()

    def transition(self, key, start, finish, *args, **kwargs):
        if start == "released" and finish in {"waiting", "queued", "processing", "no-worker"}:
            self.keys.add(str(key))


def _count(dask_scheduler):
    return sorted(dask_scheduler.plugins["count-tasks"].keys)


def test_one_task_a_tile(client, catalog, tmp_path):
    client.register_plugin(CountTasks())
    try:
        summary = run(seeded(tmp_path / "out", catalog, grid__resolution=5))
        tasks = client.run_on_scheduler(_count)
    finally:
        client.unregister_scheduler_plugin("count-tasks")
    tiles = [key for key in tasks if "tile-" in key]
    assert len(tiles) == summary["tiles"] >= 12
    coarse = [key for key in tasks if "build_parent" in key]
    assert len(tiles) <= 1.2 * summary["tiles"]
    assert len(tasks) == len(tiles) + len(coarse)
    with pytest.raises(AssertionError):  # it can fail: two tasks a tile would be seen
        assert 2 * len(tiles) <= 1.2 * summary["tiles"]
