from __future__ import annotations

import importlib.util
import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
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


def test_bytes_depend_neither_on_a_window_s_size_nor_on_its_place(arrays, scene):
    # with tiles that reach beyond their window, those that do not, and some that are moved back into it
    runner, pixels = FastDynamicWorld(arrays), scene(400, 620, seed=5)
    valid = everywhere(pixels)
    valid[100:140, 40:300] = False
    whole = runner(pixels, valid)
    for top, left, height, width in ((0, 0, 400, 560), (2, 6, 304, 310), (60, 46, 340, 560), (40, 34, 64, 80)):
        at = slice(top, top + height), slice(left, left + width)
        got = runner(pixels[:, *at], valid[at], crop=HALO)
        inside = slice(top + HALO, top + height - HALO), slice(left + HALO, left + width - HALO)
        assert np.array_equal(got, whole[:, *inside])


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


def test_windows_of_several_threads_do_not_mix(arrays, scene):
    runner = FastDynamicWorld(arrays)
    windows = [scene(side, 90 - side, seed) for seed, side in enumerate((40, 40, 50, 30, 50, 40))]
    expected = [runner(pixels, everywhere(pixels)) for pixels in windows]
    with ThreadPoolExecutor(3) as pool:
        for got, alone in zip(pool.map(lambda p: runner(p, everywhere(p)), windows), expected, strict=True):
            assert np.array_equal(got, alone)


def test_a_used_runner_goes_to_a_spawned_process(arrays, scene):
    runner, pixels = FastDynamicWorld(arrays), scene(32, 32)
    expected = runner(pixels, everywhere(pixels))
    assert np.array_equal(pickle.loads(pickle.dumps(runner))(pixels, everywhere(pixels)), expected)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert np.array_equal(pool.submit(runner, pixels, everywhere(pixels)).result(), expected)


def test_values_that_are_normalised_already(arrays, scene):
    runner, pixels = FastDynamicWorld(arrays), scene(48, 80)
    x = normalise(torch.from_numpy(pixels)).numpy()
    got = runner.normalised(x, crop=6)
    np.testing.assert_allclose(got, runner(pixels, everywhere(pixels), crop=6), rtol=0, atol=1e-5)


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
def test_older_instruction_sets_agree(arrays, scene, tmp_path):
    # other kernels run there, on smaller vectors
    if vector_width() < 8:
        pytest.skip("this CPU has no AVX2")
    pixels = scene(34, 46)
    np.save(tmp_path / "pixels.npy", pixels)
    code = (
        "import sys, numpy as np\n"
        "from eopipe.models.dynamicworld.net import load_dynamic_world\n"
        "pixels = np.load(sys.argv[1])\n"
        "np.save(sys.argv[2], load_dynamic_world()(pixels, np.ones(pixels.shape[1:], bool)))\n"
    )
    arguments = [str(tmp_path / "pixels.npy"), str(tmp_path / "probabilities.npy")]
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    subprocess.run([sys.executable, "-c", code, *arguments], env=environment, check=True, timeout=240)
    got = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(got, FastDynamicWorld(arrays)(pixels, everywhere(pixels)), rtol=0, atol=1e-5)


def test_openvino_reports_nothing_to_its_makers():
    # a bare ``import openvino`` sends an event by way of openvino_telemetry, see `eopipe.models.dynamicworld.graph`
    code = (
        "import sys, numpy as np\n"
        "from eopipe.models.dynamicworld.net import load_dynamic_world\n"
        "assert 'openvino' not in sys.modules\n"
        "load_dynamic_world()(np.zeros((9, 16, 16), np.float32), np.ones((16, 16), bool))\n"
        "print(*sorted(name for name in sys.modules if name.startswith('openvino') and 'telemetry' in name))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True, text=True)
    stub = "openvino.tools.ovc.telemetry"
    assert run.stdout.split() == [f"{stub}_params", f"{stub}_stub", f"{stub}_utils"]


def test_without_openvino_the_plain_module_runs_and_the_log_says_so(monkeypatch, caplog):
    monkeypatch.setattr(net, "find_spec", lambda _: None)
    assert isinstance(load_dynamic_world(), TorchDynamicWorld)
    assert "openvino is not installed" in caplog.text


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
