from __future__ import annotations

import numpy as np
import pytest
import torch

from eopipe.engine.bench.ovss import encoder_gflop
from eopipe.models.clip.architecture import AttentionSettings
from eopipe.models.clip.packed_linear import Product, can_pack
from eopipe.models.clip.seeded import TINY, seeded_config, seeded_text_state, seeded_vision_state
from eopipe.models.clip.vision import DenseEncoder, position_table
from tests.models.clip.golden import arrays, state
from tests.support.paths import needs_shared

NAME = "clip_attention_tiny"
TIGHT = {"atol": 1e-5, "rtol": 1e-4}
SEGEARTH = AttentionSettings("SegEarth")
PACKABLE = pytest.param(True, marks=pytest.mark.skipif(not can_pack(torch.float32, torch.device("cpu")), reason="no oneDNN"))  # fmt: skip  # noqa: E501


def encoder(weights, *, attention=SEGEARTH, gelu="quick", heads=4, **others):
    return DenseEncoder(weights, heads, attention=attention, gelu=gelu, **others)


@needs_shared
@pytest.mark.parametrize("packed", [PACKABLE, False])
@pytest.mark.parametrize("size", ["64x64", "96x80", "32x128"])
def test_every_golden_array_of_the_attentions(size, packed):
    kept, weights = arrays(NAME), state(NAME)
    picture = torch.from_numpy(kept[f"img::{size}"])
    keys = [key for key in kept if f"|{size}|" in key and key.endswith("|patch")]
    assert len(keys) == 28
    for key in keys:
        gelu, _, kind, last, residual, _ = key.split("|")
        attention = AttentionSettings(kind, last=int(last[4:]), ignore_residual=residual == "ignres1")
        made = encoder(weights, attention=attention, gelu="exact" if gelu == "gelu" else "quick", packed=packed)
        found = made(picture)
        assert found.patches.shape[2:] == (picture.shape[2] // 16, picture.shape[3] // 16)
        tokens = found.patches.flatten(2).transpose(1, 2)
        np.testing.assert_allclose(tokens.numpy(), kept[key], **TIGHT, err_msg=key)
        np.testing.assert_allclose(found.cls.numpy(), kept[key.replace("patch", "cls")], **TIGHT, err_msg=key)


@needs_shared
def test_every_golden_positional_table():
    kept, table = arrays(NAME), state(NAME)["positional_embedding"]
    keys = [key for key in kept if key.startswith("pos|")]
    assert len(keys) == 5
    for key in keys:
        height, width = (int(side) // 16 for side in key[4:].split("x"))
        np.testing.assert_allclose(position_table(table, height, width).numpy(), kept[key][0], **TIGHT, err_msg=key)


def test_a_grid_of_as_many_patches_keeps_the_table_whatever_its_shape():
    table = torch.randn(17, 8)
    assert position_table(table, 2, 8) is table
    assert not torch.equal(position_table(table, 2, 6)[1:], table[1:13])


@pytest.fixture(scope="module")
def weights():
    return seeded_vision_state(5, **TINY)


def windows(count, side=224, seed=0):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_a_window_does_not_know_its_batch(weights):
    made = encoder(weights)
    batch = windows(3)
    together = made(batch)
    for index in range(3):
        alone = made(batch[index : index + 1])
        torch.testing.assert_close(alone.patches[0], together.patches[index], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(alone.cls[0], together.cls[index], atol=1e-5, rtol=1e-4)
    again = made(batch)
    assert torch.equal(again.patches, together.patches)
    assert together.patches.is_contiguous()


@pytest.mark.parametrize("kind", ["vanilla", "SegEarth"])
@pytest.mark.parametrize("gelu", ["quick", "exact"])
def test_bfloat16_is_near_float32_and_comes_out_as_float32(weights, kind, gelu):
    batch = windows(2)
    exact = encoder(weights, attention=AttentionSettings(kind), gelu=gelu)(batch)
    for packed in (None, False):
        rough = encoder(weights, attention=AttentionSettings(kind), gelu=gelu, precision="bfloat16", packed=packed)(
            batch
        )
        assert rough.patches.dtype == rough.cls.dtype == torch.float32
        assert torch.cosine_similarity(rough.patches, exact.patches, dim=1).min() > 0.9995
        assert not torch.equal(rough.patches, exact.patches)


def test_encodings_can_be_learned_from(weights):
    features = encoder(weights)(windows(1)).patches
    weight = torch.ones(1, requires_grad=True)
    (features * weight).sum().backward()
    assert weight.grad is not None


@pytest.mark.parametrize("shape", [(3, 224, 224), (1, 4, 224, 224), (1, 3, 220, 224), (1, 3, 224, 0)])
def test_windows_of_another_shape_are_refused(weights, shape):
    with pytest.raises(ValueError, match="multiples of 16"):
        encoder(weights)(torch.zeros(shape))


@pytest.mark.parametrize("last", [0, 4])
def test_more_blocks_than_there_are_cannot_be_changed(weights, last):
    with pytest.raises(ValueError, match="choose 1 to 3"):
        encoder(weights, attention=AttentionSettings("SegEarth", last=last))


@pytest.mark.parametrize("activation", ["none", "silu", "gelu"])
@pytest.mark.parametrize("packed", [PACKABLE, False])
def test_products_are_what_torch_says(activation, packed):
    generator = torch.Generator().manual_seed(1)
    weight, bias, x, residual = (
        torch.randn(*s, generator=generator) for s in ((24, 40), (24,), (2, 7, 40), (2, 7, 24))
    )
    plain = torch.nn.functional.linear(x, weight, bias)
    wanted = {"none": lambda t: t, "silu": torch.nn.functional.silu, "gelu": torch.nn.functional.gelu}[activation](
        plain
    )
    product = Product(weight, bias, activation=activation, packed=packed)
    before = residual.clone()
    torch.testing.assert_close(product(x), wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(product(x, residual), wanted + residual, atol=1e-5, rtol=1e-5)
    assert torch.equal(residual, before)
    no_bias = Product(weight, packed=packed)
    torch.testing.assert_close(no_bias(x), x @ weight.T, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("last", [1, 2])
@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("kind", ["vanilla", "MaskCLIP", "SCLIP", "ClearCLIP", "SegEarth"])
def test_the_arithmetic_is_what_torch_counts(weights, kind, residual, last):
    from torch.utils.flop_counter import FlopCounterMode

    made = encoder(weights, attention=AttentionSettings(kind, last=last, ignore_residual=residual), packed=False)
    with FlopCounterMode(display=False) as counter:
        made(windows(1))
    assert round(encoder_gflop(made, 224, 224) * 1e9) == counter.get_total_flops()


def open_clip_model(sizes, gelu):
    """open_clip's own model of these sizes, with seeded weights in both of its towers."""
    from open_clip.model import CLIP

    config = seeded_config(**sizes) | {"quick_gelu": gelu == "quick"}
    model = CLIP(**config).eval()
    image, text = seeded_vision_state(7, **sizes), seeded_text_state(7, **sizes)
    missing = model.load_state_dict({f"visual.{name}": tensor for name, tensor in image.items()} | text, strict=False)
    assert missing.missing_keys == ["logit_scale"]
    return model, image, text


@pytest.mark.parametrize("gelu", ["quick", "exact"])
def test_vanilla_attention_with_residuals_is_open_clips_own_tower(gelu):
    model, image, _ = open_clip_model(TINY, gelu)
    batch = windows(2, seed=3)
    found = encoder(image, attention=AttentionSettings("vanilla", ignore_residual=False), gelu=gelu)(batch)
    model.visual.output_tokens = True
    with torch.no_grad():
        pooled, tokens = model.visual(batch)
        torch.testing.assert_close(found.cls, pooled, atol=2e-5, rtol=1e-4)
        patches = (tokens @ model.visual.proj).transpose(1, 2).unflatten(2, (14, 14))
        torch.testing.assert_close(found.patches, patches, atol=2e-5, rtol=1e-4)
