from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from eopipe.errors import PlanError, WeightsError
from eopipe.models.foundation import resolve as module
from eopipe.models.foundation.entries import FOUNDATION_ENTRIES
from eopipe.models.foundation.features import FeatureModel
from eopipe.models.foundation.memory import work
from eopipe.models.foundation.resolve import is_foundation, resolve
from eopipe.models.foundation.transformers_net import Net
from eopipe.models.registry import get_model, listing
from eopipe.models.registry_entry import FoundationEntry
from tests.models.foundation import tiny


@pytest.fixture
def folder(names, tmp_path):
    """A copy of the ViT's folder."""
    return Path(shutil.copytree(names["vit"].removeprefix("local-dir:"), tmp_path / "own"))


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.delenv("EOPIPE_WEIGHTS", raising=False)
    return tmp_path / "hub"


def refused(name, kind=None, error=WeightsError):
    with pytest.raises(error) as caught:
        resolve(name, kind)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def load(name, kind="features"):
    return Net(resolve(name, kind), kind, device="cpu", threads=1)


def change_config(folder, **values):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def change_tensors(folder, rewrite):
    tensors = load_file(folder / "model.safetensors")
    rewrite(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_a_folder_is_found_hashed_and_described(folder):
    model = resolve(f"local-dir:{folder}", "features")
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ("config.json", "model.safetensors")}  # noqa: E501  # fmt: skip
    assert model.weights == {f"vit/{name}": found for name, found in files.items()}
    assert (model.entry.patch, model.entry.width) == (8, 32)
    assert model.size == sum(4 * each.numel() for each in load_file(folder / "model.safetensors").values())
    said = json.dumps(model.provenance)
    assert str(folder) not in said
    assert files["model.safetensors"] in said
    assert model.places == (model.name,)
    (note,) = model.notes
    assert "no source states the sha256" in note
    assert pickle.loads(pickle.dumps(model)) == model


def test_a_detectors_tokens_and_pictures_are_part_of_it(names):
    model = resolve(names["mm-grounding"], "boxes")
    assert set(model.sha256) == {"config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"}
    assert model.sides == (96, 160)


def test_nothing_heavy_is_imported_to_plan(folder):
    code = (
        "import sys; from eopipe.models.foundation.resolve import resolve;"
        "from eopipe.models.foundation.memory import work;"
        f"model = resolve('local-dir:{folder}'); work(model, 'features', 512);"
        "print({'transformers', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "set()"


def test_the_registry_knows_them_by_name_and_says_how_to_get_them(offline, monkeypatch, tmp_path):
    rows = {row["name"]: row for row in listing()}
    for entry in FOUNDATION_ENTRIES:
        assert get_model(entry.name) is entry
        assert is_foundation(entry.name)
        row = rows[entry.name]
        assert (row["family"], row["licence"], row["here"]) == ("foundation", "Apache-2.0", False)
        assert row["kinds"] == list(entry.kinds)
        assert f"the folder {row['hub']} into" in row["get"]
        said = refused(entry.name)
        for part in (entry.name, f"put config.json, model.safetensors and what lies beside them into {entry.weights.hub} in", "EOPIPE_WEIGHTS", "no connection"):  # noqa: E501  # fmt: skip
            assert part in said
    assert rows["sam2.1-hiera-l"]["kinds"] == ["point-masks", "box-masks"]
    assert not is_foundation("dynamic-world")
    assert all(isinstance(entry, FoundationEntry) for entry in FOUNDATION_ENTRIES)
    json.dumps(listing())


def test_a_repository_in_the_users_folder(folder, offline, monkeypatch, tmp_path):
    target = tmp_path / "weights" / "facebook" / "dino-vitb16"
    target.parent.mkdir(parents=True)
    folder.rename(target)
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path / "weights"))
    model = resolve("dino-vitb16", "features")
    assert model.folder.path == target
    assert set(model.weights) == {"dino-vitb16/config.json", "dino-vitb16/model.safetensors"}
    assert model.places == ()
    assert model.entry.citation
    assert resolve("hf-hub:facebook/dino-vitb16").sha256 == model.sha256
    assert next(row for row in listing() if row["name"] == "dino-vitb16")["here"]
    (target / "model.safetensors").unlink()
    assert f"there is no {target / 'model.safetensors'}" in refused("dino-vitb16")


