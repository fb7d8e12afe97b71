"""The kernel of CONTRIBUTING.md as a package of its own: built, installed beside eopipe's wheel, planned and run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from rasterio.transform import from_origin

from tests.support.paths import ROOT
from tests.support.plugins import pip

PACKAGE = ROOT / "tests/plugin/eopipe-greenness"
CORNER, SIDE = (600000.0, 4900000.0), 600
SCRIPT = """
import contextlib, io, json, sys
from eopipe import cli

def command(*arguments):
    out = io.StringIO()
    sys.argv = ["eopipe", *arguments]
    with contextlib.redirect_stdout(out):
        try:
            cli.main()
            status = 0
        except SystemExit as end:
            status = end.code
    return [status or 0, out.getvalue()]

if __name__ == "__main__":
    import eopipe
    spec, out = sys.argv[1:]
    ended = {
        "kernels": command("kernels", "--json"),
        "plan": command("plan", spec, "--json"),
        "run": command("run", spec, "--json"),
        "validate": command("validate", out, "--json"),
    }
    print(json.dumps({"home": eopipe.__file__, "ended": ended}))
"""


def block(text, after):
    """The first fenced block after a sentence."""
    return text.split(after, 1)[1].split("```", 2)[1].split("\n", 1)[1]


def test_contributing_shows_these_very_files():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert block(text, "`pyproject.toml`") == (PACKAGE / "pyproject.toml").read_text()
    assert block(text, "`eopipe_greenness.py`") == (PACKAGE / "eopipe_greenness.py").read_text()
    for file in PACKAGE.glob("*.*"):
        assert len(file.read_text().splitlines()) <= 50


def write_scene(folder):
    """Two bands of reflectance, the west half green, as a static STAC collection; returns its path."""
    west, north = CORNER
    profile = {"driver": "COG", "dtype": "uint16", "count": 1, "height": SIDE, "width": SIDE, "nodata": 0}
    profile |= {"crs": "EPSG:32632", "transform": from_origin(west, north, 10, 10)}
    ramp = np.linspace(900, 1100, SIDE)[:, None]
    bands = {"B04": ramp + np.zeros(SIDE), "B08": ramp * np.where(np.arange(SIDE) < SIDE // 2, 4, 1.2)}
    assets = {}
    for band, common in (("B04", "red"), ("B08", "nir")):
        with rasterio.open(folder / f"{band}.tif", "w", **profile) as dataset:
            dataset.write(bands[band].astype(np.uint16), 1)
        stated = {"name": band, "eo:common_name": common, "nodata": 0, "raster:scale": 1e-4, "raster:offset": 0.0}
        assets[band] = {"href": f"./{band}.tif", "roles": ["data"], "bands": [stated]}
    bounds = [10.24, 44.18, 10.34, 44.26]
    ring = [[10.24, 44.18], [10.34, 44.18], [10.34, 44.26], [10.24, 44.26], [10.24, 44.18]]
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/projection/v2.0.0/schema.json"],
        "id": "scene",
        "collection": "two-bands",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": bounds,
        "properties": {
            "datetime": "2024-06-01T10:00:00Z",
            "proj:code": "EPSG:32632",
            "proj:shape": [SIDE, SIDE],
            "proj:transform": [10, 0, west, 0, -10, north],
        },
        "links": [],
        "assets": assets,
    }
    collection = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "two-bands",
        "description": "Two bands that a test made.",
        "license": "CC0-1.0",
        "extent": {"spatial": {"bbox": [bounds]}, "temporal": {"interval": [["2024-06-01T00:00:00Z", None]]}},
        "links": [{"rel": "item", "href": "./item.json"}],
    }
    (folder / "item.json").write_text(json.dumps(item))
    (folder / "collection.json").write_text(json.dumps(collection))
    return folder / "collection.json"


def spec(folder):
    return {
        "name": "green",
        "area": [10.26, 44.2, 10.32, 44.23],
        "source": {
            "catalog": str(write_scene(folder)),
            "collections": ["two-bands"],
            "datetime": "2024-06",
            "composite": "first",
        },
        "grid": {"crs": "EPSG:32632", "resolution": 10, "tile": 512},
        "kernel": {"name": "greenness", "threshold": 0.2},
        "output": {"uri": str(folder / "out")},
        "cluster": {"workers": 1},
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """eopipe and the plug-in, built and installed, with nothing of the checkout."""
    folder = tmp_path_factory.mktemp("site")
    for project in (ROOT, PACKAGE):
        options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-compile")
        pip("install", *options, "--target", folder, "--upgrade", project)
    return folder


@pytest.mark.slow
def test_a_package_of_its_own_plans_runs_and_validates(site, tmp_path):
    (tmp_path / "main.py").write_text(SCRIPT)
    (tmp_path / "spec.yaml").write_text(json.dumps(spec(tmp_path)))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("EOPIPE_")}
    files = [str(tmp_path / name) for name in ("main.py", "spec.yaml", "out")]
    env = {**plain, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-P", *files],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert Path(report["home"]).is_relative_to(site)
    assert [status for status, _ in report["ended"].values()] == [0, 0, 0, 0], done.stderr
    [greenness] = [row for row in json.loads(report["ended"]["kernels"][1]) if row["name"] == "greenness"]
    assert greenness["package"] == "eopipe-greenness 0.1"
    [form] = greenness["forms"]
    assert (form["maps"], form["bands"], form["gsd"]) == ("greenness: bare, green", ["red", "nir"], "10 m")
    [option] = form["options"]
    assert (option["name"], option["default"]) == ("threshold", 0.3)
    assert option["help"] == "The index from which on a pixel is green."
    with xr.open_zarr(tmp_path / "out/mosaic.zarr", group="0", consolidated=False) as found:
        middle = CORNER[0] + SIDE * 10 / 2
        for code, half in ((2, found.label.x < middle), (1, found.label.x > middle)):
            labels = found.label.values[:, half.values]
            assert code in np.unique(labels)
            assert set(np.unique(labels)) <= {0, code, 255}
            assert (labels == code).sum() > 30_000
