import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from eopipe import run_folder
from eopipe.engine.output.lease import Lease, LeaseFile, Owner, lease_state
from eopipe.errors import LeaseError, OutputError
from eopipe.storage import Storage
from tests.support.paths import ROOT
from tests.support.s3 import s3  # noqa: F401  (a fixture)

pytestmark = pytest.mark.alone

HOLDER = """
import sys, time
from eopipe.engine.output.lease import Lease
from eopipe.storage import Storage
with Lease(Storage.open(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["local", "memory", "s3"])
def storage(request, tmp_path):
    if request.param == "s3":
        server = request.getfixturevalue("s3")
        return Storage.open(f"s3://{server.make_bucket()}/out")
    return Storage.open(str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/out")


@pytest.fixture
def local(tmp_path):
    return Storage.open(str(tmp_path / "out"))


@pytest.fixture
def holder(local):
    """Another process that holds the lease of ``local``."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, local.uri], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def held_by(storage, *, expires, **owner):
    """Write a lease as another owner would have."""
    now = time.time()
    someone = replace(Owner.this_process(), id="other", **owner)
    file = LeaseFile(someone, acquired=now - 100, expires=now + expires)
    storage.create(run_folder.LEASE, file.to_bytes())


def content(storage):
    return json.loads(storage.get(run_folder.LEASE))


def wait_until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_one_holds_it_until_it_is_released(storage):
    with Lease(storage) as lease:
        assert not lease.lost
        assert content(storage)["owner"]["pid"] == os.getpid()
        with pytest.raises(LeaseError):
            Lease(storage).acquire()
        lease.check()
    assert content(storage)["released"]
    with Lease(storage) as lease:
        lease.check()


def test_release_is_idempotent_and_leaves_another_s_lease_alone(storage):
    lease = Lease(storage).acquire()
    storage.delete(run_folder.LEASE)
    held_by(storage, expires=60, host="elsewhere")
    lease.release()
    lease.release()
    assert content(storage)["owner"]["host"] == "elsewhere"
    assert not content(storage)["released"]


@pytest.mark.parametrize("state", ["absent", "released", "expired", "damaged"])
def test_of_many_that_race_exactly_one_wins(storage, state):
    if state == "released":
        Lease(storage).acquire().release()
    elif state == "expired":
        held_by(storage, expires=-40, host="elsewhere")
    elif state == "damaged":
        storage.create(run_folder.LEASE, b"")
    barrier = threading.Barrier(6)

    def race(_):
        lease = Lease(storage)
        barrier.wait()
        try:
            return lease.acquire()
        except LeaseError:
            return None

    with ThreadPoolExecutor(6) as pool:
        winners = [lease for lease in pool.map(race, range(6)) if lease]
    assert len(winners) == 1
    assert content(storage)["owner"]["id"] == winners[0]._held.owner.id
    winners[0].release()


def test_the_refusal_names_owner_host_process_and_until_when(local, holder):
    with pytest.raises(LeaseError) as refused:
        Lease(local).acquire()
    message, file = str(refused.value), content(local)
    assert refused.value.exit_status == 5
    for part in (local.uri, str(holder.pid), file["owner"]["host"], file["owner"]["id"], file["expires"], "wait"):
        assert part in message
    assert "\n" not in message


