"""Statistics stages: blocks and weights, sums and their files, runs whose blocks fail or are killed, notebooks."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import xarray as xr
from distributed import Client, LocalCluster, SchedulerPlugin
from rasterio.windows import Window

import eopipe
from eopipe.area.on_grid import Area, GridArea
from eopipe.engine.finish.status import read_status
from eopipe.engine.finish.validate import validate_run
from eopipe.engine.statistics import lattice
from eopipe.engine.statistics.block_file import BlockSums
from eopipe.engine.work.calibrate import calibrate_here
from eopipe.errors import DamageError, PlanError, SpecError, TileFault
from eopipe.grid import Grid, PixelBox, Tile
from eopipe.kernels.protocol import StripContext
from eopipe.kernels.statistics import Field, StageInfo, merged
from tests.support import measuring
from tests.support.paths import ROOT, needs_shared, shared
from tests.support.runs import mosaic, pisa, records, run, same_pixels

AREA = [10.412, 43.6748, 10.4205, 43.757]
"""A strip of 1 km by 9 km, over the corner of four blocks of 2048 pixels of 3 m."""


# ---- where: blocks, cells, weights ------------------------------------------------------------------------------


def test_weights_are_exact_and_sum_to_one():
    assert lattice.weights(8) == ((0, 1.0),)  # the middle of block 0 is its own
    assert lattice.weights(0) == ((-1, 0.5), (0, 0.5))
    assert lattice.weights(-9) == ((-2, 1 / 16), (-1, 15 / 16))
    for corner in range(-40, 40):
        assert sum(share for _, share in lattice.weights(corner)) == 1.0


def test_a_box_names_the_blocks_that_its_corners_need():
    box = PixelBox(-100, 4000, 612, 4200)
    needed = {
        Tile(row, col)
        for down in range(-1, 3)
        for right in range(7, 10)
        for row, _ in lattice.weights(down)
        for col, _ in lattice.weights(right)
    }
    assert set(lattice.blocks_around(box)) == needed
    assert lattice.blocks_around(PixelBox(4096, 4096, 4097, 4097)) == [Tile(0, 0), Tile(0, 1), Tile(1, 0), Tile(1, 1)]


@pytest.fixture(scope="module")
def wide():
    """A region of some hundred cells."""
    return GridArea.project(Area.parse([10.0, 43.5, 11.2, 44.4]), Grid("EPSG:32632", 10.0))


def test_sixteen_cells_a_block_by_a_hash_that_the_area_does_not_shift(wide):
    sampled = lattice.sampled_cells(wide)
    assert {len(cells) for cells in sampled.values()} <= set(range(1, 17))
    assert any(len(cells) == 16 for cells in sampled.values())
    for block, cells in sampled.items():
        assert cells == sorted(cells)
        assert {Tile(cell.row // 16, cell.col // 16) for cell in cells} == {block}
    assert max(len({cell.row for cell in cells}) for cells in sampled.values()) > 7  # spread, not the first rows
    half = GridArea.project(Area.parse([10.0, 43.5, 11.0, 44.4]), wide.grid)
    part = lattice.sampled_cells(half)
    whole = [block for block in part if half.cells(block.box(8192)) == wide.cells(block.box(8192))]
    assert whole
    assert all(part[block] == sampled[block] for block in whole)


# ---- what: sums, files, fields ----------------------------------------------------------------------------------


def test_sums_add_in_order_with_weights():
    one, two = {"n": np.array(3.0), "h": np.array([1.0, 2.0])}, {"h": np.array([4.0, 8.0]), "n": np.array(5.0)}
    assert {name: array.tolist() for name, array in merged([(1.0, one), (0.25, two)]).items()} == {
        "h": [2.0, 4.0],
        "n": 4.25,
    }
    assert merged([]) == {}
    with pytest.raises(ValueError, match="names or shapes differ"):
        merged([(1.0, one), (1.0, {"n": np.array(1.0)})])


def test_a_file_of_sums_is_exact_and_tells_damage():
    rng = np.random.default_rng(1)
    sums = {"moment": rng.normal(size=(2, 3)) * 1e9, "one": np.array(0.1 + 0.2)}
    block_sums = BlockSums("level", "r00001c00002", "ab", ("r00001c00002",), sums)
    data = block_sums.to_bytes()
    again = BlockSums.from_bytes(data, "x.json")
    assert again.to_bytes() == data
    for name, array in sums.items():
        np.testing.assert_array_equal(again.sums[name], array)
        assert again.sums[name].shape == array.shape
    for broken in (b"", data[:-4], data.replace(b"r00001", b"r00009", 1), b"[]", b"{}"):
        with pytest.raises(DamageError, match=r"x\.json is damaged"):
            BlockSums.from_bytes(broken, "x.json")
    with pytest.raises(TileFault, match="not finite"):
        replace(block_sums, sums={"n": np.array(np.nan)}).to_bytes()


def test_a_field_is_a_function_of_the_pixel():
    rng = np.random.default_rng(2)
    covered = PixelBox(-1024, 512, 512, 2048)
    field = Field(covered, 512, {"a": rng.normal(size=(4, 4)), "pair": rng.normal(size=(4, 4, 2))})
    box = PixelBox(-700, 600, 300, 1900)
    whole = field.at("pair", box)
    assert whole.shape == (2, 1000, 1300)
    for part in (PixelBox(-600, 700, -500, 1100), PixelBox(-513, 1023, -511, 1025), PixelBox(299, 1899, 300, 1900)):
        rows, cols = part.slices(box)
        np.testing.assert_array_equal(field.at("pair", part), whole[:, rows, cols])
    steps = np.abs(np.diff(field.at("a", box), axis=0)).max()
    assert steps < 2 * np.ptp(field.corners["a"]) / 512  # no seam at a cell's edge
    corner = field.at("a", PixelBox(-1, 1023, 1, 1025))
    np.testing.assert_allclose(corner.mean(), field.corners["a"][2, 1], atol=np.ptp(field.corners["a"]) / 500)
    cell = PixelBox(0, 512, 512, 1024)
    np.testing.assert_allclose(field.middle("a", cell), field.at("a", cell).mean())
    with pytest.raises(ValueError, match="is not within"):
        field.at("a", PixelBox(0, 0, 1, 1))
    with pytest.raises(ValueError, match="is no cell"):
        field.middle("a", PixelBox(0, 512, 256, 1024))
    flat = Field.constant({"a": 2.5}, PixelBox(3, 3, 9, 9), 512)
    np.testing.assert_array_equal(flat.at("a", PixelBox(3, 3, 9, 9)), np.full((6, 6), 2.5))


@pytest.mark.parametrize("bad", [("Level", ("red",), 0), ("a/b", ("red",), 0), ("a", (), 0), ("a", ("red",), -1)])
def test_a_stage_has_a_plain_name_and_bands(bad):
    with pytest.raises(ValueError, match="is no stage"):
        StageInfo(*bad)


def test_a_calibration_gives_a_kernel_statistics_and_times_them():
    calibration = calibrate_here(measuring.Flattened(measuring.Options(epochs=2)), device="cpu", threads=1)
    assert set(calibration.stage_seconds) == {"level", "spread"}
    assert min(calibration.stage_seconds.values()) > 0


# ---- runs --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flattened():
    """``kernel: {name: flattened}`` is known, and blocks are of 2048 pixels, while a module's tests run."""
    with pytest.MonkeyPatch.context() as patch:
        measuring.register(patch)
        yield


