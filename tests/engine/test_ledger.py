import io
import logging
import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from eopipe import run_folder
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.output.record import Failure, Record
from eopipe.errors import DamageError, OutputError
from eopipe.grid import Tile
from eopipe.run_folder import Key, OutputFile
from eopipe.storage import Storage
from tests.support.s3 import s3  # noqa: F401  (a fixture)

NOON = datetime(2025, 9, 30, 12, 0, 0, 250_000, tzinfo=UTC)
KEY = Key("r-00472c00059", "0a1b2c")


def record(tile=KEY.tile, inputs=KEY.inputs, **changes):
    fields = {
        "status": "done",
        "attempts": 2,
        "seconds": {"read": 1.5, "kernel": 0.1},
        "bytes_read": 123_456_789_012,
        "scenes": (0, 7),
        "checksums": {"label": "ab", "label/1": "cd"},
        "histogram": {1: 10, 254: 3},
        "files": {"cog": OutputFile(path="cog/x.tif", size=5, sha256="ef")},
        "device": "cpu avx512",
        "started": NOON,
        "finished": NOON,
    }
    return Record(tile=tile, inputs=inputs, **{**fields, **changes})


def failure(tile=KEY.tile, inputs=KEY.inputs, **changes):
    fields = {"reason": "read.http_429", "stage": "read", "detail": "B04: too many requests", "time": NOON}
    return Failure(tile=tile, inputs=inputs, **{**fields, **changes})


@pytest.fixture(params=["local", "memory", "s3"])
def storage(request, tmp_path):
    if request.param == "s3":
        server = request.getfixturevalue("s3")
        return Storage.open(f"s3://{server.make_bucket()}/out")
    return Storage.open(str(tmp_path / "out") if request.param == "local" else f"memory://{tmp_path.name}/out")


@pytest.fixture
def ledger(storage):
    return Ledger(storage)


@pytest.fixture
def local(tmp_path):
    """A ledger and the file of KEY's record."""
    (tmp_path / "out").mkdir()
    return Ledger(Storage.open(str(tmp_path / "out"))), tmp_path / "out" / run_folder.record(*KEY)


def test_a_tile_is_done_exactly_if_its_key_exists(ledger):
    assert ledger.done() == set()
    assert not ledger.has(*KEY)
    assert ledger.create(record())
    assert ledger.done() == {KEY}
    assert ledger.has(*KEY)
    assert not ledger.has(KEY.tile, "ffff")
    assert ledger.get(*KEY) == record()


def test_a_record_is_never_overwritten(ledger):
    assert ledger.create(record(attempts=1))
    assert not ledger.create(record(attempts=2))
    assert ledger.get(*KEY).attempts == 1


def test_a_repeated_write_of_the_very_record_counts_as_ours(ledger):
    assert ledger.create(record())
    assert ledger.create(record())


def test_of_many_writers_one_wins(ledger):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: ledger.create(record(attempts=n)), range(1, 9)))
    assert won.count(True) == 1
    assert ledger.get(*KEY).attempts == won.index(True) + 1


def test_failures_get_the_next_attempt_and_are_no_records(ledger):
    assert [ledger.fail(failure()).attempt for _ in range(3)] == [1, 2, 3]
    assert ledger.fail(failure(inputs="ff")).attempt == 1
    assert [(f.inputs, f.attempt) for f in ledger.failures()] == [
        ("0a1b2c", 1),
        ("0a1b2c", 2),
        ("0a1b2c", 3),
        ("ff", 1),
    ]
    assert ledger.done() == set()
    assert ledger.load_all() == []


def test_attempts_are_ordered_as_numbers(ledger):
    for _ in range(11):
        ledger.fail(failure())
    assert [f.attempt for f in ledger.failures()] == list(range(1, 12))


def test_load_all_is_ordered_and_may_be_limited(ledger):
    records = [record(tile=Tile(row, col).name) for row in (3, 1) for col in (2, 0)]
    for one in records:
        ledger.create(one)
    assert ledger.load_all() == sorted(records, key=lambda r: r.key)
    assert ledger.load_all([records[0].key, KEY]) == [records[0]]


def test_entries_are_equal_after_a_round_trip_and_equal_entries_have_equal_bytes():
    one = record()
    assert Record.from_bytes(one.to_bytes(), "x") == one
    assert record(checksums={"label/1": "cd", "label": "ab"}).to_bytes() == one.to_bytes()
    assert Failure.from_bytes(failure().to_bytes(), "x") == failure()


def test_the_ledger_travels_to_workers(local):
    ledger, _ = local
    ledger.create(record())
    assert pickle.loads(pickle.dumps(ledger)).done() == {KEY}


