import numpy as np
import pytest
from pydantic import ValidationError

from eopipe.kernels.ovss.options import DenseOptions
from eopipe.kernels.ovss.taught_vocabulary import TaughtVocabulary
from eopipe.models.mini import words
from eopipe.models.mini.phrases import CONCEPTS

NAMES = [concept.name for concept in CONCEPTS]


def ask(prompts, **options):
    return TaughtVocabulary.read(DenseOptions(model="mini", prompts=prompts, **options))


def winners(vocabulary):
    """The class that wins where a pixel is all of one concept."""
    best = (words.concept_vectors() @ vocabulary.text.T).argmax(axis=1)
    return [vocabulary.names[vocabulary.query_class[query]] for query in best]


def test_who_asks_for_water_alone_gets_water_and_other():
    vocabulary = ask(["water"])
    assert vocabulary.names == ("water", "other")
    assert vocabulary.queries == ("water", *NAMES[1:])
    assert vocabulary.query_class == (0, *[1] * 8)
    assert vocabulary.background == 1
    assert vocabulary.text.shape == (9, 384)
    np.testing.assert_allclose(np.linalg.norm(vocabulary.text, axis=1), 1, rtol=1e-6)
    assert winners(vocabulary) == ["water", *["other"] * 8]
    last = vocabulary.classes()[-1]
    assert (last.code, last.name, last.colour, last.prompts) == (2, "other", "#dcdcdc", tuple(NAMES[1:]))
    assert vocabulary.weights == words.weights(["water"])


def test_words_that_were_not_taught_name_their_concepts():
    vocabulary = ask({"green": ["pine forest", "meadow"], "houses": None, "wet": ["lake", "river"]})
    assert not {"trees", "grass", "built area", "water"} & set(vocabulary.queries)
    assert winners(vocabulary) == ["wet", "green", "green", "other", "other", "other", "houses", "other", "other"]
    assert [note.means for note in vocabulary.notes] == ["trees", "grass", "built area", "water", "water"]
    assert all(note.known for note in vocabulary.notes)


def test_a_phrase_between_concepts_takes_both_and_an_unknown_one_takes_none():
    assert {"grass", "flooded vegetation"}.isdisjoint(ask(["vegetation"]).queries)
    vocabulary = ask(["airplane"])
    assert vocabulary.queries == ("airplane", *NAMES), "what nobody asked for stays other"
    assert set(winners(vocabulary)) == {"other"}
    [note] = vocabulary.notes
    assert not note.known
    assert note.warning.startswith("prompt 'airplane' is far from everything the model was taught: nearest ")
    assert f"cosine {note.cosine:.2f}, bound 0.50" in note.warning
    assert note.plain()["known"] is False


def test_all_concepts_asked_for_leave_other_to_the_threshold():
    vocabulary = ask(NAMES, threshold=0.3)
    assert vocabulary.names == (*NAMES, "other")
    assert vocabulary.queries == tuple(NAMES)
    assert vocabulary.background == 9
    assert winners(vocabulary) == NAMES


def test_the_background_may_be_a_prompt_or_none():
    assert ask(["water", "land"], background="land").background == 1
    vocabulary = ask(["water", "forest"], background="none")
    assert (vocabulary.background, vocabulary.names) == (None, ("water", "forest"))
    assert ask(["water", "other"], background="other").names == ("water", "other")


def test_classes_that_the_model_cannot_tell_apart_are_named():
    assert ask({"forest": ["forest", "woods"], "water": None}).alike() == []
    [line] = ask(["forest", "woodland", "water"]).alike()
    assert line.startswith("prompts 'forest', 'woodland' all mean 'trees'")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upsampler": "bilinear"}, "Extra inputs"),
        ({"background": "sky"}, "'sky' is no prompt; name one of water, or auto, or none"),
        ({"threshold": 0.2, "background": "none"}, "0.2 sends pixels to the background, and there is none"),
        ({"prompts": ["other", "water"]}, "'auto' adds a class 'other', and a prompt has that name"),
        ({"prompts": ["Other", "water"]}, "set background: Other"),
        (
            {"prompts": [f"p{number}" for number in range(254)]},
            "'other' to 254 prompts, and a label holds 254",
        ),
        ({"scale": 0}, "greater than 0"),
        ({"scale": 1e300}, "less than or equal to 1000"),
        ({"threshold": 2}, "less than or equal to 1"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValidationError, match=message):
        DenseOptions(**{"model": "mini", "prompts": ["water"], **options})
