from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from eopipe.models.foundation.features import FeatureModel
from eopipe.models.foundation.resolve import resolve
from tests.models.foundation import tiny

SHAPES = [(48, 48), (70, 90), (131, 64)]


def dino(state, pixels, *, heads=4, patch=8, nudge=0.1):
    """DINO's forward as its paper's code has it, on the names that the hub's files have; no line of ours."""
    t = {name: value.double() for name, value in state.items()}
    x = functional.conv2d(pixels.double(), t["embeddings.patch_embeddings.projection.weight"],
                          t["embeddings.patch_embeddings.projection.bias"], stride=patch)  # fmt: skip
    rows, cols = x.shape[2:]
    x = torch.cat([t["embeddings.cls_token"], x.flatten(2).transpose(1, 2)], dim=1)
    table = t["embeddings.position_embeddings"]
    side = math.isqrt(table.shape[1] - 1)
    if not (rows * cols == side**2 and pixels.shape[2] == pixels.shape[3]):
        grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
        how = {"scale_factor": ((rows + nudge) / side, (cols + nudge) / side)} if nudge else {"size": (rows, cols)}
        grid = functional.interpolate(grid, mode="bicubic", **how)
        assert grid.shape[2:] == (rows, cols)
        table = torch.cat([table[:, :1], grid.permute(0, 2, 3, 1).reshape(1, rows * cols, -1)], dim=1)
    x = x + table

    def norm(x, name):
        return functional.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"], 1e-12)

    def linear(x, name):
        return x @ t[f"{name}.weight"].T + t[f"{name}.bias"]

    layer = 0
    while f"encoder.layer.{layer}.output.dense.weight" in t:
        name = f"encoder.layer.{layer}"
        y = norm(x, f"{name}.layernorm_before")
        q, k, v = (
            linear(y, f"{name}.attention.attention.{part}").unflatten(-1, (heads, -1)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        weights = (q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])).softmax(dim=-1)
        x = x + linear((weights @ v).transpose(1, 2).flatten(2), f"{name}.attention.output.dense")
        y = functional.gelu(linear(norm(x, f"{name}.layernorm_after"), f"{name}.intermediate.dense"))
        x = x + linear(y, f"{name}.output.dense")
        layer += 1
    assert layer == 3
    return norm(x, "layernorm")[0, 1:].T.reshape(-1, rows, cols).numpy()


def prepared(picture):
    return torch.from_numpy((picture / 255 - tiny.MEAN) / tiny.STD).permute(2, 0, 1)[None]


def state_of(names):
    from safetensors.torch import load_file

    return load_file(f"{names['vit'].removeprefix('local-dir:')}/model.safetensors")


@pytest.fixture(scope="module")
def models(names):
    return {
        name: FeatureModel.load(resolve(names[name], "features"), device="cpu", threads=1)
        for name in ("vit", "dinov2")
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_dino_is_its_papers_forward_written_out(models, names, shape):
    picture = tiny.picture(*shape)
    found = models["vit"](picture)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    expected = dino(state_of(names), prepared(picture))
    assert found.shape == (32, shape[0] // 8, shape[1] // 8)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_dino_places_its_positions_as_its_own_code_does_and_not_as_the_library(models, nets, names):
    picture = tiny.picture(70, 90)
    found = models["vit"](picture)
    plain = nets["vit"](prepared(picture).float(), interpolate_pos_encoding=True).last_hidden_state
    library = plain[0, 1:].T.reshape(found.shape).numpy()
    np.testing.assert_allclose(library, dino(state_of(names), prepared(picture), nudge=0), atol=2e-5)
    assert np.abs(found - library).max() > 1e-3
    square = tiny.picture(48, 48)  # the table's own size: nothing is stretched
    plain = nets["vit"](prepared(square).float(), interpolate_pos_encoding=True).last_hidden_state
    np.testing.assert_allclose(models["vit"](square), plain[0, 1:].T.reshape(32, 6, 6).numpy(), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_dinov2_is_the_librarys_model_behind_the_librarys_processor(models, nets, shape):
    from transformers import BitImageProcessorPil

    processor = BitImageProcessorPil(
        do_resize=False, do_center_crop=False, image_mean=list(tiny.MEAN), image_std=list(tiny.STD)
    )
    picture = tiny.picture(*shape)
    pixels = processor(picture, return_tensors="pt").pixel_values
    assert pixels.shape[2:] == shape
    found = models["dinov2"](picture)
    expected = nets["dinov2"](pixels).last_hidden_state[0, 1:].T
    np.testing.assert_allclose(found, expected.reshape(32, shape[0] // 7, shape[1] // 7).numpy(), atol=2e-5)


@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_what_fills_no_patch_is_left_out(models, name):
    patch = {"vit": 8, "dinov2": 7}[name]
    whole = tiny.picture(6 * patch, 9 * patch)
    larger = np.pad(whole, ((0, patch - 1), (0, patch - 2), (0, 0)), constant_values=99)
    np.testing.assert_array_equal(models[name](larger), models[name](whole))


@pytest.mark.parametrize("name", ["vit", "dinov2"])
def test_a_picture_has_the_same_features_whatever_came_before(models, name):
    first, second = tiny.picture(70, 90), tiny.picture(48, 48, seed=1)
    alone = models[name](first)
    models[name](second)
    np.testing.assert_array_equal(models[name](first), alone)
    assert np.abs(models[name](tiny.picture(70, 90, seed=2)) - alone).max() > 0.1


def test_the_folders_own_colours_hold(nets, tmp_path, models):
    from transformers import BitImageProcessorPil

    name = tiny.save(nets["dinov2"], tmp_path)
    BitImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.25] * 3).save_pretrained(tmp_path)
    model = resolve(name)
    assert (model.entry.mean, model.entry.std) == ((0.5,) * 3, (0.25,) * 3)
    assert "preprocessor_config.json" in model.sha256
    picture = tiny.picture(56, 56)
    pixels = torch.from_numpy((picture / 255 - 0.5) / 0.25).float().permute(2, 0, 1)[None]
    found = FeatureModel.load(model, device="cpu", threads=1)(picture)
    expected = nets["dinov2"](pixels).last_hidden_state[0, 1:].T.reshape(32, 8, 8).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(found - models["dinov2"](picture)).max() > 0.05


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((32, 32), np.uint8), np.zeros((32, 32, 4), np.uint8), np.zeros((32, 32, 3), np.float32),
        np.zeros((7, 32, 3), np.uint8), np.zeros((0, 32, 3), np.uint8),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(models, picture):
    with pytest.raises(ValueError, match="picture"):
        models["vit"](picture)


def test_torch_keeps_its_threads(models):
    torch.set_num_threads(2)
    models["vit"](tiny.picture(48, 48))
    assert torch.get_num_threads() == 2
