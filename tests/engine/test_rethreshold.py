"""A change map cut elsewhere: from stored scores alone, exact, resumable, never a guess where the source lacks."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import eopipe
from eopipe.engine.derived.rethreshold import open_rethreshold, open_scored
from eopipe.engine.derived.rethreshold_preview import preview
from eopipe.engine.finish.status import read_status
from eopipe.engine.finish.validate import validate_run
from eopipe.engine.work import strips
from eopipe.engine.work.strips import Stopwatch
from eopipe.errors import OutputError, SpecError, TileFault
from eopipe.kernels.change.spectral import base as change
from eopipe.kernels.change.spectral.kernel import SpectralChange
from eopipe.mosaic.store import STATUS
from eopipe.mosaic.store import read_status as tile_status
from eopipe.storage import Storage
from tests.support import measuring
from tests.support.change import Colours
from tests.support.command import eopipe as command
from tests.support.paths import ROOT, needs_shared
from tests.support.runs import CALIBRATION, mosaic, pisa, records, run

pytestmark = needs_shared

AREA = [10.380, 43.686, 10.392, 43.694]
"""A square kilometre on two tiles of 512."""

KEPT = ("change_score", "label_before", "label_after", "observations")

KILLED = """
import os, signal
import pytest
from distributed import Client, LocalCluster
from eopipe.engine.output.ledger import Ledger
from eopipe.cli import main
from tests.support.measuring import small_blocks
small_blocks(pytest.MonkeyPatch(), cells=8, sample=1)
create, calls = Ledger.create, []
def dying(self, record):
    calls.append(record)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return create(self, record)
