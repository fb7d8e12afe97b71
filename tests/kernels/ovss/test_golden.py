"""The published pipeline from window to labels, on seeded weights, by the code that ships (SegEarth-OV)."""

import numpy as np
import pytest
import torch

from eopipe.kernels.ovss.class_scores import classify
from eopipe.kernels.ovss.segmentor import Segmentor, segment_image
from eopipe.models.clip.architecture import AttentionSettings
from eopipe.models.clip.vision import DenseEncoder
from eopipe.models.upsample.jbu import JBU
from eopipe.models.upsample.jbu_cpu import JBUCpu
from eopipe.models.upsample.jbu_torch import JBUTorch
from eopipe.models.upsample.protocol import Bilinear
from tests.support.paths import golden, needs_shared

pytestmark = needs_shared

CLOSE = {"atol": 1e-5, "rtol": 1e-4}  # the golden arrays' own


@pytest.fixture(scope="module")
def arrays():
    with np.load(golden("segearth_e2e_tiny.npz")) as archive:
        return {name: torch.from_numpy(np.asarray(archive[name])) for name in archive.files}


def part(arrays, prefix):
    return {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}


@pytest.fixture(scope="module")
def upsampler(arrays):
    return JBUCpu(part(arrays, "up::"), threads=1)


@pytest.fixture(scope="module")
def encoder(arrays):
    return DenseEncoder(
        part(arrays, "clip::"),
        4,
        attention=AttentionSettings("SegEarth"),
        gelu="quick",
        precision="float32",
        device="cpu",
    )


def segmentor(arrays, encoder, upsampler, bias=-0.3):
    return Segmentor(encoder, upsampler, arrays["query_features"], bias=bias)


def close(tensor, expected, **tolerance):
    np.testing.assert_allclose(tensor.numpy(), expected.numpy(), **(CLOSE | tolerance))


@pytest.mark.parametrize(
    ("bias", "name"),
    [(-0.3, "crop_logits"), (0.0, "crop_logits_lambda0.0"), (-0.3, "crop_logits_lambda-0.3"),
     (-1.0, "crop_logits_lambda-1.0")],
)  # fmt: skip
def test_a_window(arrays, encoder, upsampler, bias, name):
    logits = segmentor(arrays, encoder, upsampler, bias)(arrays["img"][:, :, :64, :64])
    close(logits.permute(0, 3, 1, 2), arrays[name])


def test_a_window_in_torch(arrays, encoder):
    """What runs on CUDA."""
    module = JBU("jbu_one", 32)
    module.load_state_dict(part(arrays, "up::"))
    logits = segmentor(arrays, encoder, JBUTorch(module))(arrays["img"][:, :, :64, :64])
    close(logits.permute(0, 3, 1, 2), arrays["crop_logits"])


def test_a_window_without_an_upsampler(arrays, encoder):
    logits = segmentor(arrays, encoder, Bilinear())(arrays["img"][:, :, :64, :64])
    close(logits.permute(0, 3, 1, 2), arrays["crop_logits_noup"])


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("size", [(96, 112), (150, 175)])
def test_a_whole_picture(arrays, encoder, upsampler, size, batch):
    model = segmentor(arrays, encoder, upsampler)
    logits = segment_image(model, arrays["img"][0], crop=64, stride=32, size=size, batch=batch)
    name = f"{size[0]}x{size[1]}"
    close(logits, arrays[f"slide_logits_{name}"][0])
    query_class = arrays["query_idx"].tolist()
    every_query = range(len(query_class))
    _, probability = classify(logits, every_query, scale=50.0, threshold=0.0, background=None)
    close(probability, arrays[f"query_prob_{name}"], atol=1e-4)
    for threshold, background in ((0.3, 0), (0.0, 0), (0.6, 3)):
        label, _ = classify(logits, query_class, scale=50.0, threshold=threshold, background=background)
        expected = arrays[f"pred_{name}_thd{threshold}_bg{background}"][0]
        assert (label == expected).all(), (threshold, background, int((label != expected).sum()))


def test_a_picture_smaller_than_a_window_is_padded_around(arrays, encoder, upsampler):
    model = segmentor(arrays, encoder, upsampler)
    logits = segment_image(model, arrays["img"][0, :, :50, :72], crop=64, stride=32, size=(50, 72))
    close(logits, arrays["slide_logits_small_50x72"][0])
