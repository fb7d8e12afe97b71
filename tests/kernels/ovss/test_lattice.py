"""A map does not depend on how it was cut: every upsampler, with what a strip hands down and without."""

import numpy as np
import pytest

from eopipe.grid import PixelBox
from eopipe.kernels.protocol import StripContext
from tests.support.ovss import kernel
from tests.support.paths import needs_shared, shared

WORLD = PixelBox(-223, 337, 700, 1300)  # has pixels; crosses the lattice's origin
AREA = PixelBox(0, 600, 384, 856)
UPSAMPLERS = [
    "bilinear",
    "jbu_one",
    pytest.param("jbu_stack", marks=needs_shared),
    pytest.param("anyup", marks=needs_shared),
]


@pytest.fixture(scope="module")
def world():
    """Seeded reflectance with fields of one value, noise, and holes; 0 where invalid."""
    rng = np.random.default_rng(0)
    rows, cols = WORLD.shape
    fields = rng.uniform(200, 3000, (3, rows // 37 + 1, cols // 37 + 1)).repeat(37, axis=1).repeat(37, axis=2)
    pixels = (fields[:, :rows, :cols] + rng.normal(0, 60, (3, rows, cols))).clip(1).astype(np.float32)
    valid = np.ones((rows, cols), bool)
    valid[400:, :500] = False
    valid[250:260] = False
    return np.where(valid, pixels, 0), valid


@pytest.fixture(params=UPSAMPLERS)
def ovss(request, tmp_path, monkeypatch):
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))
    if request.param in {"jbu_stack", "anyup"}:
        monkeypatch.setenv("EOPIPE_WEIGHTS", str(shared() / "weights"))
    return kernel(tmp_path, request.param)


def call(ovss, world, box, **context):
    pixels, valid = world
    rows, cols = box.pad(ovss.info.window.halo).slices(WORLD)
    return ovss(pixels[None, :, rows, cols], valid[None, rows, cols], box, StripContext(**context))


def mapped(ovss, world, step, *, carried):
    """The area, cut into squares of ``step``, each in two strips."""
    out = {spec.name: np.zeros(AREA.shape, np.uint8) for spec in ovss.info.arrays}
    for row in range(AREA.row0, AREA.row1, step):
        for col in range(AREA.col0, AREA.col1, step):
            carry = None
            for top in range(row, row + step, step // 2):
                box = PixelBox(top, col, top + step // 2, col + step)
                result = call(ovss, world, box, carry=carry if carried else None)
                carry = result.carry
                for name, array in result.arrays.items():
                    out[name][box.slices(AREA)] = array
    return out


def test_the_map_does_not_depend_on_cuts(ovss, world):
    whole = call(ovss, world, AREA).arrays
    assert set(np.unique(whole["label"])) >= {0, 1, 2}
    for carried in (True, False):
        pieces = mapped(ovss, world, 128, carried=carried)
        for name, array in whole.items():
            np.testing.assert_array_equal(array, pieces[name], err_msg=f"{name}, carried {carried}")
