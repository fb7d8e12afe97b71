"""The figures of the weights that ship, computed again.

On scenes that they never saw, by the teacher's labels, and on labels that people drew.

What is asserted is the issue's floor, or a figure of the model card with room for another processor.
"""

from statistics import mean

import numpy as np
import pytest
import rasterio

from eopipe.models.mini.runner import load_mini
from eopipe.models.registry import MINI
from eopipe.training.evaluate import MiniModel, Space, judge, teacher_weights
from eopipe.training.report import AIRLESS, wordings
from eopipe.training.scenes import load_scenes
from tests.support.paths import needs_shared, shared

pytestmark = needs_shared

LEFT_OUT = ("pisa", "mumbai", "norcia")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    source = shared() / "data/sentinel2-oscd/collection.json"
    return load_scenes(source, tmp_path_factory.mktemp("scenes"), lambda _: None, only=LEFT_OUT)


@pytest.fixture(scope="module")
def figures(scenes):
    student = MiniModel(load_mini(MINI), MINI.bands)
    return judge(scenes, student, wordings=wordings(), space=Space.shipped(MINI.sharpness))


def unseen(found, key):
    return mean(one[key] for name, one in found.items() if name.startswith("unseen"))


def test_the_left_out_cities_are_both_dates_of_three(scenes):
    assert len(scenes) == 6


@pytest.mark.slow
def test_by_name_it_agrees_with_the_teacher_on_cities_it_never_saw(figures):
    assert figures["names"]["accuracy"] >= 0.80
    assert figures["names"]["miou"] >= 0.50


@pytest.mark.slow
def test_words_never_taught_cost_little(figures):
    assert unseen(figures, "accuracy") >= figures["names"]["accuracy"] - 0.05
    assert unseen(figures, "miou") >= figures["names"]["miou"] - 0.05


@pytest.mark.slow
def test_the_baseline_without_training_loses_far_more_by_such_words(scenes, figures):
    """It is the teacher itself, with all nine bands: what it lacks is the way from words to classes."""
    baseline = judge(scenes, teacher_weights, wordings=wordings(), space=Space.plain())
    assert baseline["names"]["accuracy"] > figures["names"]["accuracy"]
    for key in ("accuracy", "miou"):
        assert unseen(baseline, key) < unseen(figures, key) - 0.1


@pytest.mark.slow
def test_without_the_air_it_maps_nearly_as_well(scenes):
    """As on surface reflectance, which the teacher was not made for."""
    student = MiniModel(load_mini(MINI), MINI.bands, AIRLESS)
    names = {"names": wordings()["names"]}
    found = judge(scenes, student, wordings=names, space=Space.shipped(MINI.sharpness))["names"]
    assert found["accuracy"] >= 0.70
    assert found["miou"] >= 0.40


def test_water_that_people_drew():
    """Sen1Floods11, a flood in Spain; the label is of water on the day, muddy fields included."""
    folder = shared() / "data/sar/sen1floods11_west"
    with rasterio.open(folder / "Spain_7370579_west_S2Hand.tif") as file:
        dn = file.read([2, 3, 4, 8]).astype(np.float32)
    with rasterio.open(folder / "Spain_7370579_west_LabelHand.tif") as file:
        label = file.read(1)
    weights = load_mini(MINI).concepts(dn, np.ones(label.shape, bool), crop=0)
    water, truth, known = weights.argmax(axis=0) == 0, label == 1, label >= 0
    both, either = (water & truth & known).sum(), ((water | truth) & known).sum()
    assert both / either >= 0.45
    assert both / (water & known).sum() >= 0.65
