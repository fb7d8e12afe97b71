"""Invariant 4: at most 1.2 Dask tasks a tile; the large numbers are in tests/bench/bench_plan.py."""

import pytest
from distributed import SchedulerPlugin

from tests.support.paths import needs_shared
from tests.support.runs import pisa, run


class CountTasks(SchedulerPlugin):
    """Counts every task that the scheduler is given, by prefix."""

    name = "count-tasks"

    def __init__(self):
        self.seen = set()

    def transition(self, key, start, finish, *args, **kwargs):
        if start == "released" and finish in {"waiting", "queued", "processing", "no-worker"}:
            self.seen.add(str(key))


def _count(dask_scheduler):
    return sorted(dask_scheduler.plugins["count-tasks"].seen)


@needs_shared
def test_one_task_a_tile(client, tmp_path):
    client.register_plugin(CountTasks())
    try:
        summary = run(pisa(tmp_path / "out", grid__resolution=5))
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
