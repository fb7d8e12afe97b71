from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from eopipe.models._simd import vector_width
from eopipe.models.dynamicworld import net
from eopipe.models.dynamicworld.net import (
    ALIGN,
    HALO,
    RECEPTIVE_FIELD,
    DynamicWorld,
    FastDynamicWorld,
    TorchDynamicWorld,
    load_dynamic_world,
    normalise,
)
from tests.support.paths import needs_shared, shared

_spec = importlib.util.spec_from_file_location("dw_reference", Path(__file__).with_name("reference.py"))
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

SHAPES = [(40, 36), (16, 16), (18, 62), (50, 34)]


@pytest.fixture(scope="module", params=["fast", "torch"])
def runner(request, arrays):
    return FastDynamicWorld(arrays) if request.param == "fast" else TorchDynamicWorld(arrays)


def everywhere(pixels):
    return np.ones(pixels.shape[1:], bool)


@pytest.mark.parametrize("shape", SHAPES)
def test_equal_to_the_layers_in_float64(runner, arrays, scene, shape):
    pixels = scene(*shape)
    valid = everywhere(pixels)
    valid[5:9, 3:12] = False
    x = np.where(valid, reference.normalise(pixels), 0)
    expected, _ = reference.forward(x, arrays)
    got = runner(pixels, valid)
    assert got.dtype == np.float32
    assert got.shape == (9, *shape)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(got.sum(axis=0), 1, rtol=0, atol=1e-6)


def test_embeddings_are_unit_vectors_equal_to_the_layers_in_float64(arrays, scene):
    pixels = scene(24, 32)
    _, expected = reference.forward(reference.normalise(pixels), arrays)
    module = DynamicWorld()
    module.load_published(arrays)
    with torch.inference_mode():
        got = module.embeddings(normalise(torch.from_numpy(pixels))[None])[0].numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose((got**2).sum(axis=0), 1, rtol=0, atol=1e-5)


def test_extreme_and_fractional_numbers(arrays):
    values = [0, 0.5, 1, 7.25, 199.5, 10_000, 65_535, 1e6]
    pixels = np.tile(np.array(values, np.float32), (9, 16, 2))
    expected, _ = reference.forward(reference.normalise(pixels), arrays)
    got = FastDynamicWorld(arrays)(pixels, everywhere(pixels))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)


def test_invalid_and_unusable_pixels_are_one_constant(runner, scene):
    pixels = scene(32, 32)
    valid = everywhere(pixels)
    valid[10:14, 6:20] = False
    expected = runner(pixels, valid)
    for junk in (np.nan, np.inf, -32768.0, 0.0):
        other = pixels.copy()
        other[:, ~valid] = junk
        assert np.array_equal(runner(other, valid), expected)
    other = pixels.copy()
    other[3, ~valid] = np.nan  # one band is enough
    assert np.array_equal(runner(other, everywhere(pixels)), expected)


def test_negative_numbers_count_as_zero(runner, scene):
    pixels = scene(16, 16)
    pixels[:, 4:6] = -150
    zero = np.maximum(pixels, 0)
    assert np.array_equal(runner(pixels, everywhere(pixels)), runner(zero, everywhere(zero)))


@pytest.mark.parametrize(("row", "column"), [(48, 48), (49, 49), (48, 51)])
def test_receptive_field(runner, scene, row, column):
    # a change of one input pixel reaches the outputs that see it: those within RECEPTIVE_FIELD and no others
    pixels = scene(100, 100)
    changed = pixels.copy()
    changed[:, row, column] = np.where(pixels[:, row, column] > 2000, 10, 9000)
    before, after = (runner(p, everywhere(p)) for p in (pixels, changed))
    rows, columns = np.nonzero((before != after).any(axis=0))
    reach = max(row - rows.min(), rows.max() - row, column - columns.min(), columns.max() - column)
    assert reach <= RECEPTIVE_FIELD


