"""A map does not depend on how it was cut: every upsampler, with what a strip hands down and without."""

import numpy as np
import pytest

from eopipe.grid import PixelBox
from eopipe.kernels.ovss.segmentor import lay_windows
from eopipe.kernels.protocol import StripContext
from tests.support.ovss import kernel
from tests.support.paths import needs_shared

WORLD = PixelBox(-223, 337, 700, 1300)  # has pixels; crosses the lattice's origin
AREA = PixelBox(0, 600, 192, 728)


@pytest.fixture(scope="module")
def world():
    """Seeded reflectance with fields of one value, noise, and holes; 0 where invalid."""
    rng = np.random.default_rng(0)
    rows, cols = WORLD.shape
    fields = rng.uniform(200, 3000, (3, rows // 37 + 1, cols // 37 + 1)).repeat(37, axis=1).repeat(37, axis=2)
    pixels = (fields[:, :rows, :cols] + rng.normal(0, 60, (3, rows, cols))).clip(1).astype(np.float32)
    valid = np.ones((rows, cols), bool)
    valid[300:, :320] = False
    valid[300:310] = False
    return np.where(valid, pixels, 0), valid


@pytest.fixture(
    params=[
        "bilinear",
        "jbu_one",
        pytest.param("jbu_stack", marks=needs_shared),
        pytest.param("anyup", marks=[needs_shared, pytest.mark.slow]),
    ]
)
def ovss(request, tmp_path, monkeypatch):
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))
    return kernel(tmp_path, request.param)


def call(ovss, world, box, **context):
    pixels, valid = world
    rows, cols = box.pad(ovss.info.window.halo).slices(WORLD)
    return ovss(pixels[None, :, rows, cols], valid[None, rows, cols], box, StripContext(**context))


def mapped(ovss, world, height, width, *, carried):
    """The area, cut into columns, each mapped strip by strip."""
    out = {spec.name: np.zeros(AREA.shape, np.uint8) for spec in ovss.info.arrays}
    for col in range(AREA.col0, AREA.col1, width):
        carry = None
        for row in range(AREA.row0, AREA.row1, height):
            box = PixelBox(row, col, row + height, col + width)
            result = call(ovss, world, box, carry=carry)
            carry = result.carry if carried else None
            for name, array in result.arrays.items():
                out[name][box.slices(AREA)] = array
    return out


def test_the_map_does_not_depend_on_cuts(ovss, world):
    whole = call(ovss, world, AREA).arrays
    assert (whole["label"] == 0).any()
    assert len(np.unique(whole["confidence"])) > 3
    for height, width, carried in ((96, 128, True), (192, 64, False)):
        pieces = mapped(ovss, world, height, width, carried=carried)
        for name, array in whole.items():
            np.testing.assert_array_equal(array, pieces[name], err_msg=f"{name}, carried: {carried}")


def test_a_bias_of_the_strip_in_place_of_the_window_would_show(world, tmp_path, monkeypatch):
    """The test above can fail: windows that begin at the strip, as benchmarks lay them, give another map."""
    monkeypatch.setattr(
        "eopipe.kernels.ovss.strip_windows.lay_windows",
        lambda box, **given: lay_windows(box, **(given | {"lattice": False})),
    )
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))
    ovss = kernel(tmp_path)
    area = PixelBox(0, 600, 448, 1048)
    whole = call(ovss, world, area).arrays["label"]
    lower = PixelBox(224, 600, 448, 1048)
    assert (call(ovss, world, lower).arrays["label"] != whole[224:]).any()


def test_windows_without_a_valid_pixel_are_left_out(world, tmp_path, monkeypatch):
    """A hole larger than a window, within a strip and below it, is no data; what lies beside it is as before."""
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))
    ovss = kernel(tmp_path)
    pixels, valid = world
    box = PixelBox(0, 600, 448, 712)
    full = call(ovss, world, box).arrays["label"]
    holed = valid.copy()
    holed[PixelBox(-223, 337, 64, 1300).slices(WORLD)[0].stop :] = False  # nothing from row 64 on
    calls = []
    monkeypatch.setattr(type(ovss._net.encoder), "__call__", counting(type(ovss._net.encoder).__call__, calls))
    result = call(ovss, (np.where(holed, pixels, 0), holed), box)
    assert (result.arrays["label"][64:] == 0).all()
    assert (result.arrays["label"][:64] > 0).all()
    assert (full > 0).sum() > (result.arrays["label"] > 0).sum()
    assert len(calls) == 2 * 3  # two rows of windows begin above row 64, three columns touch the box
    assert not result.carry.values.any()


def counting(method, calls):
    def counted(*given):
        calls.append(1)
        return method(*given)

    return counted


def test_windows_that_nobody_will_see_are_left_out(world, tmp_path, monkeypatch):
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))
    ovss = kernel(tmp_path)
    box = PixelBox(0, 600, 192, 936)
    full = call(ovss, world, box).arrays
    inside = np.zeros(box.pad(223).shape, bool)
    part = PixelBox(20, 700, 90, 760)
    inside[part.slices(box.pad(223))] = True
    calls = []
    tower = type(ovss._net.encoder)
    monkeypatch.setattr(tower, "__call__", counting(tower.__call__, calls))
    arrays = call(ovss, world, box, inside=inside).arrays
    for name, array in arrays.items():
        np.testing.assert_array_equal(array[part.slices(box)], full[name][part.slices(box)])
    assert len(calls) == 2 * 2  # the windows that touch the part


def test_features_are_handed_out_where_they_are_kept_and_score_the_same(world, tmp_path, monkeypatch):
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))
    box = PixelBox(0, 600, 64, 664)
    plain, keeping = kernel(tmp_path), kernel(tmp_path, features="keep")
    expected, result = call(plain, world, box), call(keeping, world, box)
    assert not expected.windows
    assert set(result.windows) == {(row, col) for row in (-1, 0) for col in (4, 5)}
    assert all(window.shape == (197, 32) for window in result.windows.values())
    again = call(plain, world, box, features=Kept(result.windows))
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(array, result.arrays[name])
        np.testing.assert_array_equal(array, again.arrays[name])


class Kept:
    """Features of an earlier run."""

    def __init__(self, windows):
        self.windows = windows

    def get(self, row, col):
        return self.windows[row, col]
