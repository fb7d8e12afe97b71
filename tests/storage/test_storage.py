"""One set of promises, four kinds of folder."""

import errno
import multiprocessing
import os
import pickle
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zarr

from eopipe.errors import OutputError
from eopipe.storage import Storage
from tests.support.s3 import S3Server, s3, s3_uri  # noqa: F401  (fixtures)

KINDS = ["local", "file", "s3", "memory", "fsspec"]


@pytest.fixture(params=KINDS)
def storage(request, tmp_path):
    match request.param:
        case "s3":
            return Storage.open(request.getfixturevalue("s3_uri"))
        case "memory":
            return Storage.open(f"memory://{tmp_path.name}/x")
        case "fsspec":
            return Storage.open(f"local://{tmp_path}/x")
        case "file":
            return Storage.open(f"file://{tmp_path}/x")
        case _:
            return Storage.open(str(tmp_path / "x"))


def test_put_get_replace_delete(storage):
    assert not storage.exists("a/b.json")
    with pytest.raises(FileNotFoundError):
        storage.get("a/b.json")
    storage.put("a/b.json", b"one")
    storage.put("a/b.json", b"two")
    assert storage.get("a/b.json") == b"two"
    assert storage.exists("a/b.json")
    assert not storage.exists("a")
    storage.delete("a/b.json")
    storage.delete("a/b.json")
    assert not storage.exists("a/b.json")


def test_create_only_once(storage):
    assert storage.create("k", b"first")
    assert not storage.create("k", b"second")
    assert storage.get("k") == b"first"


def test_swap_only_at_its_version(storage):
    assert not storage.swap("k", b"x", '"0"|')
    storage.put("k", b"one")
    data, version = storage.get_versioned("k")
    assert data == b"one"
    assert storage.swap("k", b"two", version)
    assert not storage.swap("k", b"three", version)
    assert storage.get("k") == b"two"
    storage.delete("k")
    assert not storage.swap("k", b"four", version)
    assert not storage.exists("k")


def test_list_is_recursive_sorted_and_relative(storage):
    for path in ("b/2", "a", "b/1", "b-c/1", "bb/3"):
        storage.put(path, path.encode())
    assert list(storage.list()) == ["a", "b-c/1", "b/1", "b/2", "bb/3"]
    assert list(storage.list("b")) == ["b/1", "b/2"]
    assert list(storage.list("b/")) == ["b/1", "b/2"]
    assert dict(storage.sizes("b")) == {"b/1": 3, "b/2": 3}
    assert list(storage.list("none")) == []


def test_child_and_url(storage):
    child = storage.child("deep/er")
    child.put("x", b"1")
    assert storage.get("deep/er/x") == b"1"
    assert child.url("x") == f"{storage.uri}/deep/er/x"
    assert list(child.list()) == ["x"]
    if (path := child.local_path("x")) is not None:
        assert path.read_bytes() == b"1"


def test_upload(storage, tmp_path):
    file = tmp_path / "big.bin"
    file.write_bytes(os.urandom(11 << 20))
    storage.upload("cog/big.tif", file)
    assert storage.get("cog/big.tif") == file.read_bytes()
    assert list(storage.list()) == ["cog/big.tif"]


def test_pickles_to_its_address(storage):
    storage.put("k", b"v")
    again = pickle.loads(pickle.dumps(storage))
    assert again == storage
    assert again.get("k") == b"v"
    assert b"testing-secret" not in pickle.dumps(storage)


def test_zarr_store(storage):
    with storage.guard("m.zarr"):
        group = zarr.open_group(storage.zarr_store("m.zarr"), mode="w", zarr_format=3)
        group.create_array("a", shape=(4, 4), chunks=(2, 2), dtype="uint8")[:] = 7
        assert zarr.open_group(storage.zarr_store("m.zarr"), mode="r")["a"][3, 3] == 7
    assert "m.zarr/a/c/1/1" in set(storage.list())
    assert storage.get("m.zarr/zarr.json").startswith(b"{")
    storage.flush("m.zarr/a/c/1/1")


@pytest.mark.parametrize("path", ["", "/etc", "../x", "a//b", "a/./b"])
def test_paths_stay_inside(tmp_path, path):
    with pytest.raises(ValueError, match="relative path"):
        Storage.open(str(tmp_path)).put(path, b"")


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "no address"),
        ("s3://", "names no bucket"),
        ("s3://id:hush@bucket/x", "credentials"),
        ("https://example.org/x", "cannot be written"),
        ("az://account/x?sig=hush", "credentials"),
        ("nosuchscheme://x/y", "cannot be opened"),
    ],
)
def test_bad_addresses_are_one_line(uri, says):
    with pytest.raises(OutputError, match=says) as caught:
        Storage.open(uri)
    assert "\n" not in str(caught.value)
    assert "hush" not in str(caught.value)


def _race(storage: Storage, task: str, wins: list[bool], barrier: threading.Barrier) -> None:
    barrier.wait()
    if task == "create":
        wins.append(storage.create("race", os.urandom(8)))
    else:
        wins.append(storage.swap("race", os.urandom(8), task))


