"""Invariants 1 to 4 for change runs: pixels and objects, statistics and vectors included."""

import hashlib
import json
import subprocess
import sys
import time

import geopandas as gpd
import numpy as np
import psutil
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from geopandas.testing import assert_geodataframe_equal

from eopipe.engine.display import Display
from eopipe.engine.finish.validate import validate_run
from eopipe.engine.run import execute
from eopipe.kernels.change.spectral import base
from eopipe.spec import parse_spec
from tests.invariants.test_4_tasks import CountTasks, _count
from tests.support import measuring
from tests.support.change import Colours
from tests.support.paths import needs_shared
from tests.support.runs import high_water, mosaic, pisa, records, run

pytestmark = needs_shared

ARRAYS = ("change", "change_score", "label_before", "label_after", "observations")

AREA = [10.380, 43.686, 10.392, 43.694]
"""A square kilometre over the border of two cells, which are two tiles of 512 and one of 1024."""

WIDE = [10.380, 43.686, 10.402, 43.716]
"""Two tiles of 512, with more in them."""

OBJECTS = {"name": "change", "instantiation": "felzenszwalb-spectral", "prompts": ["construction"], "window": 256}
THINGS = {"name": "change", "instantiation": "regions-mini", "prompts": ["grass"], "beta": 176, "window": 256}
PIXELS = {"name": "change"}


def spec(folder, kernel, area=AREA, **changes):
    document = pisa(folder, area=area, kernel=kernel, **changes)
    document["source"] |= {"epochs": {"before": "2015", "after": "2018"}}
    del document["source"]["datetime"]
    return document


def vectors(folder):
    """All but the order, which follows the tiles."""
    table = gpd.read_parquet(folder / "objects.parquet").sort_values("id").reset_index(drop=True)
    return table.assign(geometry=table.geometry.normalize())


@pytest.fixture
def cheap(monkeypatch):
    """Statistics of one cell, and classes by colour."""
    measuring.small_blocks(monkeypatch, cells=8, sample=1)
    monkeypatch.setattr(base, "load_dynamic_world", lambda *_, **__: Colours())


@pytest.mark.parametrize(
    ("kernel", "least"),
    [
        pytest.param(PIXELS, 3, id="pixels"),
        pytest.param(OBJECTS, 1, id="segments", marks=pytest.mark.slow),
        pytest.param(THINGS, 3, id="things", marks=pytest.mark.slow),
    ],
)
def test_tiles_cannot_be_seen_and_a_tile_is_one_task(kernel, least, cheap, threads, tmp_path):
    threads.register_plugin(CountTasks())
    try:
        fine = run(spec(tmp_path / "fine", kernel))
        tasks = threads.run_on_scheduler(_count)
    finally:
        threads.unregister_scheduler_plugin("count-tasks")
    coarse = run(spec(tmp_path / "coarse", kernel, grid__tile=1024))
    assert (fine["tiles"], coarse["tiles"]) == (2, 1)
    assert sum("tile-" in key for key in tasks) == 2
    assert sum("tile-" not in key and "build_parent" not in key for key in tasks) == fine["statistics"]["blocks"]
    one, two = xr.align(mosaic(tmp_path / "fine"), mosaic(tmp_path / "coarse"), join="inner")
    both = (one.change.values != 255) & (two.change.values != 255)
    assert (one.change.values[both] == 1).sum() > 10 * least
    for name in ARRAYS:
        np.testing.assert_array_equal(one[name].values[both], two[name].values[both], err_msg=name)
    first, second = vectors(tmp_path / "fine"), vectors(tmp_path / "coarse")
    assert len(first) == fine["objects"] >= least
    assert_geodataframe_equal(first, second)
    assert validate_run(str(tmp_path / "fine")) == []


def start(path, document):
    path.write_text(json.dumps(document))
    return subprocess.Popen(
        [sys.executable, "-m", "eopipe.cli", "run", str(path), "--json"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def written(folder):
    """Bytes of everything that a map is made of."""
    paths = [*folder.glob("mosaic.zarr/*/*/c/**/*"), *folder.glob("objects/*"), folder / "objects.parquet"]
    paths += [*folder.glob("statistics/*/*.json"), *folder.glob("cog/*")]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if path.is_file()
    }


@pytest.mark.slow
def test_killed_and_resumed_it_has_the_same_bytes(client, tmp_path):
    """With the real net; the statistics that were measured stay, and no recorded tile is done twice."""
    cog = {"output": {"uri": str(tmp_path / "whole"), "cog": True}}
    assert run(spec(tmp_path / "whole", PIXELS, WIDE, **cog))["exit_status"] == 0
    out = tmp_path / "out"
    alone = {"cluster": {"kind": "local", "workers": 1}, "output": {"uri": str(out), "cog": True}}
    process = start(tmp_path / "spec.json", spec(out, PIXELS, WIDE, **alone))
    end = time.monotonic() + 120
    while not records(out):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.kill()
    process.kill()
    process.wait()
    before = records(out)
    assert len(before) == 1
    summary = run(spec(out, PIXELS, WIDE, output=alone["output"]))
    assert (summary["exit_status"], summary["done"]) == (0, 2)
    assert {name: records(out)[name] for name in before} == before
    assert len(written(out)) > 2 * 6
    assert written(out) == written(tmp_path / "whole")
    assert gpd.read_parquet(out / "objects.parquet").seam.any()  # a site that a cell's edge cuts is one object


@pytest.mark.alone
@pytest.mark.slow
def test_a_worker_of_objects_stays_within_the_plan(tmp_path):
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "memory_limit": "8GB"}
    with LocalCluster(dashboard_address="127.0.0.1:0", **options) as cluster, Client(cluster) as alone:
        summary = execute(parse_spec(spec(tmp_path / "out", OBJECTS)), display=Display())  # calibrated on the worker
        [peak] = alone.run(high_water).values()
    promised = summary["session"]["plan"]["worker_peak_bytes"]
    assert summary["exit_status"] == 0
    assert peak <= 1.15 * promised, (peak, summary["session"]["plan"]["worker_peak"])
    assert peak >= 0.4 * promised, (peak, summary["session"]["plan"]["worker_peak"])
