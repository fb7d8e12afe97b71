"""The kinds that run here for real: local, current and address, on one small cluster."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import dask
import distributed
import psutil
import pytest
from distributed import Client

from eopipe.engine.cluster import (
    ClusterHandle,
    current_client,
    open_cluster,
    protocol,
    wait_for_workers,
    worker_addresses,
)
from eopipe.engine.cluster.resources import memory_a_worker, memory_limit
from eopipe.errors import ClusterError, SpecError
from eopipe.spec import ClusterSpec
from tests.support.paths import ROOT


@pytest.fixture(scope="module", autouse=True)
def no_client_of_others():
    """Other modules' tests may share a default client; here there is none."""
    other = distributed.client._get_global_client()
    if other is not None:
        distributed.client._del_global_client(other)
    yield
    if other is not None:
        distributed.client._set_global_client(other)


@pytest.fixture(scope="module")
def local():
    with open_cluster(ClusterSpec(kind="local", workers=2, memory="1GB")) as handle:
        yield handle


def pid_of(client, address):
    return client.run(os.getpid, workers=[address])[address]


def test_local_is_what_was_asked_for(local):
    assert (local.kind, local.owned, local.workers) == ("local", True, 2)
    description = local.describe()
    assert (description["workers"], description["threads"], description["memory_limits"]) == (2, 2, [10**9])
    assert description["scheduler"].startswith("tcp://127.0.0.1:")
    assert local.dashboard is None or local.dashboard.startswith("http://127.0.0.1:")
    assert local.client.submit(sum, (1, 2)).result() == 3


def test_local_does_not_become_the_process_s_client(local):
    assert current_client() is None


def test_workers_neither_spill_nor_pause(local):
    def settings(dask_worker):
        manager = dask_worker.memory_manager
        return (manager.memory_target_fraction, manager.memory_spill_fraction, manager.memory_pause_fraction)

    assert set(local.client.run(settings).values()) == {(False, False, False)}

    def scheduler(dask_scheduler):
        return dask_scheduler.WORKER_SATURATION, dask_scheduler.allowed_failures

    assert local.client.run_on_scheduler(scheduler) == (1.0, 3)


def test_our_settings_do_not_stay_in_this_process(local):
    assert dask.config.get("distributed.worker.memory.spill") is not False


def test_a_worker_ignores_ctrl_c_and_so_does_the_one_that_replaces_it(local):
    before = wait_for_workers(local.client, 2, 20)
    victim = pid_of(local.client, before[0])
    os.kill(victim, signal.SIGINT)
    assert local.client.submit(sum, (1, 2), workers=[before[0]], pure=False).result(10) == 3
    os.kill(victim, signal.SIGKILL)
    while not (fresh := set(wait_for_workers(local.client, 1, 30)) - set(before)):
        time.sleep(0.1)
    replaced = fresh.pop()
    os.kill(pid_of(local.client, replaced), signal.SIGINT)
    assert local.client.submit(sum, (1, 2), workers=[replaced], pure=False).result(10) == 3
    assert len(wait_for_workers(local.client, 2, 20)) == 2


def test_too_few_workers_is_one_line_with_the_number(local):
    wait_for_workers(local.client, 2, 20)
    with pytest.raises(ClusterError, match="2 of 5 workers came within 0 s"):
        wait_for_workers(local.client, 5, 0.3)


def test_current_uses_the_client_that_is_there_and_leaves_it_open(local):
    for spec in (ClusterSpec(kind="current"), None):
        with local.client.as_current(), open_cluster(spec) as handle:
            assert (handle.kind, handle.owned, handle.client) == ("current", False, local.client)
            handle.stop_now()
    assert local.client.status == "running"
    assert worker_addresses(local.client)


def test_current_without_a_client_says_what_to_do():
    with pytest.raises(SpecError, match="no Dask Client"), open_cluster(ClusterSpec(kind="current")):
        pass


def test_a_closed_client_is_refused(local):
    client = Client(local.client.scheduler.address, set_as_default=False)
    with client.as_current():
        client.close()
        with pytest.raises(ClusterError, match="is closed"), open_cluster(ClusterSpec(kind="current")):
            pass


def test_address_connects_and_leaves_the_scheduler_running(local):
    address = local.client.scheduler.address
    with open_cluster(ClusterSpec(kind="address", address=address)) as handle:
        assert (handle.kind, handle.owned) == ("address", False)
        assert handle.client.submit(sum, (1, 2)).result() == 3
        inner = handle.client
    assert inner.status == "closed"
    assert local.client.submit(sum, (2, 2)).result() == 4