def test_receptive_field_is_as_stated_not_merely_below(arrays):
    # in float64 so that faint influence at the rim does not drown in rounding
    module = DynamicWorld()
    module.load_published(arrays)
    module = module.double().eval()
    x = torch.rand(1, 9, 96, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows = set()
    for row in (48, 49):
        changed = x.clone()
        changed[:, :, row] = 1 - changed[:, :, row]
        with torch.inference_mode():
            # not the module's forward, which ends in float32
            difference = (module.embeddings(x) - module.embeddings(changed)).abs().amax(dim=(0, 1, 3))
        seen = torch.nonzero(difference)[:, 0]
        rows |= {row - int(seen.min()), int(seen.max()) - row}
    assert max(rows) == RECEPTIVE_FIELD
    assert HALO >= RECEPTIVE_FIELD
    assert HALO % ALIGN == 0


def test_windows_on_the_lattice_agree_inside_the_halo(scene):
    # two windows of one shape, 32 px apart: same bytes where both have their whole halo
    pixels = scene(112, 144, seed=3)
    runner = load_dynamic_world()
    first, second = pixels[:, :, :112], pixels[:, :, 32:]
    a = runner(np.ascontiguousarray(first), everywhere(first), crop=HALO)
    b = runner(np.ascontiguousarray(second), everywhere(second), crop=HALO)
    assert np.array_equal(a[:, :, 32:], b[:, :, :-32])


@pytest.mark.parametrize("crop", [2, 10, HALO])
def test_crop_gives_the_same_bytes_as_cropping(runner, scene, crop):
    pixels = scene(64, 80)
    whole = runner(pixels, everywhere(pixels))
    assert np.array_equal(runner(pixels, everywhere(pixels), crop=crop), whole[:, crop:-crop, crop:-crop])


def test_same_bytes_again_from_other_threads_and_thread_counts(runner, scene):
    pixels = scene(96, 80)
    expected = runner(pixels, everywhere(pixels))
    with ThreadPoolExecutor(3) as pool:
        for got in pool.map(lambda _: runner(pixels, everywhere(pixels)), range(6)):
            assert np.array_equal(got, expected)
    if isinstance(runner, FastDynamicWorld):
        torch.set_num_threads(2)
        assert np.array_equal(runner(pixels, everywhere(pixels)), expected)


def test_bfloat16_agrees_where_the_margin_is_big(scene):
    pixels = scene(96, 96)
    exact = load_dynamic_world()(pixels, everywhere(pixels))
    loose = load_dynamic_world("bfloat16")(pixels, everywhere(pixels))
    first, second = np.sort(exact, axis=0)[-1], np.sort(exact, axis=0)[-2]
    clear = first - second > 0.2
    assert clear.mean() > 0.1
    assert (exact.argmax(axis=0) == loose.argmax(axis=0))[clear].mean() > 0.995


def test_a_batch_is_its_windows(arrays, scene):
    runner = TorchDynamicWorld(arrays)
    windows = np.stack([scene(32, 32, seed) for seed in range(3)])
    valid = np.ones((3, 32, 32), bool)
    together = runner.batch(windows, valid, crop=2)
    for window, got in zip(windows, together, strict=True):
        np.testing.assert_allclose(runner(window, valid[0], crop=2), got, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "crop", "word"),
    [((17, 32), 0, "even"), ((14, 32), 0, "16"), ((32, 32), 3, "crop"), ((32, 32), 10, "crop")],
)
def test_windows_that_cannot_be_halved_are_refused(runner, scene, shape, crop, word):
    pixels = scene(*shape)
    with pytest.raises(ValueError, match=word):
        runner(pixels, everywhere(pixels), crop=crop)


def test_wrong_arguments_are_refused(runner):
    with pytest.raises(ValueError, match=r"\[9, h, w\]"):
        runner(np.zeros((8, 32, 32), np.float32), np.ones((32, 32), bool))
    with pytest.raises(ValueError, match="float16"):
        load_dynamic_world("float16")


def test_the_flops_of_a_window_are_those_of_the_layers(arrays):
    half = sum(a.size for n, a in arrays.items() if n.endswith("weight") and not n.startswith(("stem", "head")))
    whole = arrays["stem.weight"].size + arrays["head.weight"].size
    assert pytest.approx(2 * (whole + half / 4) / 1e9) == net.GFLOP_PER_PIXEL


@pytest.mark.slow
@pytest.mark.parametrize("cpu", ["generic", "haswell"])
def test_older_instruction_sets_agree(arrays, scene, tmp_path, cpu):
    # the kernels take other shapes there, and no fused multiply-add on the first
    environment = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CACHE_DIR": str(tmp_path)}
    if cpu == "haswell":
        if vector_width() < 8:
            pytest.skip("this CPU has no AVX2")
        environment["NUMBA_CPU_FEATURES"] = "+avx,+avx2,+fma,+sse4.2,+bmi,+bmi2,+f16c"
    pixels = scene(34, 46)
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import sys, numpy as np\n"
        "from eopipe.models.dynamicworld.net import load_dynamic_world\n"
        "pixels = np.load(sys.argv[1])\n"
        "np.save(sys.argv[2], load_dynamic_world()(pixels, np.ones(pixels.shape[1:], bool)))\n"
    )
    arguments = [str(tmp_path / "pixels.npy"), str(tmp_path / "probabilities.npy")]
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, timeout=240)
    got = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(got, FastDynamicWorld(arrays)(pixels, everywhere(pixels)), rtol=0, atol=1e-5)


@needs_shared
def test_pisa_is_a_river_a_town_and_fields():
    import rasterio
    from rasterio.enums import Resampling

    bands = []
    for band in net.DYNAMIC_WORLD.bands:
        with rasterio.open(shared() / f"data/sentinel2-oscd/S2_pisa_20150704/{band}.tif") as source:
            if band == "B02":
                shape = source.shape
            bands.append(source.read(1, out_shape=shape, resampling=Resampling.bilinear))
    pixels = np.stack(bands)[:, 200:600, 100:600].astype(np.float32)
    valid = (pixels > 0).all(axis=0)
    label = load_dynamic_world()(pixels, valid, crop=HALO).argmax(axis=0)
    share = np.bincount(label.ravel(), minlength=9) / label.size
    names = dict(zip(net.DYNAMIC_WORLD.classes, share, strict=True))
    assert names["water"] > 0.003  # the Arno
    assert names["crops"] + names["grass"] > 0.1
    assert names["built"] > 0.2
    assert names["snow_and_ice"] < 0.01
    assert names["flooded_vegetation"] < 0.02
