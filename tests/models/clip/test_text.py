from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from eopipe.errors import SpecError
from eopipe.models import embedding_cache as cache
from eopipe.models.clip import text
from eopipe.models.clip.load import resolve_model
from eopipe.models.clip.seeded import TINY, write_seeded_model
from eopipe.models.clip.text import TextTower, embed, embed_name, imagenet_templates, tokenise
from tests.models.clip.golden import arrays, text_state
from tests.models.clip.test_vision import open_clip_model
from tests.support.paths import needs_shared

TWO = ("a photo of a {}.", "the {}")


@needs_shared
def test_every_golden_token():
    kept = arrays("clip_tokens")
    templates = [str(template) for template in kept["templates"]]
    found = np.concatenate([tokenise(str(word), templates).numpy() for word in kept["words"]])
    np.testing.assert_array_equal(found, kept["tokens"])


@needs_shared
def test_every_golden_embedding_and_ensemble():
    kept, words = arrays("clip_text_tiny"), arrays("clip_tokens")
    tower = TextTower(text_state(), 2, gelu="quick")
    raw = tower(torch.from_numpy(kept["tokens"]).long())
    np.testing.assert_allclose(raw.numpy(), kept["raw"], atol=1e-5, rtol=1e-4)
    templates = [str(template) for template in words["templates"]]
    ensembles = np.stack([embed_name(tower, tokenise(str(word), templates)) for word in words["words"]])
    np.testing.assert_allclose(ensembles, kept["query_features"], atol=1e-5, rtol=1e-4)


def test_the_templates_are_open_clips():
    templates = imagenet_templates()
    assert len(templates) == len(set(templates)) == 80
    assert templates[0] == "a bad photo of a {}."
    assert all(template.count("{}") == 1 for template in templates)
    with pytest.raises(AttributeError):
        _ = text.NO_SUCH_TEMPLATES


def test_the_tower_is_open_clips_own_though_it_stops_at_the_last_end():
    model, _, weights = open_clip_model(TINY, "quick")
    tokens = tokenise("parking lot", imagenet_templates())
    assert tokens.argmax(dim=1).max() < 40, "most of the context is empty"
    with torch.no_grad():
        wanted = model.encode_text(tokens)
    torch.testing.assert_close(TextTower(weights, 2, gelu="quick")(tokens), wanted, atol=2e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return resolve_model(write_seeded_model(tmp_path_factory.mktemp("clip") / "tiny", 3, **TINY))


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))


def test_a_name_is_embedded_once_and_alike_whatever_stands_beside_it(model, monkeypatch):
    found = embed(model, ["water", "tree", "water"], TWO)
    assert found.shape == (3, 32)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(found[0], found[2])
    assert len(list(cache.folder().iterdir())) == 2

    monkeypatch.setattr(text, "load_text_tower", None)
    np.testing.assert_array_equal(embed(model, ["tree"], TWO)[0], found[1])

    monkeypatch.undo()
    monkeypatch.setenv("EOPIPE_CACHE", str(cache.folder() / "elsewhere"))
    np.testing.assert_array_equal(embed(model, ["tree"], TWO)[0], found[1])


def test_what_an_embedding_depends_on_is_in_its_key(model):
    import dataclasses

    def key(made, templates=TWO, name="water"):
        return cache.key_of(text._depends_on(made, name, templates))

    keys = {
        key(model),
        key(model, TWO[:1]),
        key(model, name="river"),
        key(dataclasses.replace(model, gelu="exact")),
        key(dataclasses.replace(model, sha256="0" * 64)),
    }
    assert len(keys) == 5


def test_a_damaged_embedding_is_computed_again_with_a_warning(model, caplog):
    found = embed(model, ["water"], TWO)
    (file,) = cache.folder().iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-1], b"", whole[:40] + b"x" + whole[41:]):
        file.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "eopipe"):
            np.testing.assert_array_equal(embed(model, ["water"], TWO), found)
        assert "damaged" in caplog.text
        assert file.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_time_only(model, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "eopipe"):
        assert embed(model, ["water"], TWO).shape == (1, 32)
    assert "cannot be kept" in caplog.text


def test_the_cache_has_a_usual_place(monkeypatch, tmp_path):
    monkeypatch.delenv("EOPIPE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.folder() == tmp_path / "eopipe" / "text"


@pytest.mark.parametrize(
    ("names", "templates", "said"),
    [
        ([], TWO, "at least one name"),
        (["water", " "], TWO, "no empty one"),
        (["water"], [], "give sentences"),
        (["water"], ["a photo of water"], "has no {}"),
        (["water " * 80], TWO, "87 tokens, the model reads 77"),
    ],
)
def test_wrong_words_are_told(model, names, templates, said):
    with pytest.raises(SpecError) as caught:
        embed(model, names, templates)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_braces_in_a_name_are_words():
    assert torch.equal(tokenise("{0}", ["a {}"]), tokenise("a {0}", ["{}"]))