DAMAGES = {
    "zero bytes": lambda _: b"",
    "cut off": lambda data: data[: len(data) // 2],
    "zeros": lambda data: bytes(len(data)),
    "another value": lambda data: data.replace(b'"attempts":2', b'"attempts":3'),
    "no object": lambda _: b"[]",
    "digest lost": lambda data: data.replace(b'"digest"', b'"digesd"'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_is_absent_and_may_be_replaced(local, damage, caplog):
    ledger, path = local
    ledger.create(record())
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(DamageError, match="damaged"):
        ledger.read(*KEY)
    assert not ledger.has(*KEY)
    assert ledger.load_all() == []
    assert caplog.messages
    errors = []
    assert ledger.load_all(damaged=errors.append) == []
    assert [type(error) for error in errors] == [DamageError]
    assert ledger.create(record(attempts=9))
    assert ledger.get(*KEY).attempts == 9


def test_the_listing_does_not_believe_an_empty_record(local, caplog):
    ledger, path = local
    ledger.create(record())
    path.write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        assert ledger.done() == set()
    assert "empty" in caplog.text


def test_a_record_under_another_tile_s_name_is_damage(local):
    ledger, path = local
    other = record(tile="r00001c00001")
    path.parent.mkdir(parents=True)
    path.write_bytes(other.to_bytes())
    with pytest.raises(DamageError, match="r00001c00001"):
        ledger.read(*KEY)


def test_another_version_is_refused_and_never_replaced(local):
    ledger, path = local
    ledger.create(record())
    path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":2'))
    for use in (lambda: ledger.get(*KEY), ledger.load_all, lambda: ledger.create(record(attempts=5))):
        with pytest.raises(OutputError, match="has version 2, and this eopipe reads 1; use the eopipe that wrote it"):
            use()


def test_foreign_files_are_not_records(local):
    ledger, path = local
    ledger.create(record())
    (path.parent / ".nfs000").write_bytes(b"x")
    (path.parent / "notes.json").write_bytes(b"x")
    assert ledger.done() == {KEY}


@pytest.mark.parametrize(
    ("detail", "redacted"),
    [
        ("GET https://a.blob/b.tif?sig=SECRET&se=1 said\n 403", "GET https://a.blob/b.tif said 403"),
        ("s3://user:SECRET@host/key", "s3://host/key"),
        ("/vsicurl/https://u:SECRET@h/x.tif?token=SECRET: gone", "/vsicurl/https://h/x.tif gone"),
    ],
)
def test_no_secret_of_a_url_is_kept(detail, redacted):
    entry = failure(detail=detail)
    assert b"SECRET" not in entry.to_bytes()
    assert entry.detail.replace(":", "") == redacted.replace(":", "")
    assert len(failure(detail="x" * 5000).detail) == 500


def test_the_table_holds_done_and_last_failures(storage):
    ledger = Ledger(storage)
    ledger.create(record(tile="r00002c00001"))
    ledger.create(record(tile="r00001c00001", status="empty", seconds={}, files={}, histogram={}))
    for _ in range(2):
        ledger.fail(failure(tile="r00001c00002"))
        ledger.fail(failure(tile="r00002c00001"))  # done later: no row of its own
    assert ledger.write_parquet(ledger.outcome()) == 3
    data = storage.get("ledger.parquet")
    frame = pd.read_parquet(io.BytesIO(data))
    assert list(frame.tile) == ["r00001c00001", "r00001c00002", "r00002c00001"]
    assert list(frame.status) == ["empty", "failed", "done"]
    assert frame.attempts.tolist() == [2, 2, 2]
    assert frame.reason[1] == "read.http_429"
    assert frame.seconds[2] == 1.6
    assert str(frame.finished.dt.tz) == "UTC"
    table = pq.read_table(io.BytesIO(data)).to_pylist()
    assert dict(table[2]["histogram"]) == {1: 10, 254: 3}
    assert dict(table[2]["files"])["cog"]["size"] == 5
    assert ledger.write_parquet(ledger.outcome([KEY])) == 0
    assert ledger.write_parquet(ledger.outcome([Key("r00001c00002", KEY.inputs)])) == 1


@pytest.mark.alone
def test_twenty_thousand_records_are_listed_in_a_moment(tmp_path):
    out = tmp_path / "out"
    keys = [Key(Tile(row, col).name, f"{row * 200 + col:016x}") for row in range(100) for col in range(200)]
    for row in range(100):
        Path(out / "ledger" / Tile(row, 0).name[:6]).mkdir(parents=True)
    for key in keys:  # bare files: the listing does not read them
        (out / run_folder.record(*key)).write_bytes(b"{}")
    start = time.perf_counter()
    done = Ledger(Storage.open(str(out))).done()
    seconds = time.perf_counter() - start
    print(f"listed {len(done)} in {seconds:.2f} s")
    assert done == set(keys)
    assert seconds < 3