def test_a_killed_owner_s_lease_is_taken_over_at_once(local, holder, caplog):
    os.kill(holder.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert holder.returncode is None  # a zombie that nobody has waited for is dead too
    with Lease(local) as lease:
        lease.check()
    assert str(holder.pid) in caplog.text


def test_a_stopped_owner_s_lease_is_not_taken_over_before_it_expires(local, holder):
    os.kill(holder.pid, signal.SIGSTOP)
    try:
        with pytest.raises(LeaseError):
            Lease(local).acquire()
    finally:
        os.kill(holder.pid, signal.SIGCONT)


def test_a_recycled_process_id_is_not_the_owner(storage):
    held_by(storage, expires=60, started="12345")  # our own pid, but another start
    with Lease(storage) as lease:
        lease.check()


@pytest.mark.parametrize("place", [{"host": "elsewhere"}, {"boot": "other"}, {"namespace": "pid:[1]"}])
def test_elsewhere_nobody_is_known_to_be_dead(local, place):
    held_by(local, expires=60, started="12345", **place)
    with pytest.raises(LeaseError):
        Lease(local).acquire()


def test_expiry_counts_only_after_the_margin_for_clocks(local):
    held_by(local, expires=-10, host="elsewhere")
    with pytest.raises(LeaseError):
        Lease(local).acquire()
    with Lease(local, margin=5) as lease:
        lease.check()


def test_it_is_renewed_for_as_long_as_it_is_held(storage):
    with Lease(storage, ttl=4, margin=0) as lease:
        first = content(storage)["expires"]
        wait_until(lambda: content(storage)["expires"] > first)
        lease.check()
        with pytest.raises(LeaseError):
            Lease(storage, margin=0).acquire()


def test_who_is_taken_over_knows_it_and_gives_nothing_back(storage):
    lease = Lease(storage, ttl=4).acquire()
    _, version = storage.get_versioned(run_folder.LEASE)
    thief = LeaseFile(replace(Owner.this_process(), id="thief", host="elsewhere"), time.time(), time.time() + 60)
    while not storage.swap(run_folder.LEASE, thief.to_bytes(), version):
        _, version = storage.get_versioned(run_folder.LEASE)
    wait_until(lambda: lease.lost)
    with pytest.raises(LeaseError, match=r"on elsewhere .* took it over; run again to resume"):
        lease.check()
    lease.release()
    assert content(storage)["owner"]["id"] == "thief"
    assert not content(storage)["released"]


def test_a_deleted_lease_is_lost(local):
    with Lease(local, ttl=4) as lease:
        local.delete(run_folder.LEASE)
        wait_until(lambda: lease.lost)
        with pytest.raises(LeaseError, match=r"lease\.json was deleted"):
            lease.check()


def test_an_owner_that_cannot_renew_stops_when_it_runs_out(local, monkeypatch, caplog):
    lease = Lease(local, ttl=2).acquire()

    def unreachable(*_):
        raise OutputError("no route to the output; try later")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "get_versioned", unreachable)
        wait_until(lambda: "trying again" in caplog.text)
        assert not lease.lost  # a hiccup
        wait_until(lambda: lease.lost)
        lease.release()
    assert "expires by itself" in caplog.text


def test_one_that_slept_past_its_expiry_knows_it_without_its_thread(local, monkeypatch):
    lease = Lease(local).acquire()
    now = time.time()
    monkeypatch.setattr("eopipe.engine.output.lease.time.time", lambda: now + 1000)
    with pytest.raises(LeaseError, match="ran out"):
        lease.check()
    lease.release()


def test_a_lease_of_another_version_is_refused(local):
    local.create(run_folder.LEASE, b'{"version": 2}')
    with pytest.raises(LeaseError, match="version 2"):
        Lease(local).acquire()


def test_a_write_whose_answer_was_lost_is_ours(local, monkeypatch):
    """Over a network, a repeated conditional write finds its own first attempt and says no."""
    create, swap = Storage.create, Storage.swap
    monkeypatch.setattr(Storage, "create", lambda *args: create(*args) and False)
    with Lease(local) as lease:
        lease.check()
    monkeypatch.setattr(Storage, "swap", lambda *args: swap(*args) and False)
    with Lease(local) as lease:
        lease.check()


def test_the_state_in_words(local):
    assert lease_state(local) == "free"
    with Lease(local):
        assert lease_state(local).startswith(f"held by process {os.getpid()} on ")
    assert lease_state(local).startswith("free (last held by")
    local.put(run_folder.LEASE, b"")
    assert "damaged" in lease_state(local)
    local.delete(run_folder.LEASE)
    held_by(local, expires=-60, host="elsewhere")
    assert "expire" in lease_state(local)
