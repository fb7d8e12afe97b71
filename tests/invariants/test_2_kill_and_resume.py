"""Invariant 2: kill any process at any moment, run again: the same bytes, and no tile done twice."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.support.runs import mosaic, records, run, same_pixels
from tests.support.seeded_scenes import seeded

TILES = 6


@pytest.fixture(scope="module")
def undisturbed(client, catalog, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    assert run(seeded(folder, catalog))["exit_status"] == 0
    return folder


def start(tmp_path, out, catalog):
    """``eopipe run`` in a process of its own, one worker so that tiles come one by one."""
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps(seeded(out, catalog, cluster={"kind": "local", "workers": 1})))
    return subprocess.Popen(
        [sys.executable, "-m", "eopipe.cli", "run", str(spec), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_records(process, out, count, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if len(records(out)) >= count:
            return
        if process.poll() is not None:
            pytest.fail(f"the run ended early: {process.communicate()}")
        time.sleep(0.02)
    pytest.fail(f"only {len(records(out))} records after {seconds} s")


def kill_tree(process):
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.communicate()


@pytest.mark.parametrize("after", [pytest.param(1, marks=pytest.mark.slow), 4])
def test_everything_killed_then_resumed(undisturbed, client, catalog, tmp_path, after):
    out = tmp_path / "out"
    process = start(tmp_path, out, catalog)
    wait_for_records(process, out, after)
    kill_tree(process)
    before = {name: record["finished"] for name, record in records(out).items()}
    assert after <= len(before) < TILES
    summary = run(seeded(out, catalog, cluster={"kind": "current"}))
    assert summary["exit_status"] == 0
    assert summary["done"] == TILES
    now = records(out)
    assert {name: now[name]["finished"] for name in before} == before, "a recorded tile was done twice"
    same_pixels(mosaic(undisturbed), mosaic(out))
    for name, record in records(undisturbed).items():
        assert now[name]["checksums"] == record["checksums"]


@pytest.mark.slow
def test_a_killed_worker_costs_no_tile(undisturbed, catalog, tmp_path):
    """The nanny starts another worker, which does the tile again."""
    out = tmp_path / "out"
    process = start(tmp_path, out, catalog)
    wait_for_records(process, out, 1)
    workers = [
        p for p in psutil.Process(process.pid).children(recursive=True) if "spawn_main" in " ".join(p.cmdline())
    ]
    assert workers
    workers[-1].send_signal(signal.SIGKILL)
    stdout, stderr = process.communicate(timeout=200)
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["done"] == TILES
    same_pixels(mosaic(undisturbed), mosaic(out))


@pytest.mark.parametrize(
    ("number", "status"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_signal_drains_and_leaves_a_resumable_run(undisturbed, client, catalog, tmp_path, number, status):
    out = tmp_path / "out"
    process = start(tmp_path, out, catalog)
    wait_for_records(process, out, 1)
    # a terminal sends SIGINT to the whole group; workers must ignore it
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == status, stderr
    summary = json.loads(stdout)
    assert summary["failed"] == 0
    assert 0 < summary["done"] < TILES
    assert summary["not_run"] == TILES - summary["done"]
    assert run(seeded(out, catalog))["done"] == TILES
    same_pixels(mosaic(undisturbed), mosaic(out))


def test_it_fails_when_a_record_comes_before_its_pixels(undisturbed, client, catalog, tmp_path):
    """The test can fail: a ledger that vouches for pixels not yet written leaves holes after a kill."""
    out = tmp_path / "out"
    assert run(seeded(out, catalog))["exit_status"] == 0
    shard = next((out / "mosaic.zarr/0/label/c").glob("*/*"))
    shard.unlink()  # as if the kill had come between the record and the shard
    assert run(seeded(out, catalog))["exit_status"] == 0
    with pytest.raises(AssertionError):
        same_pixels(mosaic(undisturbed), mosaic(out))
