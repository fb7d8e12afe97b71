from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from eopipe.errors import PlanError
from eopipe.models._simd import jit
from eopipe.models.upsample import (
    _jbu_basis,
    _jbu_filters,
    _jbu_keys,
    _jbu_layout,
    _jbu_rows,
    _jbu_tiles,
    jbu_cpu,
)
from eopipe.models.upsample.jbu import JBU
from eopipe.models.upsample.jbu_cpu import JBUCpu
from tests.models.upsample import jbu_oracle
from tests.models.upsample.seeded_inputs import inputs
from tests.support.paths import needs_shared, shared

CLOSE = {"atol": 1e-5, "rtol": 1e-4}  # the golden arrays' own
STACK = shared() / "weights" / "featup_jbu" / "clip_jbu_stack_cocostuff.ckpt"
STAGES = {"jbu_one": ["up"], "jbu_stack": ["up1", "up2", "up3", "up4"]}


def seeded(name, channels, seed=0):
    torch.manual_seed(seed)
    weights = dict(JBU(name, channels).state_dict())
    for n, stage in enumerate(STAGES[name]):
        weights[f"{stage}.range_temp"] = torch.tensor(0.3 - 0.4 * n)
        weights[f"{stage}.sigma_spatial"] = torch.tensor(0.7 + 0.2 * n)
    return weights


def cosines(features, text):
    """Of features [B, C, H, W], in float64."""
    return torch.einsum("bcyx,qc->byxq", functional.normalize(features.double(), dim=1), text.double())


@needs_shared
def test_a_small_jbu_one_gives_the_golden_features(golden):
    arrays = golden("jbu_one_small_full")
    weights = {key.removeprefix("w::"): value for key, value in arrays.items() if key.startswith("w::")}
    features = JBUCpu(weights, threads=1).upsample(arrays["src"], arrays["img"])
    torch.testing.assert_close(features, arrays["out"], **CLOSE)


@needs_shared
@pytest.mark.parametrize("name", ["jbu_one", "jbu_stack"])
def test_a_window_of_clip_gives_the_golden_features_and_their_cosines(golden, name):
    window = golden("jbu_stack_clip")
    if name == "jbu_one":
        arrays = golden("jbu_one_seeded512")
        weights = {key.removeprefix("w::"): value for key, value in arrays.items() if key.startswith("w::")}
    else:
        arrays = window
        state = torch.load(STACK, map_location="cpu", weights_only=True)["state_dict"]
        weights = {key.removeprefix("upsampler."): value for key, value in state.items()}
    upsampler = JBUCpu(weights, threads=2)
    assert upsampler.name == name
    features = upsampler.upsample(window["src"], window["img"])
    torch.testing.assert_close(features[:, :2], arrays["out_ch0_1"], **CLOSE)
    pixels = features[0][:, arrays["px_y"], arrays["px_x"]]
    torch.testing.assert_close(pixels, arrays["out_px"], **CLOSE)
    torch.testing.assert_close(features.mean((0, 2, 3)), arrays["out_mean_per_channel"], **CLOSE)
    torch.testing.assert_close(features.std((0, 2, 3)), arrays["out_std_per_channel"], **CLOSE)
    text = inputs(1, 1, 512, (1, 1), queries=13)[2]
    scores = upsampler.score(window["src"], window["img"], text)
    torch.testing.assert_close(scores.double(), cosines(features, text), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "channels", "grid", "patch"),
    [
        ("jbu_one", 7, (3, 5), 4),  # fewer channels than patches
        ("jbu_one", 20, (3, 4), 8),  # more; every pixel of the first stage reflects on both sides
        ("jbu_one", 5, (4, 9), 4),  # two vectors of cells, the second begun with the right border
        ("jbu_stack", 6, (2, 2), 16),
    ],
)
def test_features_and_cosines_are_those_of_the_formulas(name, channels, grid, patch):
    weights = seeded(name, channels)
    patches, guidance, text = inputs(2, 1, channels, grid, patch)
    names = STAGES[name] * (patch.bit_length() - 1) if name == "jbu_one" else STAGES[name]
    exact = torch.from_numpy(jbu_oracle.upsample(patches[0].numpy(), guidance[0].numpy(), weights, names))[None]
    upsampler = JBUCpu(weights, threads=1)
    torch.testing.assert_close(upsampler.upsample(patches, guidance).double(), exact, atol=5e-6, rtol=1e-5)
    scores = upsampler.score(patches, guidance, text)
    assert scores.dtype == torch.float32
    assert scores.is_contiguous()
    torch.testing.assert_close(scores.double(), cosines(exact, text), atol=5e-6, rtol=0)