def spec(folder, **changes):
    kernel = {"name": "flattened", **changes.pop("kernel", {})}
    return pisa(folder, **{"area": AREA, "grid__resolution": 3, "kernel": kernel, **changes})


def statistics(folder):
    """Files of sums by path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.glob("statistics/*/*.json")}


@pytest.fixture(scope="module")
def reference(flattened, threads, tmp_path_factory):
    """A run with four blocks and two stages."""
    folder = tmp_path_factory.mktemp("statistics") / "out"
    summary = run(spec(folder))
    assert summary["exit_status"] == 0
    return folder, summary


@needs_shared
def test_blocks_are_planned_counted_and_told(reference):
    folder, summary = reference
    planned = summary["session"]["plan"]
    blocks = statistics(folder)
    assert planned["statistics"]["stages"] == ["level", "spread"]
    assert planned["statistics"]["blocks"] == len(blocks) == 8
    assert planned["tasks"] == summary["tiles"] + 8
    assert 0 < planned["statistics"]["bytes_read"] < planned["bytes_read"]
    assert summary["bytes_read"] == pytest.approx(planned["bytes_read"], rel=0.3)  # of few tiles
    assert summary["statistics"] == {"blocks": 8, "measured": 8, "failed": 0}
    assert read_status(str(folder))["statistics"] == {"blocks": 8, "measured": 8, "failed": 0}
    assert validate_run(str(folder)) == []
    body = json.loads(next(iter(blocks.values())))
    assert not {"time", "seconds", "host"} & body.keys()


@needs_shared
def test_what_was_lost_is_measured_again_to_the_same_bytes(reference, tmp_path):
    """As if killed anywhere: sums missing, damaged or empty, and tiles' records gone."""
    out = copied(reference[0], tmp_path)
    before = statistics(out)
    paths = sorted(before)
    (out / paths[0]).unlink()
    (out / paths[-1]).write_bytes(b"")
    problems = validate_run(str(out))
    assert f"{paths[0]} is missing; run again, which measures the block anew" in problems
    assert any(paths[-1] in problem and "damaged" in problem for problem in problems)
    for name, record in list(records(out).items())[::2]:
        next(out.glob(f"ledger/r*/{name}.{record['inputs']}.json")).unlink()
    summary = run(spec(out))
    assert (summary["exit_status"], summary["statistics"]["measured"]) == (0, 2)
    assert statistics(out) == before
    same_pixels(mosaic(reference[0]), mosaic(out))


