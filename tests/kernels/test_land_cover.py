"""The land-cover kernel: a strip's bytes depend on the pixels around, not on the strip."""

import numpy as np
import pytest

from eopipe.errors import PlanError
from eopipe.grid import PixelBox
from eopipe.kernels.protocol import StripContext
from eopipe.kernels.registry import create, names
from eopipe.models.dynamicworld.net import HALO

SIDE = 512 + 2 * HALO


@pytest.fixture(scope="module")
def kernel():
    land_cover = create("land-cover", {"probabilities": True}, resolution=10.0)
    land_cover.load(device="cpu", threads=1)
    return land_cover


def pixels(rows, cols, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(200, 4000, (1, 9, rows, cols)).astype(np.float32), np.ones((1, rows, cols), bool)


def test_it_is_listed_and_says_what_it_is(kernel):
    assert "land-cover" in names()
    info = kernel.info
    assert [spec.name for spec in info.arrays] == ["label", "confidence", "probability"]
    assert [entry.code for entry in info.arrays[0].classes] == list(range(1, 10))
    assert info.window.halo >= 22
    assert list(info.weights.values()) == ["3b1726946bda77768b66fb50cc5995e7499aea9ab28f2cf7597cdba53f4293b0"]
    assert info.provenance["licence"] == "Apache-2.0"


def test_auto_never_takes_a_precision_that_changes_labels():
    assert create("land-cover", {"precision": "auto"}, resolution=10.0).info.options["precision"] == "float32"
    chosen = create("land-cover", {"precision": "bfloat16"}, resolution=10.0)
    assert chosen.info.options["precision"] == "bfloat16"
    (warning,) = chosen.check(["L1C"], 10.0)
    assert "99.0 to 99.6 %" in warning


def test_labels_confidence_and_probabilities_agree(kernel):
    values, valid = pixels(SIDE, SIDE)
    valid[0, HALO : HALO + 100, HALO : HALO + 100] = False
    arrays = kernel(values, valid, PixelBox(0, 0, 512, 512)).arrays
    unseen = ~valid[0, HALO:-HALO, HALO:-HALO]
    assert (arrays["label"][unseen] == 0).all()
    assert (arrays["confidence"][unseen] == 0).all()
    assert (arrays["probability"][:, unseen] == 254).all()
    planes = arrays["probability"][:, ~unseen].astype(int)
    assert (planes.argmax(0) + 1 == arrays["label"][~unseen]).mean() > 0.99
    assert np.abs(planes.max(0) / 2.5 - arrays["confidence"][~unseen]).max() <= 0.8


def test_a_window_with_nothing_to_see_is_not_computed(kernel, monkeypatch):
    values, valid = pixels(SIDE, SIDE + 512)
    valid[0, :, HALO + 512 :] = False
    calls = []
    runner = kernel._net
    monkeypatch.setattr(kernel, "_net", lambda *args, **kwargs: calls.append(1) or runner(*args, **kwargs))
    arrays = kernel(values, valid, PixelBox(0, 0, 512, 1024)).arrays
    assert calls == [1]
    assert (arrays["label"][:, 512:] == 0).all()
    assert (arrays["label"][:, :512] > 0).all()


def test_a_window_that_nobody_will_see_is_not_computed(kernel, monkeypatch):
    values, valid = pixels(SIDE, SIDE + 512)
    inside = np.zeros_like(valid[0])
    inside[HALO + 5, HALO + 5] = True
    calls = []
    runner = kernel._net
    monkeypatch.setattr(kernel, "_net", lambda *args, **kwargs: calls.append(1) or runner(*args, **kwargs))
    arrays = kernel(values, valid, PixelBox(0, 0, 512, 1024), StripContext(inside=inside)).arrays
    assert calls == [1]
    assert arrays["label"][5, 5] > 0


def test_a_finer_gsd_is_averaged_before_it_decides():
    coarsened = create("land-cover", {"gsd": 10}, resolution=20.0)
    coarsened.load(device="cpu", threads=1)
    fine = create("land-cover", {"probabilities": True}, resolution=10.0)
    fine.load(device="cpu", threads=1)
    values, valid = pixels(SIDE, SIDE, seed=3)
    coarse = coarsened(values, valid, PixelBox(0, 0, 512, 512)).arrays
    planes = fine(values, valid, PixelBox(0, 0, 512, 512)).arrays["probability"].astype(float)
    mean = planes.reshape(9, 256, 2, 256, 2).mean(axis=(2, 4))
    margin = np.sort(mean, axis=0)[-1] - np.sort(mean, axis=0)[-2]
    clear = margin > 2  # the planes are rounded to 1/250
    assert coarse["label"].shape == (256, 256)
    np.testing.assert_array_equal(coarse["label"][clear], mean.argmax(0)[clear] + 1)


@pytest.mark.parametrize(("gsd", "resolution"), [(20, 10.0), (3, 10.0), (7, 30.0)])
def test_a_gsd_that_cannot_be_placed_is_refused(gsd, resolution):
    with pytest.raises(PlanError, match=r"kernel\.gsd"):
        create("land-cover", {"gsd": gsd}, resolution=resolution)


def test_level_2a_and_far_resolutions_are_warned_of():
    far = create("land-cover", {}, resolution=100.0)
    warnings = far.check(["L1C", "L2A"], 100.0)
    assert len(warnings) == 2
    assert "L2A" in warnings[0]
    assert "10 m" in warnings[1]
    assert create("land-cover", {}, resolution=10.0).check(["L1C"], 10.0) == []