def hub_with(monkeypatch, tmp_path, files):
    """A hub that serves these files, as its library puts them into its cache."""
    from huggingface_hub.errors import EntryNotFoundError

    asked = []

    def download(repo, file, *, revision=None):
        asked.append((file, revision))
        if file not in files:
            raise EntryNotFoundError("404")
        blob = tmp_path / "hub" / "blobs" / hashlib.sha256(files[file]).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(files[file])
        path = tmp_path / "hub" / "snapshots" / "abc" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(blob)
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    return asked


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_the_hub_is_asked_for_safetensors_and_json_at_one_revision(folder, offline, monkeypatch, tmp_path):
    asked = hub_with(monkeypatch, tmp_path, contents(folder) | {"pytorch_model.bin": b"pickle", "model.py": b"code"})
    model = resolve("hf-hub:org/net")
    assert model.folder.revision == "abc"
    assert model.provenance["revision"] == "abc"
    assert set(model.weights) == {"org/net/config.json", "org/net/model.safetensors"}
    assert asked[0] == ("config.json", None)
    assert {revision for _, revision in asked[1:]} == {"abc"}
    assert {Path(file).suffix for file, _ in asked} == {".json", ".safetensors"}
    assert len(load("hf-hub:org/net").module.layers) == 3
    blob = (tmp_path / "hub" / "snapshots" / "abc" / "model.safetensors").resolve()
    whole = blob.read_bytes()
    monkeypatch.setattr("eopipe.models.foundation.resolve.fetch_repository", lambda *_: model.folder)
    blob.write_bytes(whole[:-4] + b"\1\2\3\4")
    assert "damaged" in refused("hf-hub:org/net")


def test_a_repository_of_pickles_alone_is_not_fetched(folder, offline, monkeypatch, tmp_path):
    files = contents(folder)
    del files["model.safetensors"]
    asked = hub_with(monkeypatch, tmp_path, files | {"pytorch_model.bin": b"pickle"})
    said = refused("hf-hub:org/net")
    assert "huggingface.co/org/net has no model.safetensors, and pickles are not read" in said
    assert "save_pretrained" in said
    assert not [file for file, _ in asked if file.endswith(".bin")]


def test_tensors_in_parts_are_one_net(folder, nets):
    tensors = load_file(folder / "model.safetensors")
    where = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(sorted(tensors))}
    for part in sorted(set(where.values())):
        save_file({name: tensors[name] for name in where if where[name] == part}, folder / part)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    name = f"local-dir:{folder}"
    model = resolve(name)
    assert len(model.sha256) == 4
    for one, other in zip(load(name).module.parameters(), nets["vit"].parameters(), strict=True):
        assert torch.equal(one, other)
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "which model.safetensors.index.json names" in refused(name)
    outside = {"weight_map": {"a": "../elsewhere.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(outside))
    assert "no safetensors beside it" in refused(name)


def test_a_pickle_is_refused_and_what_to_do_is_said(folder):
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    said = refused(f"local-dir:{folder}")
    assert "pytorch_model.bin is a pickle" in said
    assert "save_pretrained" in said


def test_another_type_is_refused_before_anything_is_read(folder, offline, monkeypatch, tmp_path):
    target = tmp_path / "weights" / "facebook" / "sam-vit-huge"
    target.parent.mkdir(parents=True)
    folder.rename(target)
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(module, "sha256_of", None)
    assert "has model_type 'vit', not sam;" in refused("sam-vit-h")
    change_config(target, model_type="bert")
    assert "has model_type 'bert', not vit, dinov2," in refused(f"local-dir:{target}")


@pytest.mark.parametrize(
    ("rewrite", "said"),
    [
        (lambda t: t.pop("layernorm.weight"), "1 missing, such as layernorm.weight"),
        (lambda t: t.update({"extra.weight": torch.zeros(2)}), "1 unknown, such as extra.weight"),
        (lambda t: t.update({"layernorm.weight": torch.zeros(3)}), "1 of another shape, such as layernorm.weight"),
        (lambda t: [t.update({f"net.{name}": t.pop(name)}) for name in list(t)], "54 missing"),
    ],
)
def test_a_net_is_whole_or_refused(folder, capfd, rewrite, said):
    change_tensors(folder, rewrite)
    with pytest.raises(WeightsError) as caught:
        load(f"local-dir:{folder}")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # no report of the library's, and no bar


def test_a_pooling_layer_is_no_fault(folder, nets):
    pooling = {"pooler.dense.weight": torch.zeros(32, 32), "pooler.dense.bias": torch.zeros(32)}
    change_tensors(folder, lambda t: t.update(pooling))
    assert load(f"local-dir:{folder}").module.pooler is None


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"auto_map": {"AutoModel": "net.Net"}}, "has auto_map, which names code"),
        ({"quantization_config": {"load_in_8bit": True}}, "has quantization_config"),
        ({"below": {"use_timm_backbone": True}}, "has use_timm_backbone"),
        ({"model_type": None}, "names no model_type"),
        ({"patch_size": "8"}, "patch_size '8'"),
    ],
)
def test_a_configuration_that_names_more_is_refused(folder, values, said):
    change_config(folder, **values)
    assert said in refused(f"local-dir:{folder}")


