from __future__ import annotations

import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from eopipe.errors import WeightsError
from eopipe.models.checkpoints import open_checkpoint

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}


def assert_same(found):
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert torch.equal(found[name], tensor)


def test_safetensors(tmp_path):
    save_file(TENSORS, tmp_path / "a.safetensors")
    assert_same(open_checkpoint(tmp_path / "a.safetensors"))
    save_file({f"module.{name}": tensor for name, tensor in TENSORS.items()}, tmp_path / "b.safetensors")
    assert_same(open_checkpoint(tmp_path / "b.safetensors"))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("wrap", ["plain", "lightning", "parallel", "training"])
def test_pytorch_files(tmp_path, wrap, legacy):
    content = dict(TENSORS)
    if wrap in ("parallel", "training"):
        content = {f"module.{name}": tensor for name, tensor in content.items()}
    if wrap in ("lightning", "training"):
        content = {"epoch": 3, "name": "run", "state_dict": content}
    file = tmp_path / "a.pt"
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    assert_same(open_checkpoint(file))


class Evil:
    def __reduce__(self):
        return (os.system, ("touch evil-was-here",))


@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "evil.pt"
    content = {"state_dict": TENSORS, "hyper": Evil()}
    if form == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match="can run code") as caught:
        open_checkpoint(file)
    assert "\n" not in str(caught.value)
    assert "safetensors" in str(caught.value)
    assert not (tmp_path / "evil-was-here").exists()


def test_a_torchscript_archive_is_refused_by_what_to_use(tmp_path):
    file = tmp_path / "ViT-B-16.pt"
    with zipfile.ZipFile(file, "w") as archive:  # as torch.jit.save lays them out
        for name in ("data.pkl", "constants.pkl", "code/__torch__.py", "version"):
            archive.writestr(f"ViT-B-16/{name}", b"")
    instead = "open_clip_model.safetensors of huggingface.co/timm/vit_base_patch16_clip_224.openai"
    with pytest.raises(WeightsError, match="TorchScript") as caught:
        open_checkpoint(file, instead=instead)
    assert instead in str(caught.value)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_a_real_torchscript_archive_is_recognised(tmp_path):
    file = tmp_path / "scripted.pt"
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(file)
    with pytest.raises(WeightsError, match="TorchScript"):
        open_checkpoint(file)


@pytest.mark.parametrize(
    ("content", "said"),
    [(TENSORS["b"], "a Tensor, no tensors by name"), ({"epoch": 3}, "but epoch"), ({}, "nothing")],
)
def test_a_file_without_named_tensors_says_what_it_has(tmp_path, content, said):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(WeightsError, match=said):
        open_checkpoint(tmp_path / "a.pt")


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04broken"])
def test_a_damaged_file_is_one_line(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        open_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
