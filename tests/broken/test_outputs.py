"""Outputs that cannot be written, are held, belong to another, or were damaged: told, and never believed."""

import json
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from eopipe.engine.output.lease import Lease
from eopipe.engine.work.strips import Stopwatch
from eopipe.engine.work.task_shell import fail_task
from eopipe.engine.work.tile import TileTask
from eopipe.errors import OutputError, TileFault
from eopipe.grid import Tile
from eopipe.run_folder import Key
from eopipe.storage import Storage
from tests.broken import scenes
from tests.support.command import eopipe
from tests.support.paths import needs_shared
from tests.support.runs import mosaic, records, same_pixels

pytestmark = needs_shared
TILES = 2


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalog")
    for number in range(TILES):
        scenes.write_scene(folder / str(number), number)
    return scenes.write_catalog(folder, [scenes.item(f"s{n}", n, folder / str(n)) for n in range(TILES)])


def run(catalog, out, **changes):
    """``eopipe run --json`` of both scenes into ``out``."""
    path = out.parent / f"{out.name}.yaml"
    path.write_text(json.dumps(scenes.spec(catalog, range(TILES), out, **changes)))
    return eopipe("run", path, "--json")


@pytest.fixture(scope="module")
def healthy(client, catalog, tmp_path_factory):
    out = tmp_path_factory.mktemp("healthy") / "out"
    ended = run(catalog, out)
    assert (ended.status, ended.err) == (0, "")
    assert ended.document["done"] == TILES
    return out


@pytest.fixture
def copy(healthy, tmp_path):
    """A copy of the healthy run, told to resume as if it had been made there."""
    out = tmp_path / "out"
    shutil.copytree(healthy, out)
    path = out / "run.json"
    document = json.loads(path.read_text())
    document["spec"]["output"]["uri"] = str(out)
    path.write_text(json.dumps(document))
    return out


def sound(out, healthy):
    """The run is complete, and its bytes are those of an undisturbed one."""
    same_pixels(mosaic(out), mosaic(healthy))
    ours, theirs = records(out), records(healthy)
    assert {name: r["checksums"] for name, r in ours.items()} == {n: r["checksums"] for n, r in theirs.items()}
    assert eopipe("validate", out).status == 0


@contextmanager
def largest_file(size):
    """No file of this process may grow beyond ``size`` bytes: what a full disk is to a writer, root too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def limit_file(size):
    """The same on a worker, until told otherwise."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def sizes(out, pattern):
    return sorted(path.stat().st_size for path in out.glob(pattern) if path.is_file())


@pytest.mark.parametrize("stage", ["write", pytest.param("cog", marks=pytest.mark.slow)])
def test_a_disk_that_fills_on_the_workers_fails_tiles_and_keeps_nothing(healthy, catalog, client, tmp_path, stage):
    shards = sizes(healthy, "mosaic.zarr/0/*/c/**/*")
    cogs = sizes(healthy, "cog/*.tif")
    assert shards[-1] < cogs[-1] - 100
    out = tmp_path / "out"
    client.run(limit_file, (shards if stage == "write" else cogs)[-1] - 100)
    try:
        full = run(catalog, out)
    finally:
        client.run(limit_file, resource.RLIM_INFINITY)
    assert full.status == 3, full.err
    assert full.document["failed_reasons"]["write.full"] >= 1
    failed = [json.loads(path.read_text()) for path in out.glob("ledger/failed/*.json")]
    assert {failure["reason"] for failure in failed} == {"write.full"}
    assert stage in {failure["stage"] for failure in failed}
    assert not {failure["tile"] for failure in failed} & set(records(out))
    assert not list(out.rglob("*.partial"))
    assert len(sizes(out, "cog/*.tif")) == len(records(out))
    maps = mosaic(out)
    for number in range(TILES):
        if scenes.tile_of(number) not in records(out):
            assert (maps.label.values[:, 1024 * number : 1024 * number + 512] == 255).all()
    assert eopipe("validate", out).status == 0
    assert run(catalog, out).status == 0
    sound(out, healthy)