def copied(folder, tmp_path):
    """A copy of a run's folder that resumes."""
    out = tmp_path / "out"
    shutil.copytree(folder, out)
    document = json.loads((out / "run.json").read_text())
    document["spec"]["output"]["uri"] = str(out)
    (out / "run.json").write_text(json.dumps(document))
    return out


@needs_shared
def test_a_failed_block_fails_its_tiles_and_no_other(reference, tmp_path, monkeypatch):
    out = tmp_path / "out"
    block = max(path.name.split(".")[0] for path in reference[0].glob("statistics/spread/*.json"))  # in the north
    place = Tile.parse(block).box(2048)
    measure = measuring.Spread.measure

    def broken(self, pixels, valid, box, context):
        if box & place == box:
            raise TileFault("read.corrupt", "as if a file were broken")
        return measure(self, pixels, valid, box, context)

    monkeypatch.setattr(measuring.Spread, "measure", broken)
    summary = run(spec(out, grid__tile=512))
    assert summary["exit_status"] == 3
    assert summary["statistics"] == {"blocks": 8, "measured": 7, "failed": 1}
    assert set(summary["failed_reasons"]) == {"statistics.read.corrupt"}
    assert 0 < summary["failed"] < summary["tiles"]
    assert f"stage spread, block {block}: as if a file were broken" in "".join(read_status(str(out))["failed_tiles"])
    assert [line for line in validate_run(str(out)) if "statistics" in line] == []
    monkeypatch.undo()
    assert run(spec(out, grid__tile=512))["exit_status"] == 0
    assert statistics(out) == statistics(reference[0])
    same_pixels(mosaic(reference[0]), mosaic(out))


ALONE = """
import pytest
from distributed import Client, LocalCluster, SchedulerPlugin
from eopipe.kernels.protocol import StripContext
from tests.support import measuring
from eopipe.cli import main
measuring.register(pytest.MonkeyPatch())
client = Client(LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0"))
main()
"""


