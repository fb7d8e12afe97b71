"""Packages that decide bytes: stated, equal on every worker, and told where they changed between two starts."""

import json
from dataclasses import replace

import pytest

import eopipe
from eopipe.engine.work import preflight
from eopipe.errors import ClusterError
from eopipe.versions import BYTES, PROTOCOL, changes, versions
from tests.support.command import eopipe as command
from tests.support.paths import needs_shared
from tests.support.runs import pisa, run

SMALL = [10.39, 43.70, 10.395, 43.705]


def test_all_that_decides_bytes_is_stated():
    stated = versions()
    assert {*BYTES, *PROTOCOL, "python", "xarray", "odc-geo", "pystac-client"} == set(stated)
    assert stated["eopipe"] == eopipe.__version__
    assert stated["GDAL"].split(".")[0] == "3"
    assert all(stated.values())


def test_changes_name_then_and_now_and_pass_over_what_was_never_stated():
    before = {"numpy": "1.0", "torch": "2.6", "dask": "1"}
    assert changes(before, {"numpy": "2.0", "torch": "2.6", "numba": "0.6", "dask": "2"}) == ["numpy 1.0 → 2.0"]


@pytest.mark.parametrize("name", ["GDAL", "PROJ", "numba", "llvmlite", "numpy", "distributed"])
def test_a_worker_with_another_version_is_refused_and_named(name):
    report = preflight.WorkerReport(versions=versions(), device="cpu")
    other = replace(report, versions={**report.versions, name: "0.1"})
    with pytest.raises(ClusterError, match=rf"^worker tcp://a has {name} 0\.1, and this process {versions()[name]};"):
        preflight._judge("tcp://a", other, None, None, None)
    preflight._judge("tcp://a", report, None, None, None)


@needs_shared
def test_a_resumed_run_goes_on_and_tells_what_changed(overlapping, threads, tmp_path):
    """A run from before a package was stated says nothing of that package."""
    spec = pisa(tmp_path / "out", kernel={"name": "overlapping"}, area=SMALL)
    before = run(spec)["warnings"]
    file = tmp_path / "out/run.json"
    document = json.loads(file.read_text())
    document["versions"] |= {"numpy": "1.0.0", "GDAL": "3.0.0", "dask": "1"}
    del document["versions"]["numba"]
    file.write_text(json.dumps(document))
    next((tmp_path / "out").glob("ledger/r*/*.json")).unlink()
    summary = run(spec)
    assert (summary["exit_status"], summary["done"]) == (0, summary["tiles"])
    [line] = summary["warnings"][len(before) :]
    now = versions()
    assert f"(numpy 1.0.0 → {now['numpy']}, GDAL 3.0.0 → {now['GDAL']})" in line
    assert line in json.loads(max((tmp_path / "out").glob("sessions/*.json")).read_text())["warnings"]
    written = tmp_path / "spec.json"
    written.write_text(json.dumps(spec))
    assert line in " ".join(command("run", written).err.split("\n"))
    assert json.loads(file.read_text())["warnings"] == before