def test_nobody_at_the_address_is_one_line_with_the_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    spec = ClusterSpec(kind="address", address=address, options={"timeout": 0.5})
    with pytest.raises(ClusterError, match="no Dask scheduler answers") as refused, open_cluster(spec):
        pass
    assert address in str(refused.value)
    assert refused.value.exit_status == 4


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (ClusterSpec(kind="address", address="carrier-pigeon://x:1"), "address refuses them"),
        (ClusterSpec(kind="address", address="tcp://x:1", options={"security": {"key": 1}}), "address refuses them"),
        (ClusterSpec(kind="local", workers=1, options={"no_such_option": 1}), "no_such_option"),
    ],
)
def test_options_that_nobody_takes_are_one_line(spec, message):
    with pytest.raises((SpecError, ClusterError), match=message) as refused, open_cluster(spec):
        pass
    assert "\n" not in str(refused.value)


def test_stop_now_kills_the_workers_for_good_and_leaves_no_scratch():
    with open_cluster(ClusterSpec(kind="local", workers=1, memory="500MB")) as handle:
        (address,) = worker_addresses(handle.client)
        pid = pid_of(handle.client, address)
        scratch = handle.client.run(lambda dask_worker: dask_worker.local_directory)[address]
        handle.client.submit(time.sleep, 60)
        handle.stop_now()
        gone, _ = psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
        assert len(gone) == 1 or not psutil.pid_exists(pid)
        time.sleep(1)  # long enough for a nanny that meant to start another
        assert worker_addresses(handle.client) == []
    assert not Path(scratch).exists()
    assert "eopipe-" in scratch


GROUP = """
import signal, time
from eopipe.engine.cluster import open_cluster
from eopipe.spec import ClusterSpec
heard = []
def work(seconds):
    time.sleep(seconds)
    return 7
if __name__ == "__main__":
    signal.alarm(60)  # if this is broken, it is a failure and not a hang
    signal.signal(signal.SIGINT, lambda *_: heard.append(1))
    print("starting", flush=True)
    with open_cluster(ClusterSpec(kind="local", workers=1)) as handle:
        future = handle.client.submit(work, 1.5)
        while not heard:
            time.sleep(0.01)
        first = len(heard)
        print("working", flush=True)
        while len(heard) == first:
            time.sleep(0.01)
        print("result", future.result(), flush=True)
"""


def test_ctrl_c_on_the_whole_process_group_reaches_the_driver_only(tmp_path):
    """As a terminal does it: once while the workers start, once while they work."""
    script = tmp_path / "run.py"
    script.write_text(GROUP)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        assert process.stdout.readline() == "starting\n"
        time.sleep(0.7)
        os.killpg(process.pid, signal.SIGINT)
        assert process.stdout.readline() == "working\n"
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()
    assert rest == "result 7\n"
    assert process.returncode == 0


def test_the_dashboard_needs_bokeh(local, monkeypatch):
    monkeypatch.setattr(protocol.importlib.util, "find_spec", lambda _: None)
    assert local.dashboard is None
    assert isinstance(local, ClusterHandle)


def test_memory_is_the_machine_s_or_a_cgroup_s(tmp_path):
    machine = psutil.virtual_memory().total
    assert memory_limit(tmp_path, tmp_path / "none") == machine
    group = tmp_path / "cg" / "system.slice" / "run.service"
    group.mkdir(parents=True)
    me = tmp_path / "me"
    me.write_text("0::/system.slice/run.service\n")
    (group / "memory.max").write_text("max\n")
    assert memory_limit(tmp_path / "cg", me) == machine
    (group.parent / "memory.max").write_text("3000000\n")  # the slice's limit holds for what is in it
    assert memory_limit(tmp_path / "cg", me) == 3_000_000
    old = tmp_path / "v1" / "memory" / "job_7"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("2000000\n")
    me.write_text("5:cpu,cpuacct:/x\n4:memory:/job_7\n")
    assert memory_limit(tmp_path / "v1", me) == 2_000_000


def test_the_driver_keeps_some_memory_for_itself():
    assert memory_a_worker(2, 20 * 2**30) == 19 * 2**30 // 2
    assert memory_a_worker(3, 1000) == 300
