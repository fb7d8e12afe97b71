import pytest
from pydantic import ValidationError

from eopipe.errors import PlanError
from eopipe.kernels.ovss.options import OvssOptions
from eopipe.kernels.ovss.picture import normalise, optical_picture, stretch_of
from eopipe.kernels.ovss.prompts import Vocabulary, parse_prompts, parse_text


def test_codes_follow_the_order_and_synonyms_their_class():
    options = OvssOptions(model="m", prompts={"water": ["water", "river"], "forest": None, "built": "a  house"})
    vocabulary = options.vocabulary
    assert vocabulary.queries == ("water", "river", "forest", "a house")
    assert vocabulary.query_class == (0, 0, 1, 2)
    classes = vocabulary.classes()
    assert [(info.code, info.name) for info in classes] == [(1, "water"), (2, "forest"), (3, "built")]
    assert len({info.colour for info in classes}) == 3
    assert classes[0].colour == "#419bdf"


def test_a_frozen_run_keeps_the_order():
    options = OvssOptions(model="m", prompts={"z": None, "a": ["b", "c"]}, threshold=0.3, background="z")
    again = OvssOptions.model_validate(options.complete())
    assert again == options
    assert again.vocabulary.names == ("z", "a")


def test_a_kind_of_a_known_thing_has_its_colour_unless_the_thing_is_named_too():
    def colours(*names):
        return [info.colour for info in Vocabulary(names, tuple((name,) for name in names)).classes()]

    assert colours("Pine Forest", "red soil", "river") == colours("forest", "soil", "river")
    pine, forest, oak = colours("pine forest", "forest", "oak forest")
    assert forest == colours("forest")[0]
    assert len({pine, forest, oak}) == 3
    assert colours("pine forest", "oak forest")[0] == forest


def test_two_hundred_classes_have_colours_of_their_own():
    names = tuple(f"class {number}" for number in range(200))
    assert len({info.colour for info in Vocabulary(names, tuple((name,) for name in names)).classes()}) == 200


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "no prompt"),
        ("water", "names with their synonyms"),
        ({"water": ["river"], "lake": ["river"]}, "'river' stands twice"),
        ({"water": ["river", " "]}, "empty phrase"),
        ({str(number): None for number in range(255)}, "255 classes"),
        ({"a\ud800b": None}, "no name of a class"),
        ({"water": ["a\ud800b"]}, "is no phrase"),
    ],
)
def test_wrong_prompts_are_one_line(prompts, message):
    with pytest.raises(ValueError, match=message):
        parse_prompts(prompts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"background": "sky"}, "'sky' is no prompt"),
        ({"background": "auto"}, "taught vocabulary"),
        ({"threshold": 0.3}, "there is none"),
        ({"stretch": [0.3, 0.1]}, "must rise"),
        ({"templates": ["a photo"]}, "no place for the phrase"),
        ({"scale": 0}, "greater than 0"),
        ({"sha256": "abc"}, "pattern"),
        ({"features": {"pca": 0}}, "greater than or equal to 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValidationError, match=message):
        OvssOptions(model="m", prompts={"water": None}, **options)


def test_prompts_as_people_type_them():
    assert parse_text("water: river, lake; pine forest;") == {
        "water": ["river", "lake"],
        "pine forest": ["pine forest"],
    }


def test_one_stretch_a_sensor():
    assert stretch_of(["Sentinel-2"]) == (0.0, 0.3558)
    with pytest.raises(PlanError, match="stretch"):
        stretch_of(["Sentinel-2", "NAIP"])
    with pytest.raises(PlanError, match="MyCam"):
        stretch_of(["MyCam"])
    with pytest.raises(PlanError, match="no sensor"):
        stretch_of([])


def test_the_picture_is_clipped_and_invalid_pixels_are_the_mean():
    import numpy as np

    pixels = np.array([-5, 0, 1779, 3558, 9999], np.float32) * np.ones((3, 1, 1), np.float32)
    picture = optical_picture(pixels, stretch=(0.0, 0.3558))
    np.testing.assert_allclose(picture[0, 0], [0, 0, 0.5, 1, 1], atol=1e-6)
    valid = np.array([[True, True, True, True, False]])
    normal = normalise(picture, valid, mean=(0.5, 0.25, 0), std=(0.5, 0.25, 1))
    np.testing.assert_allclose(normal[:, 0, 2], [0, 1, 0.5], atol=1e-6)
    assert (normal[:, 0, 4] == 0).all()
