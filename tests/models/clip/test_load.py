from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from eopipe.errors import WeightsError
from eopipe.models.clip.architecture import AttentionSettings
from eopipe.models.clip.entries import INCEPTION, OPENAI
from eopipe.models.clip.load import load_encoder, resolve_model
from eopipe.models.clip.seeded import TINY, write_seeded_model
from eopipe.models.clip.text import load_text_tower

SEGEARTH = AttentionSettings("SegEarth")


@pytest.fixture
def folder(tmp_path):
    write_seeded_model(tmp_path / "tiny", 3, **TINY)
    return tmp_path / "tiny"


def change(folder, rewrite):
    file = folder / "open_clip_model.safetensors"
    tensors = load_file(file)
    rewrite(tensors)
    save_file(tensors, file)


def test_a_folder_with_open_clips_two_files(folder):
    model = resolve_model(f"local-dir:{folder}")
    assert (model.entry.patch, model.entry.width, model.gelu) == (16, 32, "quick")
    assert model.entry.mean == OPENAI[0]
    assert model.sha256 == hashlib.sha256(model.path.read_bytes()).hexdigest()
    assert model.weights == {"open_clip_model.safetensors": model.sha256}
    assert json.loads(json.dumps(model.provenance))["architecture"]["image"]["layers"] == 3
    assert str(folder) not in json.dumps(model.provenance | {"model": ""})
    encoder = load_encoder(model, attention=SEGEARTH)
    assert encoder(torch.zeros(1, 3, 224, 224)).patches.shape == (1, 32, 14, 14)
    assert load_text_tower(model).width == 32


def test_the_configuration_says_the_colours_and_the_gelu(folder):
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["preprocess_cfg"] = {"mean": INCEPTION[0], "std": INCEPTION[1]}
    config["model_cfg"]["quick_gelu"] = False
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    model = resolve_model(f"local-dir:{folder}")
    assert (model.entry.mean, model.entry.std) == INCEPTION
    assert model.gelu == "exact"
    assert resolve_model(f"local-dir:{folder}", gelu="quick").gelu == "quick"
    with pytest.raises(WeightsError, match="choose quick or exact"):
        resolve_model(f"local-dir:{folder}", gelu="fast")


def test_the_first_use_tells_the_sha256_and_a_pin_is_held(folder):
    name = f"local-dir:{folder}"
    model = resolve_model(name)
    (note,) = model.notes
    assert f"sha256: {model.sha256}" in note
    assert resolve_model(name, sha256=model.sha256).notes == ()
    with pytest.raises(WeightsError) as caught:
        resolve_model(name, sha256="0" * 64)
    assert model.sha256 in str(caught.value)
    assert "0" * 64 in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_repository_of_the_hub_in_the_users_folder(folder, monkeypatch, tmp_path):
    target = tmp_path / "weights" / "org" / "name"
    target.parent.mkdir(parents=True)
    folder.rename(target)
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path / "weights"))
    model = resolve_model("hf-hub:org/name")
    assert model.path == target / "open_clip_model.safetensors"
    assert load_encoder(model, attention=SEGEARTH).width == 32


def test_an_entry_with_the_users_own_file(folder, tmp_path):
    file = folder / "open_clip_model.safetensors"
    model = resolve_model("AlignEarth-SAR-ViT-B-16", checkpoint=str(file))
    assert (model.path, model.entry.modality, model.gelu) == (file, "sar", "exact")
    assert model.notes
    with pytest.raises(WeightsError, match=r"unknown|missing|expected"):
        load_encoder(model, attention=SEGEARTH)
    with pytest.raises(WeightsError, match="there is no file"):
        resolve_model("ViT-B-16", checkpoint=str(tmp_path / "nowhere.pt"))


@pytest.mark.parametrize(
    ("rewrite", "said"),
    [
        (lambda t: t.pop("visual.proj"), "1 missing, such as proj"),
        (lambda t: t.update({"visual.extra": torch.zeros(1)}), "1 unknown, such as visual.extra"),
        (lambda t: t.update({"visual.proj": torch.zeros(64, 16)}), "visual.proj is 64 × 16, expected 64 × 32"),  # noqa: RUF001
        (lambda t: [t.update({f"vision_model.{n}": t.pop(n)}) for n in list(t)], "transformers library"),
        (lambda t: [t.update({f"other.{n}": t.pop(n)}) for n in list(t)], "no visual.conv1.weight"),
    ],
)
def test_an_image_tower_is_whole_or_refused(folder, rewrite, said):
    change(folder, rewrite)
    with pytest.raises(WeightsError) as caught:
        load_encoder(resolve_model(f"local-dir:{folder}"), attention=SEGEARTH)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_tower_is_whole_or_refused_and_harmless_extras_pass(folder):
    harmless = {"logit_scale": torch.ones([]), "input_resolution": torch.ones([]), "context_length": torch.ones([])}
    change(folder, lambda t: t.update(harmless))
    assert load_text_tower(resolve_model(f"local-dir:{folder}")).width == 32
    change(folder, lambda t: [t.update({f"text.{n}": t.pop(n)}) for n in list(t) if not n.startswith("visual.")])
    assert load_text_tower(resolve_model(f"local-dir:{folder}")).width == 32
    change(folder, lambda t: t.update({"decoder.weight": torch.zeros(1)}))
    with pytest.raises(WeightsError, match=r"text tower: 1 unknown, such as decoder\.weight"):
        load_text_tower(resolve_model(f"local-dir:{folder}"))


