from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from eopipe.errors import PlanError, WeightsError
from eopipe.models.clip.entries import OPENAI
from eopipe.models.upsample import anyup as anyup_module
from eopipe.models.upsample.anyup import AnyUp, expected_shapes
from tests.models.upsample import anyup_reference
from tests.support.paths import needs_shared, shared

pytestmark = needs_shared
WEIGHTS = shared() / "weights" / "anyup" / "anyup_multi_backbone.pth"


@pytest.fixture(scope="module")
def state():
    return torch.load(WEIGHTS, map_location="cpu", weights_only=True)


@pytest.fixture(scope="module")
def anyup(state):
    return AnyUp(state)


def inputs(channels, grid, patch, seed=0, batch=1):
    """Features with a common part, as CLIP's have, and a smooth picture."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(batch, channels, *grid, generator=generator)
    patches += 0.5 * torch.randn(1, channels, 1, 1, generator=generator)
    coarse = torch.randn(batch, 3, 2 * grid[0], 2 * grid[1], generator=generator)
    size = (grid[0] * patch, grid[1] * patch)
    guidance = functional.interpolate(coarse, size=size, mode="bilinear")
    text = functional.normalize(torch.randn(7, channels, generator=generator), dim=1)
    return patches, guidance, text


def aerial(size):
    """A corner of a LoveDA tile as a CLIP tower sees it."""
    with Image.open(shared() / "data" / "optical_seg" / "loveda" / "images" / "0.png") as image:
        pixels = np.asarray(image.convert("RGB"))[300 : 300 + size, 300 : 300 + size] / np.float32(255)
    mean, std = (np.array(values, np.float32) for values in OPENAI)
    return torch.from_numpy((pixels - mean) / std).permute(2, 0, 1)[None].contiguous()


@pytest.mark.parametrize(
    ("channels", "grid", "patch"),
    [
        (24, (4, 6), 8),
        (512, (5, 4), 16),  # CLIP's width; bands of several rows of patches
        (40, (12, 11), 4),  # windows that do not reach across
        (100, (3, 3), 14),  # channels no multiple of the bases
    ],
)
def test_scores_are_those_of_the_float64_layers(state, anyup, channels, grid, patch):
    patches, guidance, text = inputs(channels, grid, patch)
    scores = anyup.score(patches, guidance, text)
    assert scores.is_contiguous()
    expected = anyup_reference.scores(state, patches[0].numpy(), guidance[0].numpy(), text.numpy())
    np.testing.assert_allclose(scores[0].numpy(), expected, rtol=0, atol=1e-5)


def test_it_comes_nearer_to_the_true_features_than_bilinear(anyup):
    """64 features of each pixel of an aerial picture, known at full resolution and given at an eighth of it."""
    guidance = aerial(224)
    generator = torch.Generator().manual_seed(0)
    hidden = functional.conv2d(
        guidance, torch.randn(64, 3, 1, 1, generator=generator), torch.randn(64, generator=generator)
    )
    truth = functional.conv2d(hidden.relu(), torch.randn(64, 64, 1, 1, generator=generator) / 8)
    truth -= truth.mean((2, 3), keepdim=True)
    given = functional.adaptive_avg_pool2d(truth, 28)
    true_direction = functional.normalize(truth, dim=1).movedim(1, -1)
    direction = anyup.score(given, guidance, torch.eye(64))  # with a unit vector as each query: the feature itself
    bilinear = functional.interpolate(given, size=(224, 224), mode="bilinear")
    agreement = (direction * true_direction).sum(-1).mean()
    agreement_bilinear = (functional.normalize(bilinear, dim=1).movedim(1, -1) * true_direction).sum(-1).mean()
    torch.testing.assert_close(torch.linalg.vector_norm(direction, dim=-1), torch.ones(1, 224, 224))
    assert agreement > agreement_bilinear + 0.05
    assert agreement > 0.8


def test_a_window_scores_the_same_in_any_batch(anyup):
    patches, guidance, text = inputs(16, (3, 4), 16, batch=3)
    together = anyup.score(patches, guidance, text)
    assert torch.equal(together[2:], anyup.score(patches[2:], guidance[2:], text))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_threads_change_no_byte_and_leave_torchs_own_alone(state, anyup, mode):
    patches, guidance, text = inputs(16, (5, 4), 32)
    before = torch.get_num_threads()
    with mode():
        assert torch.equal(
            AnyUp(state, threads=2).score(patches, guidance, text), anyup.score(patches, guidance, text)
        )
    assert torch.get_num_threads() == before


def test_the_convolution_of_a_gpu_is_the_same_sum():
    generator = torch.Generator().manual_seed(1)
    padded, weight = torch.randn(6, 9, 128, generator=generator), torch.randn(128, 128, 3, 3, generator=generator)
    torch.testing.assert_close(
        anyup_module._nine_products(padded, weight), anyup_module._conv3x3(padded, weight), atol=1e-4, rtol=1e-5
    )


def test_a_gpus_one_band_gives_what_the_cpus_bands_give(anyup, monkeypatch):
    patches, guidance, text = inputs(16, (6, 5), 16)
    expected = anyup.score(patches, guidance, text)
    monkeypatch.setattr(AnyUp, "_band_rows", lambda _self, height, _width, _patch: height)
    monkeypatch.setattr(anyup_module, "_conv3x3", anyup_module._nine_products)
    torch.testing.assert_close(anyup.score(patches, guidance, text), expected, atol=1e-5, rtol=0)


def test_features_of_zeros_score_zero(anyup):
    patches, guidance, text = inputs(16, (3, 3), 16)
    assert not anyup.score(torch.zeros_like(patches), guidance, text).any()


def test_another_normalisation_of_the_picture_is_told(state, anyup):
    patches, guidance, text = inputs(16, (3, 3), 16)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in OPENAI)
    other = AnyUp(state, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    seen = (guidance * std + mean - 0.5) / 0.5
    expected = anyup.score(patches, guidance, text)
    torch.testing.assert_close(other.score(patches, seen, text), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("grid", "size", "said"),
    [((3, 3), (40, 48), "40 x 48 is no multiple of its 3 x 3 patches"), ((1, 2), (16, 32), "needs 2 patches a side")],
)
def test_windows_that_do_not_fit_are_refused(anyup, grid, size, said):
    with pytest.raises(PlanError, match=said):
        anyup.score(torch.zeros(1, 8, *grid), torch.zeros(1, 3, *size), torch.zeros(2, 8))


def test_the_state_dict_is_taken_whole_or_not_at_all(state):
    assert {name: tuple(value.shape) for name, value in state.items()} == expected_shapes()
    with pytest.raises(WeightsError, match=r"rope\.freqs is missing") as caught:
        AnyUp({name: value for name, value in state.items() if name != "rope.freqs"})
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="extra is unknown"):
        AnyUp({**state, "extra": torch.zeros(1)})
    with pytest.raises(WeightsError, match=r"rope\.freqs is \(2, 64\), not \(2, 128\)"):
        AnyUp({**state, "rope.freqs": torch.zeros(2, 64)})
