"""What the files mean, as a plan shows it, a run freezes it and STAC says it; and runs that are refused for it."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

from eopipe.engine.display import plan_lines
from eopipe.engine.plan.model import Workers
from eopipe.engine.plan.open import open_run
from eopipe.errors import ItemError, SpecError
from eopipe.spec import parse_spec
from tests.support.command import eopipe
from tests.support.runs import CALIBRATION, mosaic, run

SIDE, LEFT, TOP = 128, 500000.0, 5000000.0
NOW = datetime(2025, 7, 1, tzinfo=UTC)
RADIOMETRY = "radiometry of mine (red, green, blue): "


def write(path, dtype="uint16", *, scale=1.0, nodata=None, top=3000):
    data = (np.arange(SIDE * SIDE).reshape(SIDE, SIDE) % top).astype("float64")
    profile = {"count": 1, "height": SIDE, "width": SIDE, "dtype": dtype, "crs": "EPSG:32633", "nodata": nodata}
    with rasterio.open(path, "w", driver="GTiff", transform=from_origin(LEFT, TOP, 10, 10), **profile) as file:
        file.write((data / top if dtype == "float32" else data).astype(dtype), 1)
        if scale != 1.0:
            file.scales = (scale,)


def spec(folder, **source):
    """A run of a cheap kernel over three files of a collection that states nothing."""
    box = transform_bounds("EPSG:32633", 4326, LEFT, TOP - 10 * SIDE, LEFT + 10 * SIDE, TOP)
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    stated = source.pop("stated", {})
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "x", "collection": "mine", "links": [], "bbox": list(box),
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {"datetime": "2025-06-01T10:00:00Z"},
        "assets": {band: {"href": str(folder / f"{band}.tif"), "eo:bands": [{"name": band}], **stated}
                   for band in ("red", "green", "blue")},
    }  # fmt: skip
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return {
        "name": "mine", "area": [west + 1e-4, south + 1e-4, east - 1e-4, north - 1e-4],
        "source": {"catalog": str(folder / "items.json"), "composite": "first", **source},
        "grid": {"crs": "EPSG:32633", "resolution": 10, "tile": 512},
        "kernel": {"name": "overlapping", "stretch": "optical"},
        "output": {"uri": str(folder / "out"), "cog": False}, "cluster": {"kind": "current"},
    }  # fmt: skip


def files(folder, *arguments, **options):
    for band in ("red", "green", "blue"):
        write(folder / f"{band}.tif", *arguments, **options)


def plan(written):
    opened = open_run(parse_spec(written), now=NOW, allow_empty=False)
    return opened.plan(workers=Workers(2, None), calibration=CALIBRATION)


def test_the_plan_says_what_each_number_comes_from(overlapping, tmp_path):
    files(tmp_path, "int16", scale=1e-4, nodata=-9999)
    planned = plan(spec(tmp_path))
    assert planned.summary()["radiometry"] == ["mine: file scale 0.0001, file no-data -9999"]
    assert "radiometry: mine: file scale 0.0001, file no-data -9999" in "\n".join(map(str, plan_lines(planned)))
    facts = [{"band": band, "collection": "mine", "offset": 0.0, "scale": 1e-4} for band in ("blue", "green", "red")]
    assert planned.recipe["radiometry"] == {"spec": {}, "files": facts}


def test_facts_that_were_stated_are_no_part_of_the_recipe(overlapping, tmp_path):
    files(tmp_path, "int16", nodata=-9999)
    planned = plan(spec(tmp_path, stated={"raster:bands": [{"scale": 1e-4, "nodata": -9999}]}))
    assert "radiometry" not in planned.recipe
    assert not [line for line in planned.warnings if "radiometry" in line]
    assert planned.summary()["radiometry"] == ["mine: item scale 0.0001, item no-data -9999, file no-data -9999"]
    keyed = plan(spec(tmp_path, scale=1e-4, nodata=-9999))
    assert keyed.recipe["radiometry"] == {"spec": {"scale": 1e-4, "nodata": -9999.0}, "files": []}


def test_what_a_file_adds_to_stated_no_data_is_part_of_the_recipe(overlapping, tmp_path):
    files(tmp_path, "int16", nodata=-9999)
    planned = plan(spec(tmp_path, stated={"raster:bands": [{"scale": 1e-4, "nodata": 0}]}))
    assert [entry["nodata"] for entry in planned.recipe["radiometry"]["files"]] == [-9999.0] * 3


@pytest.mark.parametrize(
    ("dtype", "stated", "message"),
    [
        ("uint16", {}, r"holds uint16 \(unknown collection\).*source\.scale"),
        ("uint8", {}, r"holds uint8"),
        ("uint16", {"raster:bands": [{"scale": 1e-4, "unit": "kelvin"}]}, "unit 'kelvin'"),
    ],
)
def test_a_run_is_refused_before_anything_is_written(overlapping, tmp_path, dtype, stated, message):
    files(tmp_path, dtype, top=200)
    with pytest.raises(ItemError, match=message):
        plan(spec(tmp_path, stated=stated))
    path = tmp_path / "run.json"
    path.write_text(json.dumps(spec(tmp_path, stated=stated)))
    ended = eopipe("run", path, "--json")
    assert ended.status == 2
    assert "source." in ended.line
    assert not (tmp_path / "out").exists()


def test_a_run_tells_of_floats_in_run_json_and_stac(overlapping, threads, tmp_path):
    files(tmp_path, "float32")
    summary = run(spec(tmp_path), now=NOW)
    assert summary["exit_status"] == 0
    [warning] = [line for line in summary["warnings"] if line.startswith("radiometry")]
    assert warning.startswith(f"{RADIOMETRY}nothing states the scale of floating-point files")
    out = tmp_path / "out"
    assert warning in json.loads((out / "run.json").read_text())["warnings"]
    collection = json.loads(next(Path(out).glob("**/collection.json")).read_text())
    assert collection["eopipe:warnings"] == [warning]
    assert (mosaic(out).observations.values == 1).any()


def test_a_resume_notices_files_of_other_numbers(overlapping, threads, tmp_path):
    files(tmp_path, "int16", scale=1e-4)
    run(spec(tmp_path), now=NOW)
    assert run(spec(tmp_path), now=NOW)["exit_status"] == 0
    write(tmp_path / "green.tif", "int16", scale=1e-2)
    with pytest.raises(SpecError, match=r"was begun when its files stated other numbers .*0\.01.*another output"):
        run(spec(tmp_path), now=NOW)
    for band in ("red", "green", "blue"):
        (tmp_path / f"{band}.tif").unlink()
    assert run(spec(tmp_path), now=NOW)["done"] == 1  # nothing is left to read, and nothing can be compared