@pytest.mark.parametrize("kind", ["create", "swap"])
def test_one_of_many_threads_wins(storage, kind):
    if storage.uri.startswith("local://"):
        pytest.skip("fsspec's folders do not decide between writers")
    task = kind
    if kind == "swap":
        storage.put("race", b"start")
        task = storage.get_versioned("race")[1]
    wins: list[bool] = []
    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=_race, args=(storage, task, wins, barrier)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(wins) == 1


def _count_up(uri: str, times: int) -> None:
    storage = Storage.open(uri)
    for _ in range(times):
        while True:
            data, version = storage.get_versioned("n")
            if storage.swap("n", str(int(data) + 1).encode(), version):
                break


def test_processes_lose_no_swap(tmp_path):
    storage = Storage.open(str(tmp_path))
    storage.put("n", b"0")
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_count_up, args=(str(tmp_path), 25)) for _ in range(2)]
    for process in others:
        process.start()
    for process in others:
        process.join()
    assert storage.get("n") == b"50"


_WRITER = """
import os, sys
from eopipe.storage import Storage
storage = Storage.open(sys.argv[1])
print("go", flush=True)
i = 0
while True:
    storage.put("state", bytes([i % 256]) * 3_000_000)
    storage.create(f"made/{i}", bytes([i % 256]) * 300_000)
    i += 1
"""


def test_kill_leaves_whole_files_and_no_visible_partial(tmp_path):
    for delay in (0.05, 0.11, 0.23):
        process = subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        threading.Event().wait(delay)
        process.kill()
        process.wait()
        process.stdout.close()
        storage = Storage.open(str(tmp_path))
        for path, size in storage.sizes():
            assert size == (3_000_000 if path == "state" else 300_000)
            data = storage.get(path)
            assert data == data[:1] * size


def test_partials_and_locks_are_hidden(tmp_path):
    storage = Storage.open(str(tmp_path))
    storage.put("lease.json", b"1")
    storage.swap("lease.json", b"2", storage.get_versioned("lease.json")[1])
    (tmp_path / ".x.123.partial").write_bytes(b"half")
    (tmp_path / "0.0123.partial").write_bytes(b"half, as zarr names it")
    assert list(storage.list()) == ["lease.json"]


def test_create_without_hard_links(tmp_path, monkeypatch):
    def no_link(*_args):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    storage = Storage.open(str(tmp_path))
    assert storage.create("k", b"1")
    assert not storage.create("k", b"2")
    assert storage.get("k") == b"1"


def _reason(caught: pytest.ExceptionInfo[OutputError]) -> str:
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)  # what was wrong; what to do
    assert pickle.loads(pickle.dumps(caught.value)).reason == caught.value.reason
    return caught.value.reason


def test_full_disk_is_full_and_leaves_nothing(tmp_path):
    storage = Storage.open(str(tmp_path))
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:  # a real refusal by the kernel (EFBIG); ENOSPC needs a mount
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))
        with pytest.raises(OutputError, match="full") as caught:
            storage.put("a/k", b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert _reason(caught) == "write.full"
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_no_space_left_on_a_real_device(tmp_path):
    storage = Storage.open(str(tmp_path))
    with (
        pytest.raises(OutputError, match="No space left") as caught,
        storage.guard("k"),
        Path("/dev/full").open("wb") as f,
    ):
        f.write(b"x" * 100_000)
    assert _reason(caught) == "write.full"


def test_a_place_where_no_folder_can_be_made():
    with pytest.raises(OutputError, match="/proc/eopipe") as caught:
        Storage.open("/proc/eopipe").put("k", b"1")
    assert _reason(caught) in {"write.denied", "write.unreachable"}


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_denied_by_errno(tmp_path, code):
    storage = Storage.open(str(tmp_path))
    with pytest.raises(OutputError, match="denied") as caught, storage.guard("k"):
        raise OSError(code, os.strerror(code))
    assert _reason(caught) == "write.denied"


def test_a_file_in_the_folders_place(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match="file where a folder must be") as caught:
        Storage.open(str(tmp_path / "out")).put("a/k", b"1")
    assert _reason(caught) == "write.denied"


def test_missing_bucket_is_named(s3):  # noqa: F811  (the fixture)
    storage = Storage.open("s3://no-such-bucket-here/x")
    for call in (
        lambda: storage.put("k", b"1"),
        lambda: storage.create("k", b"1"),
        lambda: storage.get("k"),
        lambda: list(storage.list()),
    ):
        with pytest.raises(OutputError, match="bucket does not exist") as caught:
            call()
        assert _reason(caught) == "write.unreachable"


def test_unreachable_server(s3, monkeypatch):  # noqa: F811  (the fixture)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    storage = Storage.open("s3://bucket/x", retry_config={"max_retries": 1})
    with pytest.raises(OutputError, match="unreachable") as caught:
        storage.put("k", b"1")
    assert _reason(caught) == "write.unreachable"


def test_no_half_file_on_s3_is_ever_listed(s3_uri, s3: S3Server):  # noqa: F811  (the fixtures)
    storage = Storage.open(s3_uri)
    storage.create("ledger/a.json", b"{}")
    assert any("PUT" in line and "ledger/a.json" in line for line in s3.requests())