@needs_shared
@pytest.mark.slow
def test_killed_while_it_measures_then_resumed(reference, tmp_path):
    out, file = tmp_path / "out", tmp_path / "spec.json"
    file.write_text(json.dumps(spec(out)))
    process = subprocess.Popen(
        [sys.executable, "-c", ALONE, "run", str(file), "--json"], cwd=ROOT, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    end = time.monotonic() + 120
    while not (measured := statistics(out)) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.kill()
    output = process.communicate()
    assert measured, output
    times = {path: (out / path).stat().st_mtime_ns for path in measured}
    assert run(spec(out))["exit_status"] == 0
    assert {path: (out / path).stat().st_mtime_ns for path in measured} == times  # none was measured twice
    assert statistics(out) == statistics(reference[0])
    same_pixels(mosaic(reference[0]), mosaic(out))


# ---- notebooks ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cube():
    catalog = str(shared() / "data/sentinel2-oscd/collection.json")
    snapshot, _ = eopipe.search(catalog=catalog, area=AREA, datetime="2015-07")
    small = [10.414, 43.71, 10.4205, 43.718]
    return eopipe.open_cube(snapshot, area=small, bands=("red",), composite="first", resolution=3)


@needs_shared
def test_a_notebook_uses_a_runs_statistics(reference, cube):
    computed = eopipe.map_kernel(cube, "flattened", tile=512, statistics=str(reference[0])).compute(
        scheduler="synchronous"
    )
    expected = mosaic(reference[0]).sel(x=computed.x, y=computed.y)
    inside = computed.label.values != 0  # outside of the smaller area is no data
    assert inside.sum() > 20_000
    for name in ("label", "confidence"):
        np.testing.assert_array_equal(computed[name].values[inside], expected[name].values[inside])


@needs_shared
def test_a_notebook_is_told_what_is_wrong(reference, cube, tmp_path):
    where = str(reference[0])
    with pytest.raises(PlanError, match="needs statistics of a wider area"):
        eopipe.map_kernel(cube, "flattened")
    with pytest.raises(PlanError, match="land-cover uses no statistics; leave statistics="):
        eopipe.map_kernel(cube, "land-cover", statistics=where)
    with pytest.raises(SpecError, match=r"kernel.options.per_strip \(was false, now true\)"):
        eopipe.map_kernel(cube, eopipe.kernel("flattened", per_strip=True), statistics=where)
    with pytest.raises(SpecError, match=r"composite \(was \"first\", now \"median\"\)"):
        eopipe.map_kernel(
            replace(cube, settings=replace(cube.settings, composite="median")), "flattened", statistics=where
        )
    far = replace(cube, box=PixelBox(0, 0, 512, 512), region=None)
    with pytest.raises(SpecError, match="measured nothing around"):
        eopipe.map_kernel(far, "flattened", statistics=where)
    out = copied(reference[0], tmp_path)
    (out / min(statistics(out))).unlink()
    with pytest.raises(SpecError, match="7 of 8 blocks; run it to its end first"):
        eopipe.map_kernel(cube, "flattened", statistics=str(out))
    with pytest.raises(PlanError, match="which a dataset has not"):
        eopipe.kernel("flattened").apply(cube.dataset)


# ---- invariants --------------------------------------------------------------------------------------------------


class CountTasks(SchedulerPlugin):
    """Counts every task that the scheduler is given."""

    def __init__(self):
        self.tasks = set()

    def transition(self, key, start, finish, *args, **kwargs):
        self.tasks.add(str(key))

    def begun(self, prefix):
        return sum(prefix in key for key in self.tasks)


@needs_shared
def test_tiles_and_workers_cannot_be_seen(reference, tmp_path):
    """Tiles of 512 on two workers, tiles of 1024 on one."""
    out = tmp_path / "out"
    limits = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**limits) as cluster, Client(cluster):
        cluster.scheduler.add_plugin(count := CountTasks())
        summary = run(spec(out, grid__tile=1024))
    assert summary["exit_status"] == 0
    assert count.begun("block-") == 8  # one a block and stage
    assert count.begun("tile-") == summary["tiles"]
    assert statistics(out) == statistics(reference[0])
    fine, coarse = xr.align(mosaic(reference[0]), mosaic(out), join="inner")
    mapped = fine.label.values != 255  # a tile of 512 that the area does not touch was not made
    assert (fine.label.values[mapped] != 0).sum() > 500_000
    for name in ("label", "confidence", "observations"):
        np.testing.assert_array_equal(fine[name].values[mapped], coarse[name].values[mapped])


def test_it_fails_when_a_tile_measures_itself():
    """The test can fail: with its own mean a wide strip gives other bytes than a narrow one."""
    rng = np.random.default_rng(1)
    halo = measuring.HALO
    wide = PixelBox(0, 0, 512, 1024)
    pixels = rng.integers(200, 3000, (1, 2, *wide.pad(halo).shape)).astype(np.float32)
    pixels[..., 512:] += 400
    valid = np.ones((1, *wide.pad(halo).shape), bool)
    corners = {"mean": rng.normal(1500, 200, (4, 5, 1)), "spread": rng.normal(800, 50, (4, 5, 1))}
    corners["mode"] = np.zeros((4, 5))
    covered = PixelBox(-512, -512, 1024, 1536)
    fields = {name: Field(covered, 512, corners) for name in ("level", "spread")}
    equal = {}
    for per_strip in (False, True):
        kernel = measuring.Flattened(measuring.Options(per_strip=per_strip))
        context = StripContext(statistics=fields)
        whole = kernel(pixels, valid, wide, context).arrays["confidence"]
        left = kernel(pixels[..., : 512 + 2 * halo], valid[..., : 512 + 2 * halo], PixelBox(0, 0, 512, 512), context)
        equal[per_strip] = bool((left.arrays["confidence"] == whole[:, :512]).all())
    assert equal == {False: True, True: False}


