"""The whole demo: from the package to the picture, as its users see it."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eopipe.demo import run as demo_run
from eopipe.engine.finish.validate import validate_run
from eopipe.spec import ClusterSpec, load_spec
from tests.support.command import eopipe
from tests.support.runs import CALIBRATION, records


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def _at_hand(client):
    """The run's own spec on workers that are there already, with a speed that is known: both take long to get."""
    patch = pytest.MonkeyPatch()
    current = ClusterSpec(kind="current")
    patch.setattr(demo_run, "load_spec", lambda path: load_spec(path).model_copy(update={"cluster": current}))
    patch.setattr("eopipe.engine.run.calibrate_on_worker", lambda *_, **__: CALIBRATION)
    patch.setattr("eopipe.engine.run.calibrate_in_process", lambda *_, **__: CALIBRATION)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def first(out, _at_hand):
    ended = eopipe("demo", "--scene", "sentinel-2", "--out", out, "--json")
    assert (ended.status, ended.err) == (0, "")
    (summary,) = ended.document["scenes"]
    return summary


def test_every_tile_is_mapped_and_areas_add_up(first):
    assert (first["tiles"], first["done"], first["exit_status"]) == (4, 4, 0)
    names, km2, shares = zip(*first["classes"], strict=True)
    assert {"forest", "bare ground"} <= set(names)
    assert sum(km2) == pytest.approx(9.0, rel=2e-3)  # the UTM scale there is 0.9996
    assert sum(shares) == pytest.approx(1, abs=1e-4)
    assert first["km2_per_hour"] > 0
    assert validate_run(first["output"]) == []


def test_the_spec_is_one_that_people_can_run(first):
    spec = load_spec(first["spec"])
    assert (spec.cluster.kind, spec.cluster.workers) == ("local", 2)
    planned = eopipe("plan", first["spec"], "--json")
    assert planned.status == 0
    assert planned.document["tiles"] == 4


def test_the_picture_shows_the_scene_beside_its_map(first):
    picture = np.asarray(Image.open(first["picture"]).convert("RGB"))
    alone = np.asarray(Image.open(first["quicklook"]).convert("RGB"))
    assert picture.shape[1] > alone.shape[1] + 400
    scene, legend = picture[120:600, 60:600], picture[120:600, -300:]
    assert len(np.unique(scene.reshape(-1, 3), axis=0)) > 10_000
    assert (legend == 252).mean() > 0.3


def test_the_same_words_resume_and_other_words_stand_beside(first, out):
    before = records(first["output"])
    again = eopipe("demo", "--scene", "sentinel-2", "--out", out)
    assert again.status == 0
    assert "all tiles are done already\n4 done of 4 tiles" in again.err
    assert "the scene comes without coordinates" in again.err
    assert records(first["output"]) == before
    look, spec, after, plan = again.out.splitlines()
    assert look.endswith(first["picture"])
    assert spec.endswith(first["spec"])
    assert after.endswith(f'eopipe demo --out {out} --prompts "pine forest; red soil; river"')
    assert plan.endswith(f"eopipe plan {first['spec']}")

    other = eopipe("demo", "--scene", "sentinel-2", "--out", out, "--prompts", "trees; soil: bare soil", "--json")
    (summary,) = other.document["scenes"]
    assert (other.status, summary["done"]) == (0, 4)
    assert Path(summary["output"]).parent == Path(first["output"]).parent
    assert {name for name, _, _ in summary["classes"]} <= {"trees", "soil", "other"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prompts", "a, b"), "eopipe: --prompts: 'a, b' may be 2 classes or one; write 'a; b'"),
        (("--scene", "mars"), "eopipe: --scene: there is no scene 'mars'; the scenes are sentinel-2"),
        (("--out", __file__), "cannot be the demo's folder (File exists); give another one with --out"),
    ],
)
def test_a_wrong_request_is_one_line(arguments, message):
    ended = eopipe("demo", *arguments)
    assert ended.status in {2, 4}
    assert message in ended.line
    assert ended.out == ""