@pytest.mark.parametrize(
    ("error", "reason", "lines"),
    [
        (OutputError("out/label: full: No space left on device", reason="write.full"), "write.full", 0),
        (TileFault("read.http_404", "B08.tif: HTTP 404"), "read.http_404", 0),
        (MemoryError("no room"), "start.out_of_memory", 0),
        (ZeroDivisionError("a bug"), "start.ZeroDivisionError", 1),
    ],
)
def test_a_worker_logs_a_traceback_only_for_what_has_no_name(caplog, error, reason, lines):
    ledger = mock.Mock()
    state = SimpleNamespace(context=SimpleNamespace(attempts={}), writer=mock.Mock(), ledger=ledger)
    planned = SimpleNamespace(tile=Tile(1, 2), subject="tile r00001c00002", key=Key("r00001c00002", "ab"))
    report = fail_task(TileTask(state, planned), Stopwatch(), error)
    assert (report.status, report.reason) == ("failed", reason)
    assert ledger.fail.call_args.args[0].reason == reason
    assert len(caplog.records) == lines


def test_a_disk_that_fills_before_the_run_is_frozen_leaves_no_run(healthy, catalog, tmp_path):
    out = tmp_path / "out"
    with largest_file(3000):
        full = run(catalog, out)
    assert (full.status, full.out) == (4, "")
    assert "full: File too large; make room or raise the quota, then run again to resume" in full.line
    assert not (out / "run.json").exists()
    assert eopipe("status", out).status == 2
    assert run(catalog, out).status == 0
    sound(out, healthy)


def test_a_disk_that_fills_at_the_end_leaves_a_run_to_be_finished(healthy, catalog, copy):
    shutil.rmtree(copy / "stac")
    (copy / "quicklook.png").unlink()
    with largest_file((healthy / "quicklook.png").stat().st_size - 100):
        full = run(catalog, copy)
    assert (full.status, full.out) == (4, "")
    assert "quicklook.png: full" in full.line
    assert not (copy / "stac").exists()
    assert not (copy / "quicklook.png").exists()
    assert run(catalog, copy).status == 0
    assert (copy / "stac/collection.json").exists()
    sound(copy, healthy)


def test_a_file_where_the_workers_must_write(healthy, catalog, copy):
    """Denied for every user, root too: the folder of the COGs is a file."""
    shutil.rmtree(copy / "cog")
    shutil.rmtree(copy / "ledger")
    (copy / "cog").write_text("in the way")
    denied = run(catalog, copy)
    assert denied.status == 3, denied.err
    assert denied.document["failed_reasons"] == {"write.denied": TILES}
    assert not records(copy)
    (copy / "cog").unlink()
    assert run(catalog, copy).status == 0
    sound(copy, healthy)


def test_another_runs_output_is_refused(catalog, copy):
    before = listing(copy)
    other = run(catalog, copy, kernel={"name": "land-cover", "probabilities": True})
    assert (other.status, other.out) == (2, "")
    assert "belongs to another spec: kernel.probabilities (was null, now true) differs" in other.line
    assert listing(copy) == before


def test_an_output_that_is_held_is_refused_and_its_owner_named(catalog, copy):
    with Lease(Storage.open(str(copy))):
        held = run(catalog, copy)
        assert (held.status, held.out) == (5, "")
        assert "is held by process" in held.line
        assert "wait for it to end, or stop it" in held.line
        assert eopipe("status", copy, "--json").document["lease"].startswith("held by process")
    assert run(catalog, copy).status == 0


