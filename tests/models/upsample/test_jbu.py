from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from eopipe.errors import PlanError
from eopipe.models.upsample.jbu import JBU
from tests.support.paths import needs_shared, shared

CLOSE = {"atol": 1e-5, "rtol": 1e-4}  # the golden arrays' own
STACK = shared() / "weights" / "featup_jbu" / "clip_jbu_stack_cocostuff.ckpt"


def weights_of(arrays, prefix="w::"):
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}


def seeded(name, channels, seed=0):
    torch.manual_seed(seed)
    return JBU(name, channels)


@pytest.fixture(scope="module")
def stack():
    model = JBU("jbu_stack", 512)
    state = torch.load(STACK, map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({key.removeprefix("upsampler."): value for key, value in state.items()})
    return model


@needs_shared
def test_a_small_jbu_one_gives_the_golden_features(golden):
    arrays = golden("jbu_one_small_full")
    model = JBU("jbu_one", 16)
    model.load_state_dict(weights_of(arrays))
    with torch.no_grad():
        torch.testing.assert_close(model(arrays["src"], arrays["img"]), arrays["out"], **CLOSE)


def check_stages(model, arrays, source, image):
    """Every stored array of the stages and of the output."""
    with torch.no_grad():
        stages = model.stages(16)
        guidance = functional.adaptive_avg_pool2d(image, (28, 28))
        torch.testing.assert_close(guidance, arrays["stage1_guidance"], **CLOSE)
        torch.testing.assert_close(stages[0].range_weights(guidance), arrays["stage1_range_kernel"], **CLOSE)
        torch.testing.assert_close(stages[0].spatial_weights(), arrays["stage1_spatial_kernel"], **CLOSE)
        torch.testing.assert_close(stages[0].normalised(guidance), arrays["stage1_norm_kernel"], **CLOSE)
        torch.testing.assert_close(stages[0].filters(guidance), arrays["stage1_final_kernel"], **CLOSE)
        keys = ("stage1_out_ch0_31", "stage2_out_ch0_7", "stage3_out_ch0_1", "stage4_out_ch0_1")
        for stage, key in zip(stages, keys, strict=True):
            source = stage(source, image)
            torch.testing.assert_close(source[:, : arrays[key].shape[1]], arrays[key], **CLOSE)
        out = source + 0.1 * model.fixup_proj(source)
    assert out.shape == tuple(arrays["out_shape"])
    torch.testing.assert_close(out[:, :2], arrays["out_ch0_1"], **CLOSE)
    torch.testing.assert_close(out[0, :, arrays["px_y"], arrays["px_x"]], arrays["out_px"], **CLOSE)
    torch.testing.assert_close(out.mean((0, 2, 3)), arrays["out_mean_per_channel"], **CLOSE)
    torch.testing.assert_close(out.std((0, 2, 3)), arrays["out_std_per_channel"], **CLOSE)


@needs_shared
@pytest.mark.slow
def test_the_released_stack_gives_the_golden_arrays(golden, stack):
    arrays = golden("jbu_stack_clip")
    check_stages(stack, arrays, arrays["src"], arrays["img"])


@needs_shared
@pytest.mark.slow
def test_a_seeded_jbu_one_gives_the_golden_arrays(golden):
    inputs = golden("jbu_stack_clip")
    arrays = golden("jbu_one_seeded512")
    model = JBU("jbu_one", 512)
    model.load_state_dict(weights_of(arrays))
    check_stages(model, arrays, inputs["src"], inputs["img"])


def test_dropout_is_off_unless_asked_for():
    generator = torch.Generator().manual_seed(3)
    source, image = torch.randn(1, 4, 3, 3, generator=generator), torch.randn(1, 3, 48, 48, generator=generator)
    model = seeded("jbu_one", 4)
    with torch.no_grad():
        assert torch.equal(model(source, image), model(source, image))
        mimic = JBU("jbu_one", 4).train()
        mimic.load_state_dict(model.state_dict())
        assert not torch.equal(mimic(source, image), mimic(source, image))


def test_every_weight_gets_a_gradient():
    generator = torch.Generator().manual_seed(4)
    model = seeded("jbu_stack", 4)
    out = model(torch.randn(1, 4, 2, 3, generator=generator), torch.randn(1, 3, 32, 48, generator=generator))
    assert out.shape == (1, 4, 32, 48)
    out.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_patches_of_32_are_doubled_five_times():
    generator = torch.Generator().manual_seed(5)
    model = seeded("jbu_one", 4)
    with torch.no_grad():
        out = model(torch.randn(1, 4, 3, 3, generator=generator), torch.randn(1, 3, 96, 96, generator=generator))
    assert out.shape == (1, 4, 96, 96)
    assert len(model.stages(32)) == 5


@pytest.mark.parametrize(
    ("name", "source", "image", "said"),
    [
        ("jbu_one", (1, 4, 4, 4), (1, 3, 56, 56), "cannot make 14 pixels of a patch"),
        ("jbu_stack", (1, 4, 4, 4), (1, 3, 128, 128), "makes 16 pixels of a patch, not 32"),
        ("jbu_stack", (1, 5, 4, 4), (1, 3, 64, 64), "features of 4 channels, and the encoder gives 5"),
        ("jbu_one", (1, 4, 4, 4), (1, 3, 64, 128), "64 x 128 is no multiple of its 4 x 4 patches"),
        ("jbu_one", (1, 4, 2, 2), (1, 3, 32, 32), "at least 3 patches a side"),
    ],
)
def test_what_cannot_be_upsampled_is_one_line(name, source, image, said):
    with pytest.raises(PlanError, match=said) as caught:
        seeded(name, 4)(torch.zeros(source), torch.zeros(image))
    assert "\n" not in str(caught.value)