def test_openais_own_file_is_refused_by_the_one_to_use(tmp_path):
    import zipfile

    file = tmp_path / "ViT-B-16.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/constants.pkl", b"")
    model = resolve_model("ViT-B-16/openai", checkpoint=str(file))
    with pytest.raises(WeightsError) as caught:
        load_encoder(model, attention=SEGEARTH)
    wanted = "open_clip_model.safetensors of huggingface.co/timm/vit_base_patch16_clip_224.openai"
    assert wanted in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("coca_ViT-B-32", "multimodal_cfg"),
        ("ViT-B-16-SigLIP", "timm_model_name"),
        ("RN50", "a ResNet"),
        ("ViT-L-14-CLIPA", "no_ln_pre"),
        ("roberta-ViT-B-32", "hf_model_name"),
        ("ViT-B-16/no_such_tag", "laion2b_s34b_b88k"),
        ("ViT-B-17", "no model 'ViT-B-17'"),
        ("dynamic-world", "is no CLIP"),
        ("hf-hub:name", "hf-hub:ORG/NAME"),
        ("local-dir:/no/such/folder", "open_clip_config.json"),
    ],
)
def test_models_that_cannot_be_served_say_why(tmp_path, name, said):
    file = tmp_path / "any"
    file.write_bytes(b"any")
    with pytest.raises(WeightsError) as caught:
        resolve_model(name, checkpoint=str(file))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_architecture_alone_has_no_weights():
    with pytest.raises(WeightsError, match="add checkpoint"):
        resolve_model("ViT-B-16")


def test_other_tags_of_open_clip_are_known(tmp_path):
    file = tmp_path / "any"
    file.write_bytes(b"any")
    model = resolve_model("ViT-B-32/laion400m_e31", checkpoint=str(file))
    assert model.gelu == "quick"
    assert model.entry.weights.hub == "timm/vit_base_patch32_clip_224.laion400m_e31"
    assert resolve_model("ViT-B-16-quickgelu", checkpoint=str(file)).gelu == "quick"


def test_more_blocks_than_the_tower_has(folder):
    with pytest.raises(WeightsError, match="last_layers: 9"):
        load_encoder(resolve_model(f"local-dir:{folder}"), attention=AttentionSettings("SCLIP", last=9))


def test_a_configuration_that_is_none(folder):
    (folder / "open_clip_config.json").write_text("[]")
    with pytest.raises(WeightsError, match="no configuration of open_clip"):
        resolve_model(f"local-dir:{folder}")


def test_to_find_a_model_imports_neither_open_clip_nor_torch():
    code = (
        "import sys; from eopipe.models.registry import listing; from eopipe.models.clip import load; listing(); "
        "load._configs(); assert not {'open_clip', 'torch'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_an_architecture_of_open_clip_by_its_file(tmp_path):
    """As a user does it: open_clip's own model, its weights in a file, its architecture by name."""
    import open_clip

    torch.manual_seed(4)
    theirs = open_clip.create_model("ViT-S-32-alt", pretrained=None).eval()
    save_file({name: tensor.contiguous() for name, tensor in theirs.state_dict().items()}, tmp_path / "s.safetensors")
    model = resolve_model("ViT-S-32-alt", checkpoint=str(tmp_path / "s.safetensors"))
    picture = torch.randn(1, 3, 224, 224)
    encoder = load_encoder(model, attention=AttentionSettings("vanilla", ignore_residual=False))
    with torch.no_grad():
        torch.testing.assert_close(encoder(picture).cls, theirs.encode_image(picture), atol=1e-5, rtol=1e-4)
        tokens = open_clip.get_tokenizer("ViT-S-32-alt")(["a photo of a road.", "water"])
        torch.testing.assert_close(load_text_tower(model)(tokens), theirs.encode_text(tokens), atol=1e-5, rtol=1e-4)