def test_weights_that_are_not_the_ones_meant(catalog, tmp_path, monkeypatch):
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path / "nowhere"))
    lost = run(catalog, tmp_path / "out")
    assert (lost.status, lost.out) == (2, "")
    assert "EOPIPE_WEIGHTS: " in lost.line
    assert "is no folder; give one, or unset it" in lost.line
    from eopipe.models.registry import MODELS

    entry = MODELS["dynamic-world"].weights
    file = tmp_path / entry.file
    file.parent.mkdir(parents=True)
    file.write_bytes(b"other weights")
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    wrong = run(catalog, tmp_path / "out")
    assert (wrong.status, wrong.out) == (2, "")
    assert f"expected sha256 {entry.sha256}, found " in wrong.line
    assert not (tmp_path / "out").exists()


def test_a_scheduler_that_is_not_there(catalog, tmp_path):
    dead = {"kind": "address", "address": "tcp://127.0.0.1:1", "options": {"timeout": 1}}
    ended = run(catalog, tmp_path / "out", cluster=dead)
    assert (ended.status, ended.out) == (4, "")
    assert "no Dask scheduler answers at tcp://127.0.0.1:1 within 1 s" in ended.line
    assert not (tmp_path / "out/run.json").exists()


def first(out, pattern):
    return min(path for path in out.glob(pattern) if path.is_file())


def flip(out, pattern):
    """One byte of the middle of a file."""
    path = first(out, pattern)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def write(data):
    return lambda out, pattern: first(out, pattern).write_bytes(data)


def edit(key, value):
    def act(out, pattern):
        path = first(out, pattern)
        document = json.loads(path.read_text())
        *parents, last = key.split(".")
        place = document
        for part in parents:
            place = place[part]
        place[last] = value
        path.write_text(json.dumps(document))

    return act


def remove(out, pattern):
    first(out, pattern).unlink()


FROZEN = {
    "run.json cut off": ("run.json", write(b'{"spec": '), "run.json is damaged (JSONDecodeError"),
    "run.json empty": ("run.json", write(b""), "run.json is damaged"),
    "run.json a list": ("run.json", write(b"[]"), "run.json is damaged"),
    "another recipe": ("run.json", edit("recipe.threads", 7), "its recipe does not have its hash"),
    "a spec that is none": ("run.json", edit("spec.grid", 5), "its spec has a bad grid"),
    "another moment": ("run.json", edit("now", "soon"), "run.json is damaged (ValueError"),
    "no version": ("versions/1.json", remove, "versions is empty; restore it, or start a new output"),
    "a version cut off": ("versions/1.json", write(b"{"), "versions/1.json is damaged: it names no snapshot"),
    "no snapshot": ("snapshots/*/snapshot.json", remove, "snapshot.json is missing"),
    "a snapshot cut off": ("snapshots/*/snapshot.json", write(b"{"), "snapshot.json is damaged"),
    "a flipped index": ("snapshots/*/*oscd.parquet", flip, "is not the one that was written (sha256)"),
    "no index": ("snapshots/*/*oscd.parquet", remove, "is missing; restore it or start a new run"),
}


@pytest.mark.parametrize("case", FROZEN)
def test_a_run_whose_frozen_files_are_damaged_is_not_resumed(catalog, copy, case):
    pattern, act, message = FROZEN[case]
    act(copy, pattern)
    before = listing(copy)
    for ended in (run(catalog, copy), eopipe("status", copy)):
        if case == "a spec that is none" and "another spec" in ended.err:
            assert ended.status == 2
            continue
        assert (ended.status, ended.out) == (6, ""), ended.err
        assert message in ended.line
    validation = eopipe("validate", copy)
    assert validation.status == 6
    assert message in validation.out + validation.err
    assert listing(copy) == before


