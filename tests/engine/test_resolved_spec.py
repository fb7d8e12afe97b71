"""Options that the search decides: a stretch for the sensor that was found, frozen like a measured precision."""

import json

import pytest

import eopipe
from eopipe.engine.plan.open import open_run
from eopipe.engine.plan.resolved_spec import sensors_of
from eopipe.errors import PlanError
from eopipe.spec import parse_spec, resolve_now
from tests.support.paths import needs_shared, shared
from tests.support.runs import pisa, run

SMALL = [10.39, 43.70, 10.395, 43.705]
pytestmark = needs_shared


def opened(folder, **changes):
    spec = parse_spec(pisa(folder, kernel={"name": "overlapping", **changes}, area=SMALL))
    return open_run(spec, now=resolve_now(None), allow_empty=False)


def test_the_sensor_decides_and_a_line_says_so(overlapping, tmp_path):
    resolved = opened(tmp_path / "out")
    assert sensors_of(resolved.snapshot) == ("Sentinel-2",)
    assert resolved.job.kernel.info.options["stretch"] == "optical"
    assert "stretch auto: optical was taken for Sentinel-2" in resolved.warnings


def test_what_the_spec_says_stays(overlapping, tmp_path):
    resolved = opened(tmp_path / "out", stretch="landsat")
    assert resolved.job.kernel.info.options["stretch"] == "landsat"
    assert resolved.warnings == ()


def test_it_is_frozen_with_the_run(overlapping, threads, tmp_path):
    spec = pisa(tmp_path / "out", kernel={"name": "overlapping"}, area=SMALL)
    assert run(spec)["exit_status"] == 0
    document = json.loads((tmp_path / "out/run.json").read_text())
    assert document["resolved"]["kernel"]["stretch"] == "optical"
    assert document["recipe"]["kernel"]["options"]["stretch"] == "optical"
    assert "stretch" not in document["spec"]["kernel"]
    assert run(spec)["exit_status"] == 0


def test_two_sensors_are_one_clear_line(overlapping, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "eopipe.engine.plan.resolved_spec.sensors_of", lambda _: ("Landsat 8 Collection 1 level 1", "Sentinel-2")
    )
    with pytest.raises(PlanError, match=r"kernel\.stretch: auto, and Landsat .* differ; say one of landsat, optical"):
        opened(tmp_path / "out")


def test_a_notebook_settles_as_a_run_does(overlapping):
    catalog = str(shared() / "data/sentinel2-oscd/collection.json")
    snapshot, _ = eopipe.search(catalog=catalog, area=SMALL, datetime="2015-07")
    bound = eopipe.kernel("overlapping").settled(snapshot)
    assert bound.options == {"stretch": "optical"}
