from __future__ import annotations

import pytest
import torch

from eopipe.errors import WeightsError
from eopipe.models.upsample.anyup import AnyUp
from eopipe.models.upsample.jbu import JBU
from eopipe.models.upsample.jbu_cpu import JBUCpu
from eopipe.models.upsample.jbu_torch import JBUTorch
from eopipe.models.upsample.load import jbu_upsampler, load_upsampler, resolve_upsampler
from eopipe.models.upsample.protocol import Bilinear
from tests.support.paths import needs_shared, shared


@pytest.fixture
def published(tmp_path):
    """A checkpoint of jbu_one as PyTorch Lightning writes them."""
    torch.manual_seed(0)
    state = {f"upsampler.{name}": value for name, value in JBU("jbu_one", 16).state_dict().items()}
    path = tmp_path / "xclip_jbu_one_million_aid.ckpt"
    torch.save({"epoch": 10, "state_dict": state, "optimizer_states": [], "callbacks": {}}, path)
    return path


def load(name, checkpoint=None, channels=16, device="cpu"):
    resolved = resolve_upsampler(name, checkpoint=None if checkpoint is None else str(checkpoint))
    return load_upsampler(resolved, device=device, threads=1, channels=channels)


def refused(name, checkpoint=None, channels=16):
    with pytest.raises(WeightsError) as caught:
        load(name, checkpoint, channels)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_users_checkpoint_is_read_whole(published):
    upsampler = load("jbu_one", published)
    assert isinstance(upsampler, JBUCpu)
    assert upsampler.name == "jbu_one"
    resolved = resolve_upsampler("jbu_one", checkpoint=str(published))
    assert list(resolved.weights.values()) == [resolved.sha256]
    assert resolved.sha256 in resolved.notes[0]


def test_bilinear_has_no_weights(published):
    assert isinstance(load("bilinear"), Bilinear)
    assert resolve_upsampler("bilinear").weights == {}
    assert "has no weights; remove it" in refused("bilinear", published)


@needs_shared
def test_real_weights_are_found_and_read(monkeypatch):
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(shared() / "weights"))
    assert isinstance(load("anyup", channels=768), AnyUp)
    assert isinstance(load("jbu_stack", channels=512), JBUCpu)
    assert not resolve_upsampler("anyup").notes


def test_a_gpu_takes_the_form_in_torch():
    assert isinstance(jbu_upsampler(JBU("jbu_one", 8), device="meta", threads=1), JBUTorch)


def test_a_missing_file_is_named_with_its_folder_and_the_way_round(monkeypatch, tmp_path):
    monkeypatch.setenv("EOPIPE_WEIGHTS", str(tmp_path))
    message = refused("jbu_one")
    assert "put simfeatup/xclip_jbu_one_million_aid.ckpt into " + str(tmp_path) in message
    assert "upsampler_checkpoint" in message
    assert "there is no file" in refused("jbu_one", tmp_path / "none.ckpt")


def test_an_upsampler_for_other_features_is_refused(published):
    message = refused("jbu_one", published, channels=768)
    assert "is for features of 16 channels, and the encoder gives 768" in message


def test_another_upsamplers_checkpoint_is_refused(published):
    message = refused("jbu_stack", published)
    assert "up1.range_temp is missing" in message
    assert "give a jbu_stack checkpoint" in message


def test_a_file_that_changed_since_the_plan_is_refused(published):
    resolved = resolve_upsampler("jbu_one", checkpoint=str(published))
    torch.save({"state_dict": {"upsampler.up.range_temp": torch.tensor(0.0)}}, published)
    with pytest.raises(WeightsError, match="put the same file here"):
        load_upsampler(resolved, device="cpu", threads=1, channels=16)


def test_a_file_that_could_run_code_is_refused(tmp_path):
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": {"upsampler.up": pytest.fixture}}, path)
    assert "beside tensors" in refused("jbu_one", path)


def test_an_unknown_name_lists_those_there_are():
    assert "choose bilinear, jbu_one, jbu_stack or anyup" in refused("nearest")