Ledger.create = dying
client = Client(LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"))
main()
"""
"""The command line, killed when the second tile's pixels are written and its record is not."""


def spec(folder, **changes):
    document = pisa(folder, area=AREA, kernel={"name": "change"}, **changes)
    document["source"] |= {"epochs": {"before": "2015", "after": "2018"}}
    del document["source"]["datetime"]
    return document


@pytest.fixture(scope="module")
def cheap():
    """Statistics of one cell, and classes by colour."""
    with pytest.MonkeyPatch.context() as patch:
        measuring.small_blocks(patch, cells=8, sample=1)
        patch.setattr(change, "load_dynamic_world", lambda *_, **__: Colours())
        yield


@pytest.fixture(scope="module")
def source(cheap, threads, tmp_path_factory):
    """A change run of two tiles, with COGs."""
    folder = tmp_path_factory.mktemp("change") / "out"
    summary = run(spec(folder, output__cog=True))
    assert summary["exit_status"] == 0, summary
    return folder


@pytest.fixture
def blind(monkeypatch):
    """No kernel may be loaded or called, and no scene opened."""

    def never(*_, **__):
        pytest.fail("a rethreshold mapped something")

    monkeypatch.setattr(SpectralChange, "load", never)
    monkeypatch.setattr(SpectralChange, "__call__", never)
    monkeypatch.setattr(strips, "TileReader", never)
    monkeypatch.setattr("eopipe.engine.sources.scenes.AssetFile", never)


def cut(source, to, at):
    return eopipe.rethreshold(str(source), to=str(to), at=at, calibration=CALIBRATION)


def test_at_100_it_is_the_same_map(source, tmp_path, blind):
    """All levels of all arrays have the same bytes; what a record tells is carried over; nothing was measured."""
    out = tmp_path / "new"
    ended = command("rethreshold", source, "--to", out, "--at", 100, "--json")
    assert ended.status == 0, ended.err
    summary = ended.document
    ours, theirs = records(out), records(source)
    assert ours.keys() == theirs.keys()
    for tile, record in ours.items():
        for name in ("checksums", "figures", "scenes", "status", "histogram", "lacks"):
            assert record[name] == theirs[tile][name], name
        assert record["inputs"] != theirs[tile]["inputs"]
        assert record["files"].keys() == theirs[tile]["files"].keys()
    assert summary["bytes_read"] == summary["session"]["plan"]["bytes_read"] == 0
    assert summary["classes"] == summary["rethresholded"]["classes_of_source"]
    assert summary["session"]["plan"]["tasks"] == len(ours)
    assert "statistics" not in summary
    assert not (out / "statistics").exists()
    document = json.loads((out / "run.json").read_text())
    assert document["derived"] == {"by": "rethreshold", "from": str(source)}
    assert document["recipe"]["rethreshold"] == {
        "at": 100,
        "source": json.loads((source / "run.json").read_text())["recipe"],
    }
    assert (out / "stac/collection.json").exists()
    assert (out / "quicklook.png").exists()
    assert validate_run(str(out)) == []
    assert read_status(str(out))["done"] == 2
    rows = pq.read_table(out / "ledger.parquet").to_pylist()
    assert all(dict(row["figures"]).keys() >= {"shift_down", "shift_right"} for row in rows)


@pytest.fixture(scope="module")
def low(source, tmp_path_factory):
    """The map at 60."""
    folder = tmp_path_factory.mktemp("low") / "out"
    assert cut(source, folder, 60)["exit_status"] == 0
    return folder


def test_elsewhere_only_the_map_differs(source, low, tmp_path, blind):
    """Against the stored scores, by comparison alone; at 250 the saturated; the map tells where it was cut."""
    high, before = tmp_path / "high", mosaic(source)
    cut(source, high, 250)
    score = before.change_score.values
    counts = []
    for folder, at in ((low, 60), (source, 100), (high, 250)):
        after = mosaic(folder)
        np.testing.assert_array_equal(after.change.values == 1, (score >= at) & (score <= 250))
        np.testing.assert_array_equal(after.change.values == 0, score < at)
        np.testing.assert_array_equal(after.change.values[score > 250], score[score > 250])
        for name in KEPT:
            np.testing.assert_array_equal(after[name].values, before[name].values, err_msg=name)
        counts.append(int((after.change == 1).sum()))
    assert counts[0] > counts[1] > counts[2]
    assert mosaic(low).change.attrs["long_name"].endswith("from 60 hundredths of the threshold on")
    assert mosaic(low, "1").change.attrs["long_name"].endswith("from 60 hundredths of the threshold on")
    assert json.loads((low / "stac/collection.json").read_text())["id"] == "pisa-at-60"


def test_it_can_be_cut_again(source, low, tmp_path, blind):
    """Of a map that was cut, another is cut as of the first: the scores are all there, and the name has one end."""
    again = tmp_path / "again"
    assert cut(low, again, 100)["exit_status"] == 0
    for tile, record in records(again).items():
        assert record["checksums"] == records(source)[tile]["checksums"]
    assert json.loads((again / "run.json").read_text())["spec"]["name"] == "pisa-at-100"
    assert validate_run(str(again)) == []
    assert read_status(str(again))["done"] == 2


def test_beforehand_it_says_what_other_thresholds_would_find(source, tmp_path):
    """Both tiles are looked at whole, so the lines are those of the maps themselves."""
    scored = open_scored(str(source))
    scores = open_rethreshold(scored, scored.spec(str(tmp_path / "out"), 60), 60).source
    line = preview(scores, scored.kernel, scored.tiles)
    score = mosaic(source).change_score.values
    assert line.startswith("changed, by 2 of 2 tiles: ")
    for at, part in zip((50, 60, 75, 100, 125, 150, 200), line.split(": ")[1].split(", "), strict=True):
        km2 = ((score >= at) & (score <= 250)).sum() * 1e-4
        assert part.endswith(f" km² from {at} on")
        assert float(part.split()[0]) == pytest.approx(km2, abs=0.006)


def test_what_the_source_lacks_fails_until_it_is_there(source, tmp_path, blind):
    """Not done there: failed here, never "unchanged". The source finished, the same command heals it."""
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(source, copy)
    lost = next(copy.glob("ledger/r*/*.json"))
    aside = lost.rename(tmp_path / "kept.json")
    summary = cut(copy, out, 60)
    assert (summary["exit_status"], summary["failed_reasons"]) == (3, {"source.not_done": 1})
    assert any("1 of 2 tiles of" in line and "not done" in line for line in summary["warnings"])
    assert sorted(np.unique(tile_status(Storage.open(str(out))))) == [STATUS["done"], STATUS["failed"]]
    assert (mosaic(out).change.values == 255).sum() >= 512 * 512
    [failed] = read_status(str(out))["failed_tiles"]
    assert lost.name.split(".")[0] in failed
    assert "run that one to its end" in failed
    first = records(out)
    aside.rename(lost)
    assert cut(copy, out, 60)["exit_status"] == 0
    assert first.items() <= records(out).items()
    assert validate_run(str(out)) == []


def test_damage_of_the_source_is_never_copied(source, tmp_path, blind):
    """A shard of other pixels, and half a shard."""
    copy, out = tmp_path / "copy", tmp_path / "out"
    shutil.copytree(source, copy)
    one, two = sorted(copy.glob("mosaic.zarr/0/change_score/c/*/*"))
    shutil.copy(one, two)
    one.write_bytes(one.read_bytes()[:-40])
    summary = cut(copy, out, 60)
    assert (summary["exit_status"], summary["failed_reasons"]) == (3, {"source.damaged": 2})
    assert (mosaic(out).change.values == 255).all()
    assert all("eopipe validate" in line or "decoded" in line for line in read_status(str(out))["failed_tiles"])


def test_a_source_that_goes_away_is_told_as_such(source, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    spec = (opened := open_scored(str(copy))).spec(str(tmp_path / "out"), 60)
    scored = open_rethreshold(opened, spec, 60).source
    one, two = (replace(tile, source_inputs=tile.inputs) for tile in opened.tiles)
    next(copy.glob(f"ledger/r*/{one.tile.name}.*.json")).write_text("{")
    with pytest.raises(TileFault, match=r"source\.damaged: .* is damaged"):
        scored.read(one)
    shutil.rmtree(copy / "mosaic.zarr")
    with pytest.raises(TileFault, match=r"source\.damaged: .* restore it"):
        scored.read(two)
    shutil.rmtree(copy)
    with pytest.raises(OutputError, match="not seen from here"):
        scored.ready(None, Stopwatch())


@pytest.mark.slow
def test_killed_between_pixels_and_record_it_resumes(source, low, tmp_path, blind):
    out = tmp_path / "out"
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, "rethreshold", str(source), "--to", str(out), "--at", "60", "--json"],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=200,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    first = records(out)
    assert len(first) == 1
    assert read_status(str(out))["not_run"] == 1
    assert any("no ledger record" in line for line in validate_run(str(out)))
    assert cut(source, out, 60)["exit_status"] == 0
    assert first.items() <= records(out).items(), "a recorded tile was done twice"
    assert {tile: record["checksums"] for tile, record in records(out).items()} == {
        tile: record["checksums"] for tile, record in records(low).items()
    }
    assert validate_run(str(out)) == []


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("0", "at: 0 cannot cut change_score; give a whole number from 1 to 250"),
        ("251", "at: 251 cannot cut"),
        ("1.5", "Invalid value for '--at'"),
    ],
)
def test_what_cannot_cut_is_refused_before_anything_is_written(source, tmp_path, at, message):
    ended = command("rethreshold", source, "--to", tmp_path / "out", "--at", at, "--json")
    assert (ended.status, ended.out) == (2, "")
    assert message in ended.line
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_taken_is_refused(source, low, tmp_path):
    def refused(source, to, at=60):
        ended = command("rethreshold", source, "--to", to, "--at", at, "--json")
        assert (ended.status, ended.out) == (2, "")
        return ended.line

    before = sorted(path for path in source.rglob("*") if path.is_file())
    (tmp_path / "link").symlink_to(source)
    for same in (source, f"{source}/", f"{source}/../out", tmp_path / "link"):
        assert "is the run whose scores are cut; give another output" in refused(source, same)
    assert "was cut at 60, and --at is 70; give another output, or --at 60" in refused(source, low, 70)
    assert f"holds a run that was not made of {low}" in refused(low, source)
    assert "memory://x cannot be shared" in refused(source, "memory://x")
    assert "holds no run" in refused(tmp_path, tmp_path / "out")
    assert sorted(path for path in source.rglob("*") if path.is_file()) == before
    assert "Missing option '--at'" in command("rethreshold", source, "--to", low).line


def test_a_run_without_scores_is_refused(overlapping, threads, tmp_path):
    small = [10.39, 43.70, 10.395, 43.705]
    run(pisa(tmp_path / "out", area=small, kernel={"name": "overlapping"}))
    with pytest.raises(SpecError, match="cannot be cut again: kernel overlapping stores no score"):
        eopipe.rethreshold(str(tmp_path / "out"), to=str(tmp_path / "new"), at=60)
    assert not (tmp_path / "new").exists()


def test_it_is_resumed_by_its_own_command(source, low):
    document = json.loads((low / "run.json").read_text())
    message = f"not of scenes; resume it with eopipe rethreshold {source} --to {low} --at 60"
    for written in (document["spec"], spec(low)):
        with pytest.raises(SpecError, match=message):
            run(written)