DAMAGE = {
    "a flipped shard": ("mosaic.zarr/0/label/c/**/*", flip, "label", 1),
    "a flipped pyramid": ("mosaic.zarr/1/confidence/c/**/*", flip, "confidence/1", 1),
    "a lost shard": ("mosaic.zarr/0/label/c/**/*", remove, "label does not have its recorded checksum", 1),
    "an array without words": ("mosaic.zarr/0/label/zarr.json", remove, "label cannot be read", TILES),
    "a mosaic without words": ("mosaic.zarr/zarr.json", remove, "mosaic.zarr: its layout cannot be read", 1),
    "a mosaic of half a word": ("mosaic.zarr/zarr.json", write(b"{"), "mosaic.zarr: its layout cannot be read", 1),
    "a lost COG": ("cog/*.tif", remove, "is missing; delete its record and run again", 1),
    "a flipped COG": ("cog/*.tif", flip, "was changed; delete its record and run again", 1),
    "a lost item": ("stac/items/**/*.json", remove, "which is missing; run again, which publishes anew", 1),
    "half an item": ("stac/items/**/*.json", write(b"{"), "is damaged (JSONDecodeError", 1),
    "an item of nothing": ("stac/items/**/*.json", write(b"{}"), "is damaged (KeyError", 1),
    "a lost table": ("stac/items.parquet", remove, "asset items points to stac/items.parquet, which is missing", 1),
    "a lost collection": (
        "stac/collection.json",
        remove,
        "stac/collection.json is missing, though there are items",
        1,
    ),
    "a collection that miscounts": (
        "stac/collection.json",
        edit("eopipe:tiles", 9),
        "speaks of 9 items, and there are 2; run again, which publishes anew",
        1,
    ),
    "a lost picture": ("quicklook.png", remove, "asset quicklook points to quicklook.png, which is missing", 1),
    "a lost record": ("ledger/r*/*.json", remove, "it has pixels and no ledger record; run again", 1),
    "an empty record": ("ledger/r*/*.json", write(b""), "is damaged: its 0 bytes are no JSON object", 1),
    "a changed record": ("ledger/r*/*.json", edit("status", "empty"), "its digest is not that of its content", 1),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_validate_finds_each_damage(copy, case):
    pattern, act, problem, count = DAMAGE[case]
    act(copy, pattern)
    validation = eopipe("validate", copy)
    assert validation.status == 6, validation.err
    lines = validation.out.splitlines()
    assert sum(problem in line for line in lines) == count, validation.out
    assert validation.err == f"{len(lines)} problem{'s' * (len(lines) != 1)}\n"
    ended = eopipe("validate", copy, "--json")
    assert (ended.status, ended.err, ended.document["problems"]) == (6, "", lines)
    assert eopipe("status", copy, "--json").status == 0


def test_what_running_again_repairs(healthy, catalog, copy):
    """Much of what ``validate`` answers with "run again", at once."""
    for case in ("a lost table", "a lost picture", "half an item", "a lost collection", "an empty record"):
        pattern, act, _, _ = DAMAGE[case]
        act(copy, pattern)
    (copy / "lease.json").write_bytes(b"{")
    ended = run(catalog, copy)
    assert ended.status == 0, ended.err
    assert ended.document["done"] == TILES
    assert all("damaged" in line or "empty" in line for line in ended.err.splitlines())
    sound(copy, healthy)


def test_a_damaged_shard_is_mended_as_validate_says(healthy, catalog, copy):
    flip(copy, "mosaic.zarr/0/label/c/**/*")
    line = eopipe("validate", copy).out.splitlines()[0]
    assert "; delete ledger/" in line
    (copy / line.rpartition("; delete ")[2].partition(" ")[0]).unlink()
    assert run(catalog, copy).status == 0
    sound(copy, healthy)


def test_a_healthy_run_is_healthy_without_its_catalog(healthy, catalog, tmp_path):
    hidden = tmp_path / "hidden"
    shutil.move(catalog.parent, hidden)
    try:
        ended = eopipe("validate", healthy)
        assert (ended.status, ended.out, ended.err) == (0, "everything agrees\n", "")
        status = eopipe("status", healthy, "--json")
        assert (status.status, status.document["done"], status.document["failed"]) == (0, TILES, 0)
    finally:
        shutil.move(hidden, catalog.parent)


def listing(out):
    """Names and sizes of what a reader would believe; the lease changes hands."""
    files = [path for path in Path(out).rglob("*") if path.is_file() and "lease" not in path.name]
    return sorted((str(path), path.stat().st_size) for path in files)
