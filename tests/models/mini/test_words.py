"""What mini makes of words: the shipped table, the sentence encoder behind it, and the lists it is judged by."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from eopipe.errors import SpecError, WeightsError
from eopipe.models.mini import minilm, words
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.registry import DYNAMIC_WORLD
from eopipe.models.weights import find
from eopipe.training import heldout, mini_words

TAUGHT = [phrase for concept in CONCEPTS for phrase in concept.phrases]
FOREST = (0.0764150, -0.0636074, -0.0227972, 0.0727466)
needs_encoder = pytest.mark.skipif(find(minilm.WEIGHTS) is None, reason="eopipe[mini] is not installed")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def _no_encoder(monkeypatch):
    monkeypatch.setattr(minilm, "find", lambda _entry: None)


def flat(lists):
    return [(phrase, key) for key, phrases in lists.items() for phrase in phrases]


def test_the_lists_are_many_apart_and_never_taught():
    keys = [concept.key for concept in CONCEPTS]
    assert keys == list(DYNAMIC_WORLD.classes) == list(heldout.CLOSE) == list(heldout.CLOSE_TO_CHOOSE)
    assert all(10 <= len(concept.phrases) <= 25 for concept in CONCEPTS)
    assert all(len(phrases) >= 6 for phrases in heldout.CLOSE.values())
    lists = [
        TAUGHT,
        [phrase for phrase, _ in flat(heldout.CLOSE)],
        [phrase for phrase, _ in flat(heldout.CLOSE_TO_CHOOSE)],
        heldout.UNRELATED,
        heldout.UNRELATED_TO_CHOOSE,
    ]
    every = [phrase for phrases in lists for phrase in phrases]
    assert len(every) == len(set(every))
    assert all(len(phrases) >= 60 for phrases in lists)
    inside = [(held, said) for held in lists[1] for said in TAUGHT if re.search(rf"\b{re.escape(held)}\b", said)]
    assert inside == []


def test_what_the_model_card_says_of_words_it_was_not_taught():
    found = dict(zip(lists := flat(heldout.CLOSE), words.nearest([phrase for phrase, _ in lists]), strict=True))
    assert len(found) == 73
    assert sum(near.concept == key for (_, key), near in found.items()) == 64
    assert sum(near.known for near in found.values()) == 66
    unrelated = words.nearest(heldout.UNRELATED)
    assert (len(unrelated), sum(not near.known for near in unrelated)) == (70, 64)
    for phrase in ("lake", "pine forest", "woodland", "farm fields", "houses", "river", "red soil", "a lake"):
        near = next(near for (asked, _), near in found.items() if asked == phrase)
        assert near.known, phrase
        assert near.concept == next(key for asked, key in found if asked == phrase)
    assert not any(near.known for near in words.nearest(["airplane", "solar panel", "happy birthday"]))


def test_every_name_means_its_own_concept():
    near = words.nearest([concept.name for concept in CONCEPTS])
    assert [found.concept for found in near] == [concept.key for concept in CONCEPTS]
    assert all(found.cosine == pytest.approx(1, abs=1e-3) and found.taught == found.phrase for found in near)
    np.testing.assert_array_equal(words.shares(TAUGHT[:20]).sum(axis=1).round(5), 1)
    scores = words.concept_vectors() @ words.read([concept.name for concept in CONCEPTS]).T
    assert (scores.argmax(axis=0) == scores.argmax(axis=1)).all()
    assert (scores.argmax(axis=0) == range(9)).all()


@pytest.mark.usefixtures("_no_encoder")
def test_case_and_spaces_mean_nothing_and_the_table_needs_no_encoder():
    found = words.embed(["pine forest", "  Pine \n FOREST ", "pine forest"])
    assert found.shape == (3, 384)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    assert words.weights(["pine forest"]) == {words.WORDS.file: words.WORDS.sha256}
    assert words.weights(["pine forest", "an uncommon phrase"]).keys() == {
        words.WORDS.file, minilm.WEIGHTS.file, minilm.TOKENS.file,
    }  # fmt: skip


@pytest.mark.usefixtures("_no_encoder")
def test_a_phrase_that_no_table_has_says_what_to_install():
    with pytest.raises(WeightsError, match=r"^'blue cheese mine' is not in the shipped table.*'eopipe\[mini\]'$"):
        words.embed(["water", "blue cheese mine"])


@needs_encoder
def test_table_and_encoder_agree_and_what_was_embedded_is_kept(monkeypatch):
    phrases = ["water", "shrub and scrub", "snow-covered mountains", "happy birthday"]
    encoder = minilm.load_minilm(phrases)
    live = np.stack([encoder(phrase).numpy() for phrase in phrases])
    np.testing.assert_allclose(words.embed(phrases), live, atol=1e-3)
    # as sentence-transformers 6.2 gives them
    np.testing.assert_allclose(encoder("pine forest")[:4].numpy(), FOREST, atol=1e-6)

    asked = "a small red house by the river"
    fresh = words.embed([asked])
    np.testing.assert_allclose(fresh[0], encoder(asked).numpy(), atol=1e-3)
    monkeypatch.setattr(minilm, "load_minilm", None)
    np.testing.assert_array_equal(words.embed([asked.upper()]), fresh)
    with pytest.raises(SpecError, match=r"^prompt 'tree tree.*302 tokens, the model reads 256"):
        encoder("tree " * 300)


@needs_encoder
def test_a_sentence_encoder_that_is_another_is_refused(monkeypatch, tmp_path):
    path = tmp_path / minilm.WEIGHTS.file
    path.parent.mkdir()
    path.write_bytes(b"another")
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"are not all-MiniLM-L6-v2.*expected sha256 53aa5"):
        minilm.load_minilm(["x"])


def test_the_table_is_made_as_it_ships(monkeypatch, tmp_path):
    monkeypatch.setattr(mini_words, "table_phrases", lambda: tuple(TAUGHT))
    monkeypatch.setattr(
        mini_words.minilm, "load_minilm", lambda _said: lambda phrase: torch.from_numpy(words.embed([phrase])[0])
    )
    written = mini_words.write_table(tmp_path / "words.safetensors")
    assert written.phrases == len(TAUGHT)
    assert written == mini_words.write_table(tmp_path / "words.safetensors")
    monkeypatch.setattr(words, "locate", lambda _entry: tmp_path / "words.safetensors")
    shipped = words.load_table()
    words.load_table.cache_clear()
    try:
        made = words.load_table()
    finally:
        words.load_table.cache_clear()
    np.testing.assert_allclose(made.directions, shipped.directions, atol=1e-4)
    np.testing.assert_array_equal(made.vectors[5], shipped.vectors[shipped.rows[TAUGHT[5]]])


def test_the_shipped_table_has_every_phrase_and_is_small():
    assert set(mini_words.table_phrases()) == set(words.load_table().rows)
    assert Path(find(words.WORDS)).stat().st_size == words.WORDS.size < 2**20


def test_a_damaged_table_is_named(monkeypatch, tmp_path):
    path = tmp_path / "words.safetensors"
    path.write_bytes(b"no table")
    monkeypatch.setattr(words, "locate", lambda _entry: path)
    words.load_table.cache_clear()
    try:
        with pytest.raises(WeightsError, match="are no table of words"):
            words.embed(["water"])
    finally:
        words.load_table.cache_clear()
