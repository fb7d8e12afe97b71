"""The Python API: a notebook's map is the mosaic, byte for byte."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import eopipe
from eopipe.errors import EopipeError, NoItemsError, PlanError, SpecError
from tests.support.command import eopipe as command
from tests.support.kernels import Options, make_overlapping
from tests.support.ovss import options as ovss_options
from tests.support.paths import needs_shared, shared
from tests.support.runs import CALIBRATION, mosaic, pisa, run

AREA = [10.38, 43.69, 10.42, 43.72]
BANDS = ("blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "swir16", "swir22")


@pytest.fixture(scope="module")
def cube():
    snapshot, report = eopipe.search(
        catalog=str(shared() / "data/sentinel2-oscd/collection.json"), area=AREA, datetime="2015-07"
    )
    assert report.used == len(snapshot) == 1
    return eopipe.open_cube(snapshot, area=AREA, bands=BANDS, composite="first", chunk=512)


@needs_shared
def test_a_notebooks_map_is_the_mosaic(cube, client, tmp_path):
    assert run(pisa(tmp_path / "out", area=AREA))["exit_status"] == 0
    written = mosaic(tmp_path / "out")
    lazy = eopipe.map_kernel(cube, "land-cover", tile=512)
    assert lazy.label.chunks is not None
    made = lazy.compute(scheduler="synchronous")
    inside = written.sel(x=made.x, y=made.y)
    for name in ("label", "confidence", "observations"):
        np.testing.assert_array_equal(made[name].values, inside[name].values, err_msg=name)
    assert set(np.unique(made.label.values)) & {1, 5, 7} == {1, 5, 7}


@needs_shared
def test_a_cube_is_reflectance_with_nan(cube):
    data = cube.dataset[["red", "nir"]].isel(x=slice(0, 64), y=slice(0, 64)).compute(scheduler="synchronous")
    assert data.red.dtype == np.float32
    assert 0 < float(data.nir.mean()) < 1
    assert data.rio.crs.to_epsg() == 32632


@needs_shared
def test_an_edited_dataset_can_be_mapped(cube):
    data = cube.dataset.isel(x=slice(0, 256), y=slice(0, 256)).compute(scheduler="synchronous")
    mapped = eopipe.kernel("land-cover").apply(data * 1.0)
    assert mapped.label.shape == (256, 256)
    direct = eopipe.map_kernel(cube, "land-cover", tile=512).label.isel(x=slice(64, 192), y=slice(64, 192))
    same = mapped.label.values[64:192, 64:192] == direct.compute(scheduler="synchronous").values
    assert same.mean() > 0.95  # the halved grid hangs on the dataset, not on the lattice: no equality is promised
    with pytest.raises(SpecError, match="lacks nir"):
        eopipe.kernel("land-cover").apply(data.drop_vars("nir"))


def test_a_dataset_tells_no_sensor_so_its_stretch_must_be_said(tmp_path, monkeypatch):
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))
    half = np.full((40, 40), 0.15, np.float32)
    data = xr.Dataset(dict.fromkeys(("red", "green", "blue"), (("y", "x"), half)), {"x": 10.0 * np.arange(40)})
    options = ovss_options(tmp_path)
    with pytest.raises(PlanError, match=r"kernel\.stretch: 'auto' is told by scenes, .* such as stretch=\[0"):
        eopipe.kernel("ovss", **{**options, "stretch": "auto"}).apply(data)
    mapped = eopipe.kernel("ovss", **options).apply(data)
    assert mapped.label.shape == (40, 40)
    assert (mapped.label > 0).all()
    assert eopipe.kernel("ovss", **options, gsd=0.6).make(1.2).info.factor == 2


@needs_shared
@pytest.mark.slow
def test_probabilities_and_a_coarser_grid(cube):
    fine = eopipe.map_kernel(cube, eopipe.kernel("land-cover", probabilities=True), tile=512)
    part = fine.probability.isel(x=slice(0, 100), y=slice(0, 100)).compute(scheduler="synchronous").values
    seen = (part <= 250).all(axis=0)
    assert np.abs(part[:, seen].sum(axis=0) - 250.0).max() <= 5
    coarse = eopipe.open_cube(cube.snapshot, area=AREA, bands=BANDS, composite="first", resolution=30.0)
    mapped = eopipe.map_kernel(coarse, eopipe.kernel("land-cover", gsd=10), tile=512)
    labels = mapped.label.compute(scheduler="synchronous")
    thirty = {int(code): int(count) for code, count in zip(*np.unique(labels, return_counts=True), strict=True)}
    ten = fine.label.compute(scheduler="synchronous")
    assert thirty[7] * 9 == pytest.approx(int((ten == 7).sum()), rel=0.1)
    with pytest.raises(PlanError, match=r"kernel\.gsd: 20 cannot be placed"):
        eopipe.map_kernel(coarse, eopipe.BoundKernel("land-cover", {"gsd": 20}))


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(SpecError, match="there is no kernel 'landcover'; did you mean 'land-cover'"):
        eopipe.kernel("landcover")
    with pytest.raises(SpecError, match=r"source\.catalog: .* does not exist"):
        eopipe.search(catalog=str(tmp_path / "nowhere.json"), area=AREA)
    with pytest.raises(EopipeError, match="does not exist"):
        eopipe.run(tmp_path / "nowhere.yaml")
    with pytest.raises(AttributeError, match="has no attribute 'opencube'"):
        eopipe.opencube  # noqa: B018


@needs_shared
def test_what_only_a_run_measures_is_refused(cube):
    eopipe.register_kernel("overlapping", Options, make_overlapping)
    with pytest.raises(PlanError, match=r"kernel\.precision: auto is measured by a run"):
        eopipe.map_kernel(cube, eopipe.kernel("overlapping", precision="auto"))


def test_importing_eopipe_is_cheap():
    code = "import sys, eopipe; print(sorted({'torch', 'dask', 'rasterio', 'numba', 'openvino'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert "run" in dir(eopipe)


@needs_shared
def test_run_takes_a_mapping(client, tmp_path):
    summary = eopipe.run(pisa(tmp_path / "out", area=[10.39, 43.70, 10.395, 43.705]))
    assert summary["exit_status"] == 0
    assert summary["session"]["cluster"]["kind"] == "current"
    with xr.open_zarr(tmp_path / "out/mosaic.zarr", group="0", consolidated=False) as found:
        assert found.rio.crs.to_epsg() == 32632
        assert found.odc.geobox.crs.epsg == 32632


@pytest.fixture
def calibrated(monkeypatch):
    """Nothing is timed; returns the calls that would have been."""
    calls = []
    monkeypatch.setattr("eopipe.engine.run.calibrate_in_process", lambda *args: calls.append(args) or CALIBRATION)
    return calls


@needs_shared
def test_a_plan_says_what_the_command_says_and_writes_nothing(calibrated, tmp_path):
    spec = pisa(tmp_path / "out", area=AREA)
    planned = eopipe.plan(spec)
    assert len(calibrated) == 1
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    ended = command("plan", file, "--json")
    assert planned.summary() == ended.document
    assert len(planned.tiles) == planned.summary()["tiles"] > 1
    assert planned.warnings == tuple(ended.document["warnings"])
    assert json.loads(json.dumps(planned.geojson())) == command("plan", file, "--tiles", "geojson").document
    assert eopipe.plan(file).summary() == ended.document
    assert list(tmp_path.iterdir()) == [file]


@needs_shared
def test_a_plan_is_a_few_lines_and_a_table(calibrated, tmp_path):
    planned = eopipe.plan(pisa(tmp_path / "out & <b>", area=AREA))
    lines = repr(planned).splitlines()
    assert lines[0] == f"plan of pisa into {tmp_path}/out & <b>"
    assert lines[1].startswith(f"{len(planned.tiles)} tiles of 512² over ")
    assert 4 <= len(lines) <= 8
    table = planned._repr_html_()
    assert table.startswith("<table>")
    assert table.count("<tr>") == len(lines)
    assert "<td>reads " in table
    assert f"{tmp_path}/out &amp; &lt;b&gt;" in table


@needs_shared
def test_a_plan_refuses_what_the_command_refuses(tmp_path):
    spec = pisa(tmp_path / "out", area=AREA, source__datetime="1999")
    with pytest.raises(NoItemsError, match="no item of sentinel-2-l1c-oscd matches the area, the dates 1999"):
        eopipe.plan(spec)
    spec["source"]["datetime"] = "2015-07"
    spec["kernel"]["gsd"] = 7
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    with pytest.raises(EopipeError) as refused:
        eopipe.plan(spec)
    ended = command("plan", file)
    assert (ended.status, ended.line) == (2, f"eopipe: {refused.value}")
    assert not (tmp_path / "out").exists()