@pytest.mark.parametrize("name", ["jbu_one", "jbu_stack"])
def test_threads_and_batch_change_no_byte(name, monkeypatch):
    monkeypatch.setattr(jbu_cpu, "ROWS", 1)  # small as the windows are, they are cut
    monkeypatch.setattr(jbu_cpu, "KEY_ROWS", 1)
    weights = seeded(name, 24)
    patches, guidance, text = inputs(3, 3, 24, (4, 7), queries=9)
    expected = JBUCpu(weights, threads=1).score(patches, guidance, text)
    for threads in (2, 3, 5):
        assert torch.equal(JBUCpu(weights, threads=threads).score(patches, guidance, text), expected)
    for n in range(3):
        alone = JBUCpu(weights, threads=2).score(patches[n : n + 1], guidance[n : n + 1], text)
        assert torch.equal(alone[0], expected[n])
        features = JBUCpu(weights, threads=1 + n).upsample(patches, guidance)
        torch.testing.assert_close(cosines(features, text), expected.double(), atol=1e-6, rtol=0)


def test_any_number_of_queries():
    weights = seeded("jbu_one", 40)
    patches, guidance, text = inputs(4, 1, 40, (3, 3), queries=30)
    upsampler = JBUCpu(weights, threads=1)
    expected = cosines(upsampler.upsample(patches, guidance), text)
    for queries in range(1, 31):
        scores = upsampler.score(patches, guidance, text[:queries])
        torch.testing.assert_close(scores.double(), expected[..., :queries], atol=1e-6, rtol=0)


