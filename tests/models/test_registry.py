from __future__ import annotations

import hashlib
import logging

import pytest

from eopipe.errors import WeightsError
from eopipe.models import weights
from eopipe.models.clip.entries import CLIP_ENTRIES
from eopipe.models.clip.load import resolve_model
from eopipe.models.registry import ANYUP, JBU_ONE, JBU_STACK, MODELS, get_model, listing
from eopipe.models.registry_entry import (
    NO_LICENCE,
    ClassifierEntry,
    ClipEntry,
    DenseEntry,
    FoundationEntry,
    UpsamplerEntry,
)
from eopipe.models.weights import WeightsEntry, find, locate
from tests.support.paths import needs_shared, shared


def test_every_model_is_complete():
    for name, entry in MODELS.items():
        assert name == entry.name
        assert entry.licence
        assert entry.citation
        assert entry.weights.origin
        assert entry.weights.sha256 is None or len(entry.weights.sha256) == 64
        if isinstance(entry, ClassifierEntry | DenseEntry):
            assert len(entry.bands) == len(entry.mean) == len(entry.std)
    assert len(MODELS) == len({entry.name for entry in MODELS.values()})
    kinds = {ClassifierEntry, ClipEntry, DenseEntry, FoundationEntry, UpsamplerEntry}
    assert {type(entry) for entry in MODELS.values()} == kinds
    assert get_model("dynamic-world").weights.sha256
    with pytest.raises(WeightsError, match="dynamic-world"):
        get_model("dynamic-word")


def test_the_entries_agree_with_open_clips_table():
    from open_clip.pretrained import get_pretrained_cfg

    tagged = [entry for entry in CLIP_ENTRIES if "/" in entry.name]
    assert len(tagged) >= 15
    for entry in tagged:
        known = get_pretrained_cfg(*entry.name.split("/"))
        assert known["hf_hub"].rstrip("/") == entry.weights.hub, entry.name
        assert (tuple(known["mean"]), tuple(known["std"])) == (entry.mean, entry.std), entry.name
        assert known.get("quick_gelu", False) == (entry.gelu == "quick"), entry.name


def test_every_clip_can_be_served_and_is_as_large_as_its_entry_says(tmp_path):
    file = tmp_path / "any"
    file.write_bytes(b"any")
    for entry in CLIP_ENTRIES:
        model = resolve_model(entry.name, checkpoint=str(file))
        assert (model.architecture.patch, model.architecture.width) == (entry.patch, entry.width), entry.name
        assert model.gelu == entry.gelu


def test_the_sar_entry_is_what_its_authors_publish():
    entry = get_model("AlignEarth-SAR-ViT-B-16")
    assert isinstance(entry, ClipEntry)
    assert (entry.modality, entry.gelu) == ("sar", "exact")
    assert (entry.attention.kind, entry.attention.last) == ("SCLIP", 2)
    assert entry.licence == NO_LICENCE
    optical = get_model("ViT-B-16/openai")
    assert isinstance(optical, ClipEntry)
    assert (optical.modality, optical.gelu) == ("optical", "quick")
    assert (optical.attention.kind, optical.attention.last) == ("SegEarth", 1)


@needs_shared
@pytest.mark.parametrize("entry", [ANYUP, JBU_STACK], ids=lambda entry: entry.name)
def test_the_upsamplers_at_hand_are_the_ones_meant(monkeypatch, entry):
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(shared() / "weights"))
    assert locate(entry.weights).stat().st_size == entry.weights.size


def test_a_model_that_cannot_be_fetched_says_what_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match=r"simfeatup/xclip_jbu_one_million_aid\.ckpt into") as caught:
        locate(JBU_ONE.weights)
    assert str(tmp_path) in str(caught.value)


HUB = WeightsEntry(
    name="toy", file="org/toy/a.safetensors", others=("org/toy/b.bin",), licence="MIT", origin="hub", hub="org/toy"
)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty hub cache, and a hub that cannot be asked."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("EOPIPE_WEIGHTS", raising=False)
    return tmp_path / "hub"


def kept(hub, content, *, name="b.bin", stated=None):
    """Put a file into the hub's cache as the hub's library does: a link to a blob named by its sha256."""
    folder = hub / "models--org--toy"
    for part in ("blobs", "refs", "snapshots/abc"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("abc")
    blob = folder / "blobs" / (stated or hashlib.sha256(content).hexdigest())
    blob.write_bytes(content)
    (folder / "snapshots" / "abc" / name).symlink_to(blob)
    return folder / "snapshots" / "abc" / name


def test_offline_the_error_names_the_file_and_the_folder(hub, caplog):
    with caplog.at_level(logging.WARNING), pytest.raises(WeightsError) as caught:
        locate(HUB)
    said = str(caught.value)
    assert "\n" not in said
    for part in ("org/toy/a.safetensors", "EOPIPE_WEIGHTS", "no connection", "huggingface.co/org/toy"):
        assert part in said
    assert not caplog.records


def test_what_the_hub_gave_before_is_not_fetched_again(hub, monkeypatch):
    path = kept(hub, b"weights")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", None)
    assert find(HUB) == path
    assert locate(HUB) == path


def test_a_damaged_file_of_the_hub_is_refused(hub):
    kept(hub, b"damaged", stated=hashlib.sha256(b"weights").hexdigest())
    with pytest.raises(WeightsError, match="damaged"):
        locate(HUB)


def test_the_second_file_is_asked_for_where_the_first_is_not_on_the_hub(hub, monkeypatch, tmp_path):
    from huggingface_hub.errors import EntryNotFoundError

    asked = []

    def download(repo, file, *, revision=None):
        asked.append((repo, file))
        if file == "a.safetensors":
            raise EntryNotFoundError("404")
        (tmp_path / file).write_bytes(b"weights")
        return str(tmp_path / file)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert locate(HUB) == tmp_path / "b.bin"
    assert asked == [("org/toy", "a.safetensors"), ("org/toy", "b.bin")]


def test_a_hub_that_refuses_is_told_in_one_line(hub, monkeypatch):
    def download(repo, file, *, revision=None):
        raise RuntimeError("401\nUnauthorized")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(WeightsError, match="RuntimeError: 401 Unauthorized"):
        locate(HUB)


def test_the_listing_says_what_is_here_and_how_to_get_the_rest(monkeypatch, tmp_path):
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    rows = {row["name"]: row for row in listing()}
    assert rows.keys() == MODELS.keys()
    assert rows["dynamic-world"]["here"]
    assert not rows["ViT-B-16/openai"]["here"]
    assert "fetched at the first use" in rows["ViT-B-16/openai"]["get"]
    assert rows["AlignEarth-SAR-ViT-B-16"]["get"].startswith("put checkpoint/AlignEarth-SAR-ViT-B-16.pt into")
    file = tmp_path / "checkpoint" / "AlignEarth-SAR-ViT-B-16.safetensors"
    file.parent.mkdir()
    file.write_bytes(b"any")
    (row,) = (row for row in listing() if row.get("modality") == "sar")
    assert row["here"]
    assert row["path"] == str(file)


def test_a_file_is_hashed_once(monkeypatch, tmp_path):
    file = tmp_path / "big"
    file.write_bytes(b"big")
    first = weights.sha256_of(file)
    monkeypatch.setattr(weights.hashlib, "file_digest", None)
    assert weights.sha256_of(file) == first
