import dataclasses
import pickle

import numpy as np
import pytest
import torch

from eopipe.errors import SpecError
from eopipe.grid import CELL, PixelBox
from eopipe.kernels.ovss import mini_kernel
from eopipe.kernels.ovss.class_scores import class_scores
from eopipe.kernels.ovss.strip_arrays import StripArrays
from eopipe.kernels.protocol import StripContext
from eopipe.kernels.registry import create
from eopipe.models.mini.net import HALO
from eopipe.models.mini.runner import load_mini
from eopipe.models.mini.words import concept_vectors, read
from eopipe.models.registry import MINI

PROMPTS = ["water", "forest", "houses"]


def _kernel(resolution=10.0, **options):
    kernel = create("ovss", {"model": "mini", "prompts": PROMPTS, **options}, resolution=resolution)
    kernel.load(device="cpu", threads=1)
    return kernel


def _scene(shape, seed=0):
    """Smooth reflectance of four bands over a strip with its halo, with a hole and an edge."""
    rng = np.random.default_rng(seed)
    rows, cols = (side + 2 * HALO for side in shape)
    coarse = rng.uniform(200, 3500, (4, rows // 16 + 1, cols // 16 + 1)).repeat(16, axis=1).repeat(16, axis=2)
    pixels = (coarse[:, :rows, :cols] + rng.normal(0, 60, (4, rows, cols))).clip(1).astype(np.float32)
    valid = np.ones((rows, cols), bool)
    valid[200:260, 300:400] = False
    valid[:, : HALO + 30] = False
    return pixels * valid, valid


def _part(pixels, valid, whole, box):
    rows, cols = box.pad(HALO).slices(whole.pad(HALO))
    return pixels[:, rows, cols][None], valid[rows, cols][None]


def test_a_pixel_has_the_same_bytes_whatever_strip_it_is_made_for():
    whole = PixelBox(2 * CELL, -CELL, 3 * CELL, CELL)
    pixels, valid = _scene(whole.shape)
    kernel = _kernel()
    one = kernel(pixels[None], valid[None], whole).arrays
    for box in (PixelBox(2 * CELL, -CELL, 3 * CELL, 0), PixelBox(2 * CELL, 0, 3 * CELL, CELL)):
        part = kernel(*_part(pixels, valid, whole, box), box).arrays
        for name, array in part.items():
            np.testing.assert_array_equal(array, one[name][box.slices(whole)])
    assert len(np.unique(one["label"])) > 2


def test_the_map_is_that_of_one_window_over_everything_by_cosines_of_whole_vectors():
    box = PixelBox(0, 0, CELL, CELL)
    pixels, valid = _scene(box.shape, seed=1)
    arrays = _kernel(background="none")(pixels[None], valid[None], box).arrays
    weights = load_mini(MINI).concepts(pixels, valid, crop=HALO)
    vectors = np.einsum("kyx,kc->yxc", weights.astype(float) ** MINI.sharpness, concept_vectors().astype(float))
    cosines = vectors @ read(PROMPTS).astype(float).T / np.linalg.norm(vectors, axis=-1, keepdims=True)
    scores = class_scores(torch.from_numpy(cosines), (0, 1, 2), _kernel().info.options["scale"]).numpy()
    inner = valid[HALO:-HALO, HALO:-HALO]
    clear = np.diff(np.sort(scores, axis=-1)[..., -2:], axis=-1)[..., 0] > 1e-4
    np.testing.assert_array_equal(arrays["label"][inner & clear], scores.argmax(axis=-1)[inner & clear] + 1)
    assert np.abs(arrays["confidence"][inner] - 100 * scores.max(axis=-1)[inner]).max() <= 0.51
    assert not arrays["label"][~inner].any()
    assert not arrays["confidence"][~inner].any()


def test_what_nobody_asked_for_is_other_and_what_nobody_sees_is_not_computed():
    box = PixelBox(0, 0, CELL, CELL)
    pixels, valid = _scene(box.shape, seed=1)
    kernel = _kernel(prompts=["water"])
    assert [info.name for info in kernel.info.arrays[0].classes] == ["water", "other"]
    labels = kernel(pixels[None], valid[None], box).arrays["label"]
    assert (labels == 2).any()
    flood = _kernel(prompts=["water"], background="none")(pixels[None], valid[None], box).arrays["label"]
    assert set(np.unique(flood)) == {0, 1}
    nobody = StripContext(inside=np.zeros_like(valid))
    assert not kernel(pixels[None], valid[None], box, nobody).arrays["label"].any()


@pytest.mark.parametrize("factor", [2, 3])
def test_a_finer_model_s_scores_are_averaged_over_what_was_seen(factor):
    """Also where a window's edge cuts a grid pixel: 512 is no multiple of 3."""
    kernel = _kernel(resolution=10.0 * factor, gsd=10.0, background="none")
    box = PixelBox(-factor * CELL, 0, 0, factor * CELL)
    rng = np.random.default_rng(0)
    scores = rng.random((*box.shape, len(PROMPTS)), np.float32)
    valid = np.ones(box.shape, bool)
    valid[30:600, 510:514] = False
    valid[100:103, 99:700] = False
    threshold, background = kernel._options.threshold, kernel._vocabulary.background
    maps = StripArrays(box, valid, factor=factor, classes=3, threshold=threshold, background=background)
    for window in box.blocks(CELL):
        maps.put_window(window, torch.from_numpy(scores[window.slices(box)]))
    arrays = maps.arrays()
    blocks = (box.shape[0] // factor, factor, box.shape[1] // factor, factor)
    weight = valid.reshape(blocks).sum(axis=(1, 3))
    means = (scores * valid[..., None]).reshape(*blocks, -1).sum(axis=(1, 3)) / np.maximum(weight, 1)[..., None]
    assert arrays["label"].shape == weight.shape
    assert (weight == 0).any()
    assert not arrays["label"][weight == 0].any()
    clear = (weight > 0) & (np.diff(np.sort(means, axis=-1)[..., -2:], axis=-1)[..., 0] > 1e-5)
    np.testing.assert_array_equal(arrays["label"][clear], means.argmax(axis=-1)[clear] + 1)
    assert np.abs(arrays["confidence"] - 100 * means.max(axis=-1))[weight > 0].max() <= 0.51


def test_it_travels_without_its_net_and_says_what_it_is():
    kernel = _kernel()
    again = pickle.loads(pickle.dumps(kernel))
    assert again._net is None
    info = again.info
    assert info.name == "ovss"
    assert info.inputs.bands == ("blue", "green", "red", "nir")
    assert set(info.weights) == {"mini/mini.safetensors", "mini/words.safetensors", "words as read"}
    sharper = mini_kernel._reading(dataclasses.replace(MINI, sharpness=4.0))
    assert info.weights["words as read"] == mini_kernel._reading(MINI) != sharper
    assert info.provenance["licence"] == "Apache-2.0"
    assert kernel.check(["L2A"], 10.0) == []
    assert "has seen pixels of" in kernel.check([], 60.0)[0]
    with pytest.raises(SpecError, match="upsampler"):
        _kernel(upsampler="bilinear")
