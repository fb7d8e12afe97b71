"""Window features in a run: kept whatever the tiles, through kills, reduced with the loss stated, scored again."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

import eopipe
from eopipe.canonical_json import digest
from eopipe.engine.derived.rescore import _anchored, open_features
from eopipe.engine.finish.status import read_status
from eopipe.engine.finish.validate import validate_run
from eopipe.engine.plan import resolved_spec
from eopipe.errors import SpecError
from eopipe.grid import Tile
from eopipe.mosaic.features import FeatureStore, read_layout
from eopipe.run_folder import FEATURES
from eopipe.storage import Storage
from tests.support.command import eopipe as command
from tests.support.kernels import CHANNELS, TOKENS
from tests.support.paths import ROOT, needs_shared, shared
from tests.support.runs import mosaic, pisa, records, run, same_pixels

pytestmark = needs_shared
AREA = [10.38, 43.69, 10.425, 43.735]
WORDS = {"river": ["river", "sea"], "meadow": ["meadow"], "roof": ["roof", "house"], "road": ["road"]}


ALONE = """
from distributed import Client, LocalCluster
from tests.support.kernels import register
from eopipe.cli import main
register()
client = Client(LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"))
main()
"""
"""The command line with one worker in its own process, which knows the kernel."""


def spec(folder, **changes):
    kernel = {"name": "overlapping", "features": "keep", **changes.pop("kernel", {})}
    return pisa(folder, area=AREA, kernel=kernel, **changes)


def windows(folder):
    """All kept windows by index, as stored."""
    storage = Storage.open(str(folder))
    store = FeatureStore(storage, place := read_layout(storage))
    box = place.windows
    arrays = {
        (row, col): store.stored((row, col)) for row in range(box.row0, box.row1) for col in range(box.col0, box.col1)
    }
    return {index: values for index, values in arrays.items() if values is not None}


@pytest.fixture(scope="module")
def reference(overlapping, threads, tmp_path_factory):
    """A run that keeps its features."""
    folder = tmp_path_factory.mktemp("features") / "out"
    summary = run(spec(folder))
    assert summary["exit_status"] == 0
    return folder, summary


def test_what_is_kept_is_counted_and_whole(reference):
    folder, summary = reference
    stored = windows(folder)
    assert len(stored) == summary["features"]["windows"] > 150
    assert next(iter(stored.values())).shape == (TOKENS, CHANNELS)
    planned = summary["session"]["plan"]
    assert summary["bytes_read"] == pytest.approx(planned["bytes_read"], rel=0.1)
    assert summary["features"]["bytes_per_km2"] == pytest.approx(planned["features_bytes_per_km2"], rel=0.3)
    assert planned["features_bytes_per_km2"] == pytest.approx(TOKENS * CHANNELS * 2 / 0.48**2, rel=0.01)
    assert 0.5 < len(stored) * TOKENS * CHANNELS * 2 / planned["features_bytes"] < 1.1  # the scene fills no tile
    assert all(FEATURES in record["checksums"] for record in records(folder).values())
    assert validate_run(str(folder)) == []


def test_status_needs_no_kernel(reference, monkeypatch):
    """Who asks how far a run is need not have its weights."""
    monkeypatch.delattr(resolved_spec, "create")
    status = read_status(str(reference[0]))
    assert (status["kernel"], status["done"], status["not_run"]) == ("overlapping", reference[1]["done"], 0)


def test_tiles_and_strips_do_not_show(reference, tmp_path):
    """Strips hand down what they know; a tile of 512 is one strip, a tile of 1024 has two."""
    assert run(spec(tmp_path / "out", grid__tile=1024))["exit_status"] == 0
    fine, coarse = xr.align(mosaic(reference[0]), mosaic(tmp_path / "out"), join="inner")
    mapped = fine.label.values != 255  # a tile of 512 that the area does not touch was not made
    for name in ("label", "confidence", "observations"):
        np.testing.assert_array_equal(fine[name].values[mapped], coarse[name].values[mapped])
    assert mapped.sum() > 500_000
    one, two = windows(reference[0]), windows(tmp_path / "out")
    assert len(one.keys() & two.keys()) == min(len(one), len(two))
    for index in one.keys() & two.keys():
        np.testing.assert_array_equal(one[index], two[index])


def test_a_notebook_maps_as_a_run_does(reference):
    """Lazily, from the catalogue: carried and not, the same bytes."""
    catalog = str(shared() / "data/sentinel2-oscd/collection.json")
    snapshot, _ = eopipe.search(catalog=catalog, area=AREA, datetime="2015-07")
    cube = eopipe.open_cube(snapshot, area=AREA, bands=("red",), composite="first")
    small = eopipe.map_kernel(cube, "overlapping", tile=512).isel(x=slice(0, 300), y=slice(0, 300))
    computed = small.compute(scheduler="synchronous")
    expected = mosaic(reference[0]).sel(x=computed.x, y=computed.y)
    for name in ("label", "confidence", "observations"):
        np.testing.assert_array_equal(computed[name].values, expected[name].values)


def test_damage_is_found_and_names_the_repair(reference, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(reference[0], out)
    storage = Storage.open(str(out))
    place = read_layout(storage)
    index = next(iter(windows(out)))
    storage.delete(place.path(index))
    [problem] = [line for line in validate_run(str(out)) if "features" in line]
    assert "do not have their recorded checksum; delete ledger/" in problem
    other = max(windows(out))
    storage.put(place.path(other), b"no zstd")
    assert any("window features cannot be read" in line for line in validate_run(str(out)))


def test_other_words_equal_a_full_run(reference, tmp_path):
    """Features of 16 bits: a few labels at a tie may differ, and confidence by a step."""
    full, again = tmp_path / "full", tmp_path / "again"
    assert run(spec(full, kernel={"prompts": WORDS, "scale": 6.0, "features": "none"}))["exit_status"] == 0
    summary = eopipe.rescore(str(reference[0]), to=str(again), prompts=WORDS, scale=6.0)
    assert summary["exit_status"] == 0
    one, two = mosaic(full), mosaic(again)
    assert (one.label == two.label).mean() > 0.999
    assert int(np.abs(one.confidence.astype(int) - two.confidence.astype(int)).max()) <= 1
    assert len(set(np.unique(two.label)) - {0, 255}) > 1
    assert summary["rescored"]["from"] == str(reference[0])
    assert summary["rescored"]["kernel_seconds_of_full_run"] > 0
    document = json.loads((again / "run.json").read_text())
    assert set(document["recipe"]["features"]) == {"recipe", "snapshot"}
    assert document["resolved"]["kernel"]["stretch"] == "optical"
    assert not (again / FEATURES).exists()
    assert (again / "stac/collection.json").exists()
    assert validate_run(str(again)) == []
    assert eopipe.rescore(str(reference[0]), to=str(again), prompts=WORDS, scale=6.0)["done"] == summary["done"]
    with pytest.raises(SpecError, match=r"kernel\.scale"):
        eopipe.rescore(str(reference[0]), to=str(again), prompts=WORDS, scale=7.0)
    with pytest.raises(SpecError, match="resume it with eopipe rescore"):
        run(document["spec"])


def test_a_notebook_scores_a_small_area(reference, tmp_path):
    """The same pixels as the mosaic of the same words, and the encoder is never called."""
    small = [10.39, 43.70, 10.40, 43.71]
    words = {"water": ["water"], "land": ["land", "field"], "town": ["town"]}
    lazy = eopipe.rescore(str(reference[0]), area=small, prompts=words)
    assert lazy.label.chunks is not None
    computed = lazy.compute(scheduler="synchronous")
    expected = mosaic(reference[0]).sel(x=computed.x, y=computed.y)
    inside = computed.label.values != 0  # the grid's north is not the area's
    assert inside.sum() > 5000
    assert (computed.label.values == expected.label.values)[inside].mean() > 0.999


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gsd": 5}, r"kernel\.gsd: .* would change the features, which were made with 'grid'"),
        ({"precision": "bfloat16"}, r"kernel\.precision"),
        ({"stretch": "landsat"}, r"kernel\.stretch"),
        ({"words": 3}, r"kernel\.words: unknown key"),
        ({"features": {"pca": 2}}, r"kernel\.features: they are kept by .* and not again"),
    ],
)
def test_what_shapes_the_features_is_refused(reference, change, message):
    with pytest.raises(SpecError, match=message):
        eopipe.rescore(str(reference[0]), prompts=WORDS, **change)


def test_features_of_other_weights_are_refused(reference, tmp_path):
    """Words of one model do not suit another's features, and a resumed run would begin anew among its own tiles."""
    out = tmp_path / "out"
    shutil.copytree(reference[0], out)
    document = json.loads((out / "run.json").read_text())
    document["spec"]["output"]["uri"] = str(out)
    document["recipe"]["kernel"]["version"] = "0"
    document["recipe_hash"] = digest(document["recipe"])
    (out / "run.json").write_text(json.dumps(document))
    with pytest.raises(SpecError, match="made by version 0 of overlapping, and this is 1"):
        eopipe.rescore(str(out), prompts=WORDS)
    with pytest.raises(SpecError, match="made by version 0 of overlapping, and this is 1"):
        run(spec(out))


def test_paths_among_changes_are_made_absolute(monkeypatch, tmp_path):
    """Workers, and who resumes, may stand in another folder."""
    monkeypatch.chdir(tmp_path)
    changes = {"upsampler_checkpoint": "a/../b.ckpt", "scale": 3, "name": "x"}
    assert _anchored(changes) == {**changes, "upsampler_checkpoint": str(tmp_path / "b.ckpt")}


def test_features_that_are_missing_fail_their_tiles(reference, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "eopipe.engine.sources.kept_features.AHEAD", 48
    )  # so that a read crosses the edge of these tiles
    source = tmp_path / "source"
    shutil.copytree(reference[0], source)
    lost = max(records(source))  # it has a neighbour in its row
    next(source.glob(f"ledger/r*/{lost}.*.json")).unlink()
    storage = Storage.open(str(source))
    place, tiles = read_layout(storage), {Tile.parse(name) for name in records(reference[0])}
    whole = []
    for index in windows(source):  # killed while it wrote: neighbours are read beside its windows
        if place.owner(index, tiles) == Tile.parse(lost):
            storage.put(place.path(index), b"half")
        else:
            whole.append(index)
    _, features = open_features(str(source))
    assert all(features.get(*index) is not None for index in whole)
    summary = eopipe.rescore(str(source), to=str(tmp_path / "again"), prompts=WORDS)
    assert summary["exit_status"] == 3
    assert set(summary["failed_reasons"]) == {"features.missing"}
    assert any("1 of" in line and "not done" in line for line in summary["warnings"])


def test_a_run_without_features_says_so(overlapping, threads, tmp_path):
    small = [10.39, 43.70, 10.395, 43.705]
    run(pisa(tmp_path / "out", area=small, kernel={"name": "overlapping"}))
    with pytest.raises(SpecError, match="keeps no window features; run its spec with"):
        eopipe.rescore(str(tmp_path / "out"), prompts=WORDS)


def test_reduced_features_state_their_loss(reference, tmp_path):
    out = tmp_path / "out"
    summary = run(spec(out, kernel={"features": {"pca": 5}}))
    assert summary["exit_status"] == 0
    assert next(iter(windows(out).values())).shape == (TOKENS, 5)
    document = json.loads((out / "run.json").read_text())
    assert len(document["recipe"]["features"]["basis"]) == 64
    assert validate_run(str(out)) == []
    same_pixels(mosaic(reference[0]), mosaic(out))  # the map itself is made of whole features
    assert run(spec(out, kernel={"features": {"pca": 5}}))["done"] == summary["done"]
    eopipe.rescore(str(out), to=str(tmp_path / "again"), scale=4.0)
    one, two = mosaic(out), mosaic(tmp_path / "again")
    assert 0.97 < float((one.label == two.label).mean()) <= 1.0


@pytest.mark.slow
def test_killed_and_resumed_it_keeps_the_same(reference, tmp_path):
    """Everything is killed among the tiles; the resumed run has every window, byte for byte."""
    out, file = tmp_path / "out", tmp_path / "spec.json"
    file.write_text(json.dumps(spec(out)))
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE, "run", str(file), "--json"], cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    end = time.monotonic() + 120
    while not (count := len(records(out))) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    output = process.communicate()
    assert count, output
    before = {name: record["finished"] for name, record in records(out).items()}
    assert run(spec(out))["exit_status"] == 0
    assert {name: records(out)[name]["finished"] for name in before} == before
    one, two = windows(reference[0]), windows(out)
    assert one.keys() == two.keys()
    assert all((one[index] == two[index]).all() for index in one)
    assert validate_run(str(out)) == []


def test_the_command_line_scores_again(reference, tmp_path):
    again = tmp_path / "again"
    ended = command(
        "rescore", reference[0], "--prompts", "river: river, sea; meadow: meadow", "--out", again, "--json"
    )
    assert ended.status == 0, ended.err
    assert ended.document["output"] == str(again)
    assert {name for name, _, _ in ended.document["classes"]} <= {"river", "meadow"}
    assert command("rescore", reference[0], "--set", "gsd=5", "--json").line.startswith("eopipe: kernel.gsd: ")
    assert "nothing to change" in command("rescore", reference[0]).line
    assert "is no class" in command("rescore", reference[0], "--prompts", ": river").line
