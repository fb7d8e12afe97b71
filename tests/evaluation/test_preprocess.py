import numpy as np
import pytest
import torch

from eopipe.evaluation.preprocess import benchmark_input, demo_input, normalised, resize_bilinear, resized_shape
from tests.support.paths import golden as golden_file
from tests.support.paths import needs_shared

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


@pytest.fixture(scope="module")
def golden():
    with np.load(golden_file("preprocess.npz")) as file:
        return {name: file[name] for name in file.files}


@needs_shared
@pytest.mark.parametrize("size", ["300x517", "640x512", "200x200"])
def test_the_resize_is_opencvs_to_the_bit(golden, size):
    source, expected = golden[f"prep_bgr_{size}"], golden[f"prep_resized_bgr_{size}"]
    assert resized_shape(*source.shape[:2], long_side=448) == expected.shape[:2]
    np.testing.assert_array_equal(resize_bilinear(source, expected.shape[:2]), expected)


@needs_shared
@pytest.mark.parametrize("size", ["300x517", "640x512", "200x200"])
def test_the_model_sees_what_the_tables_pipeline_shows(golden, size):
    expected = golden[f"prep_norm_{size}"]
    stored = golden[f"prep_resized_bgr_{size}"][..., ::-1]
    np.testing.assert_allclose(normalised(stored, mean=MEAN, std=STD), expected, atol=1e-5)
    whole = benchmark_input(
        np.ascontiguousarray(golden[f"prep_bgr_{size}"][..., ::-1]), long_side=448, mean=MEAN, std=STD
    )
    assert whole.dtype == torch.float32
    np.testing.assert_allclose(whole, expected, atol=1e-5)


def rows_of_1024():
    y, x, c = np.ogrid[:1024, :1024, :3]
    return (((7 * y + 13 * x + 29 * c) ^ (x * y // 16)) % 256).astype(np.uint8)


@needs_shared
@pytest.mark.parametrize("antialias", [0, 1])
@pytest.mark.parametrize("size", [256, 1024])
def test_the_demo_path(golden, size, antialias):
    picture = golden["de_rgb_256"] if size == 256 else rows_of_1024()
    tensor = demo_input(picture, side=448, mean=MEAN, std=STD, antialias=bool(antialias))
    name = f"de_norm448_from{size}_aa{antialias}"
    assert tensor.shape == (3, 448, 448)
    np.testing.assert_allclose(tensor[0, :8], golden[f"{name}_ch0_row0_7"], atol=1e-5, rtol=1e-4)
    np.testing.assert_allclose([tensor.mean(), tensor.std()], golden[f"{name}_mean_std"], atol=1e-5, rtol=1e-4)


def test_a_constant_picture_stays_constant_and_a_fitting_one_is_not_touched():
    flat = np.full((31, 70, 3), 255, np.uint8)
    assert (resize_bilinear(flat, (198, 448)) == 255).all()
    fits = np.random.default_rng(1).integers(0, 256, (448, 300, 3), np.uint8)
    assert resize_bilinear(fits, resized_shape(448, 300, long_side=448)) is fits


def test_half_the_size_is_the_mean_of_four():
    source = np.random.default_rng(2).integers(0, 256, (896, 896, 3), np.uint8)
    expected = (source.reshape(448, 2, 448, 2, 3).sum((1, 3), dtype=np.int32) + 2) >> 2
    np.testing.assert_array_equal(resize_bilinear(source, (448, 448)), expected)