def test_a_configuration_that_builds_nothing_is_one_line(folder):
    change_config(folder, hidden_act="nothing")
    with pytest.raises(WeightsError, match="cannot build ViTModel of") as caught:
        load(f"local-dir:{folder}")
    assert "\n" not in str(caught.value)


def test_damaged_files_are_told(folder):
    name = f"local-dir:{folder}"
    (folder / "preprocessor_config.json").write_text('{"image_mean": [1, 2]}')
    assert "image_mean [1, 2] of its pictures is not three numbers" in refused(name)
    (folder / "preprocessor_config.json").write_text("[]")
    assert "no JSON object" in refused(name)
    (folder / "model.safetensors").write_bytes(b"no tensors at all")
    assert "damaged or no safetensors file" in refused(name)
    (folder / "config.json").write_text("{")
    assert "is no JSON" in refused(name)
    (folder / "config.json").unlink()
    assert f"there is no {folder / 'config.json'}" in refused(name)


def test_a_detector_needs_its_tokens(names, tmp_path):
    folder = Path(shutil.copytree(names["grounding"].removeprefix("local-dir:"), tmp_path / "own"))
    (folder / "preprocessor_config.json").write_text('{"size": {"height": 5}}')
    assert "no shortest_edge" in refused(f"local-dir:{folder}")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "preprocessor_config.json").unlink()
    from eopipe.models.foundation.detector import BoxDetector

    with pytest.raises(WeightsError, match=r"tokenizer\.json is damaged"):
        BoxDetector.load(resolve(f"local-dir:{folder}"), device="cpu", threads=1)
    (folder / "tokenizer.json").unlink()
    assert "a detector reads names with it" in refused(f"local-dir:{folder}")


def test_another_folder_than_the_run_began_with_is_refused(folder):
    model = resolve(f"local-dir:{folder}")
    change_tensors(folder, lambda t: t["layernorm.weight"].add_(1))
    with pytest.raises(WeightsError, match=r"another model\.safetensors than the run began with"):
        FeatureModel.load(model, device="cpu", threads=1)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sam-vit-x", "no model 'sam-vit-x'; choose one of sam-vit-h"),
        ("dynamic-world", "is land-cover"),
        ("hf-hub:name", "expected hf-hub:OWNER/NAME"),
        ("local-dir:/no/such/folder", "there is no /no/such/folder/config.json"),
    ],
)
def test_names_that_lead_nowhere(name, said):
    assert said in refused(name)


def test_a_model_is_asked_for_what_it_can(names):
    said = refused(names["dinov2"], "point-masks")
    assert "gives features, no point-masks: choose one of sam-vit-h, sam-vit-b, sam2.1-hiera-l" in said
    assert "gives point-masks, no box-masks" in refused(names["sam"], "box-masks")
    with pytest.raises(WeightsError, match="no boxes"):
        work(resolve(names["sam"]), "boxes", 64)


def test_without_the_library_a_plan_says_what_to_install(names, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    assert "pip install 'eopipe[change]'" in refused(names["vit"], error=PlanError)
    monkeypatch.undo()
    model = resolve(names["vit"])
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PlanError, match=r"pip install 'eopipe\[change\]'"):
        FeatureModel.load(model, device="cpu", threads=1)


def test_a_loaded_net_is_float32_at_rest(names, nets, tmp_path):
    half = tmp_path / "half"
    nets["vit"].save_pretrained(half)
    change_tensors(half, lambda t: t.update({name: tensor.half() for name, tensor in t.items()}))
    net = load(f"local-dir:{half}")
    assert {each.dtype for each in net.module.parameters()} == {torch.float32}
    assert not net.module.training
    assert net.model.size == 4 * sum(each.numel() for each in net.module.parameters())
    assert tiny.picture(4, 4).shape == (4, 4, 3)