# ---- two epochs --------------------------------------------------------------------------------------------------

PARTS = {"S2_pisa_20150704": (0, 520), "S2_pisa_20180211": (330, 776)}
"""Rows of the real scenes that the derived ones keep: the north of one date, the south of the other."""


def two_dates(folder):
    """The real Pisa scenes of two dates, each cut to a part (derived, not as published)."""
    source = shared() / "data/sentinel2-oscd"
    collection = json.loads((source / "collection.json").read_text())
    collection["links"] = [{"rel": "item", "href": f"./{name}/{name}.json"} for name in PARTS]
    for name, (top, bottom) in PARTS.items():
        (folder / name).mkdir(parents=True)
        item = json.loads((source / name / f"{name}.json").read_text())
        item["links"], item["assets"] = [], {band: item["assets"][band] for band in ("B04", "B08")}
        for band, asset in item["assets"].items():
            with rasterio.open(source / name / f"{band}.tif") as scene:
                window = Window(0, top, scene.width, bottom - top)
                profile = {**scene.profile, "height": window.height, "transform": scene.window_transform(window)}
                with rasterio.open(folder / name / f"{band}.tif", "w", **profile) as file:
                    file.write(scene.read(window=window))
            asset |= {"proj:shape": [window.height, window.width], "proj:transform": list(profile["transform"])[:6]}
        west, south, east, north = rasterio.transform.array_bounds(window.height, window.width, profile["transform"])
        item["bbox"] = [west, south, east, north]
        item["geometry"] = json.loads(shapely.to_geojson(shapely.box(*item["bbox"])))
        (folder / name / f"{name}.json").write_text(json.dumps(item))
    (folder / "collection.json").write_text(json.dumps(collection))
    return str(folder / "collection.json")


def of_two(folder, catalog, **changes):
    source = {"catalog": catalog, "epochs": {"before": "2015", "after": "2018"}, "composite": "first"}
    return pisa(folder, area=AREA, source=source, kernel={"name": "flattened", "epochs": 2}, **changes)


@needs_shared
def test_a_tile_that_lacks_an_epoch_is_empty_and_names_it(flattened, threads, tmp_path):
    catalog = two_dates(tmp_path / "scenes")
    small, large = tmp_path / "512", tmp_path / "1024"
    summary = run(of_two(small, catalog))
    assert summary["exit_status"] == 0
    lacking = {name: tuple(record["lacks"]) for name, record in records(small).items() if record["lacks"]}
    assert set(lacking.values()) == {("after",), ("before",)}
    assert summary["empty"] == len(lacking) < summary["tiles"]
    assert summary["session"]["plan"]["tiles_lacking"] == dict(Counter(name for [name] in lacking.values()))
    assert {records(small)[name]["status"] for name in lacking} == {"empty"}
    table = pq.read_table(small / "ledger.parquet").to_pylist()
    assert {row["tile"]: row["reason"] for row in table if row["reason"]} == {
        name: f"lacks {epoch}" for name, [epoch] in lacking.items()
    }
    assert run(of_two(large, catalog, grid__tile=1024))["exit_status"] == 0
    fine, coarse = xr.align(mosaic(small), mosaic(large), join="inner")
    in_both = (fine.label.values != 255) & (coarse.label.values != 255)
    both = fine.observations.values[in_both] > 0
    assert both.sum() > 10_000  # the kernel by itself would map what only the last date saw
    np.testing.assert_array_equal(fine.label.values[in_both] != 0, both)
    for name in ("label", "confidence", "observations"):
        np.testing.assert_array_equal(fine[name].values[in_both], coarse[name].values[in_both])


@needs_shared
def test_a_source_has_as_many_epochs_as_the_kernel(flattened, tmp_path):
    for kernel, source, message in (
        ({"epochs": 2}, {"datetime": "2015"}, "there is none, and flattened compares 2; write such as {before: "),
        ({"epochs": 2}, {"epochs": {"once": "2015"}}, "here are once, and flattened compares 2"),
        (
            {},
            {"epochs": {"a": "2015", "b": "2018"}},
            "flattened maps one, and here are 2 (a, b); give source",
        ),
    ):
        document = pisa(tmp_path / "out", kernel={"name": "flattened", **kernel})
        document["source"] = {"catalog": document["source"]["catalog"], **source}
        with pytest.raises(SpecError, match=re.escape(message)):
            run(document)