def test_equal_patches_and_windows_of_zeros():
    weights = seeded("jbu_one", 12)
    text = inputs(5, 1, 12, (1, 1))[2]
    upsampler = JBUCpu(weights, threads=1)
    patches, guidance, _ = inputs(6, 1, 12, (3, 4))
    cases = {
        "one colour": (patches, torch.ones_like(guidance)),
        "equal patches": (patches[:, :, :1, :1].expand(-1, -1, 3, 4), guidance),
        "two kinds of patches": (patches[:, :, :, :2].repeat(1, 1, 1, 2), guidance),
        "patches of zeros": (torch.zeros_like(patches), guidance),
        "all zeros": (torch.zeros_like(patches), torch.zeros_like(guidance)),
        "strong edges": (patches, 10 * guidance.sign()),
    }
    for name, (p, g) in cases.items():
        exact = jbu_oracle.upsample(p[0].numpy(), g[0].numpy(), weights, ["up"] * 4)
        scores = upsampler.score(p, g, text)
        expected = cosines(torch.from_numpy(exact)[None], text)
        torch.testing.assert_close(
            scores.double(), expected, atol=1e-5, rtol=0, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_a_feature_of_zeros_scores_zero():
    weights = seeded("jbu_one", 12)
    weights["fixup_proj.1.bias"] = torch.zeros(12)
    _, guidance, text = inputs(7, 1, 12, (3, 3))
    assert not JBUCpu(weights, threads=1).score(torch.zeros(1, 12, 3, 3), guidance, text).any()


@pytest.mark.parametrize(
    ("name", "channels", "grid", "size", "said"),
    [
        ("jbu_one", 9, (3, 3), (48, 48), "is for features of 8 channels, and the encoder gives 9"),
        ("jbu_one", 8, (3, 3), (42, 42), "cannot make 42 x 42 pixels of 3 x 3 patches"),
        ("jbu_one", 8, (3, 3), (48, 64), "cannot make 48 x 64"),
        ("jbu_stack", 8, (3, 3), (96, 96), "cannot make 96 x 96"),
        ("jbu_one", 8, (2, 4), (32, 64), "32 x 64 is too small.*sides of at least 48"),
        ("jbu_stack", 8, (1, 4), (16, 64), "16 x 64 is too small.*sides of at least 32"),
    ],
)
def test_windows_that_do_not_fit_are_refused(name, channels, grid, size, said):
    upsampler = JBUCpu(seeded(name, 8), threads=1)
    with pytest.raises(PlanError, match=said):
        upsampler.score(torch.zeros(1, channels, *grid), torch.zeros(1, 3, *size), torch.zeros(2, channels))


def test_memory_is_what_a_window_takes(monkeypatch):
    taken = []

    def counted(*shape, original=np.empty, **options):
        made = original(*shape, **options)
        taken.append(made.nbytes)
        return made

    weights = seeded("jbu_one", 64)
    patches, guidance, text = inputs(8, 1, 64, (14, 14), queries=12)
    upsampler = JBUCpu(weights, threads=1)
    monkeypatch.setattr(np, "empty", counted)
    upsampler.score(patches, guidance, text)
    stated = upsampler.memory(1, 224, 64, 12)
    assert sum(taken) - 4 * 224 * 224 * 12 <= stated <= 2 * sum(taken)


@pytest.mark.parametrize(("channels", "patches"), [(40, 12), (12, 12), (13, 12), (7, 30), (64, 50)], ids=str)
def test_the_triangle_keeps_every_length(channels, patches):
    rng = np.random.default_rng(channels)
    columns = rng.normal(size=(channels, patches)).astype(np.float32)
    columns[:, 3], columns[:, 4] = 0, columns[:, 5]  # no rank is asked for
    weight, bias = rng.normal(size=(channels, channels)) / 10, rng.normal(size=channels)
    text = rng.normal(size=(3, channels)).astype(np.float32)
    source, constant = np.full((patches, 80), np.nan, np.float32), np.full(80, np.nan, np.float32)
    packed = (_jbu_basis.pack_rows((np.eye(channels) + weight).astype(np.float32)), bias.astype(np.float32))
    rest = _jbu_basis.factor(columns, *packed, _jbu_basis.pack_rows(text), 3, 80, source, constant)
    whole = np.column_stack([columns + weight @ columns, bias])
    rank = min(channels, patches)
    got = np.vstack([source, constant]).T.astype(float)
    beside = np.zeros((patches + 1, patches + 1))
    beside[-1, -1] = rest**2
    np.testing.assert_allclose(got[:rank].T @ got[:rank] + beside, whole.T @ whole, atol=2e-4)
    np.testing.assert_allclose(got[rank : rank + 3], text @ whole, atol=2e-5)
    assert not got[rank + 3 :].any()


def test_gelu_is_the_exact_one():
    lanes = _jbu_layout.LANES
    tile = _jbu_tiles.make_product(lanes, 1, 1, a_row=1, a_k=1, pairs=False, add=False, gelu=True)

    @jit
    def gelu(one, x, y):
        for n in range(0, x.size, lanes):
            tile(one, 0, 0, x, n, 0, 0, 1, 1, y, n, 0, 0)

    x = np.concatenate([np.linspace(-9, 9, 16 * 4000), np.repeat([-1e30, -100, 100, 1e30], 4)]).astype(np.float32)
    y = np.empty_like(x)
    gelu(np.ones(1, np.float32), x, y)
    exact = functional.gelu(torch.from_numpy(x).double()).numpy()
    error = abs(y - exact)
    assert np.max(error[abs(x) < 2]) < 3e-7
    assert np.max(error / np.maximum(1, abs(exact))) < 1e-6


def test_warming_up_compiles_what_scoring_needs():
    jbu_cpu.warm_up()
    kernels = (_jbu_keys.keys, _jbu_rows.double, _jbu_rows.score, _jbu_basis.factor)
    before = [len(kernel.signatures) for kernel in kernels]
    weights = seeded("jbu_one", 8)
    patches, guidance, text = inputs(9, 1, 8, (3, 4))
    JBUCpu(weights, threads=1).score(patches, guidance, text)
    assert [len(kernel.signatures) for kernel in kernels] == before == [1, 1, 1, 1]


def test_vectors_fill_the_registers():
    assert _jbu_layout.LANES in (4, 8, 16)
    assert _jbu_layout.STEP % (_jbu_filters.VECTORS * _jbu_layout.LANES) == 0
