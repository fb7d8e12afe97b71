"""The change kernel on a real scene: what it says where nothing changed, and that strips cannot be seen."""

import re

import numpy as np
import pytest
import rasterio

from eopipe.errors import SpecError, TileFault
from eopipe.grid import CELL, PixelBox
from eopipe.kernels import registry
from eopipe.kernels.change.registration.shift import move
from eopipe.kernels.change.spectral import base
from eopipe.kernels.change.spectral.cell import HALO
from eopipe.kernels.land_cover import BANDS
from eopipe.kernels.protocol import Measuring, StripContext
from eopipe.kernels.statistics import Field
from tests.support.change import Colours
from tests.support.paths import needs_shared, shared

SIDE = CELL + 2 * HALO
BOX = PixelBox(0, 0, CELL, CELL)


@pytest.fixture(scope="module")
def scene():
    """A part of the real Pisa scene of July 2015, ``[9, y, x]``, on the pixels of its 10 m bands."""
    folder = shared() / "data/sentinel2-oscd/S2_pisa_20150704"
    names = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12")
    bands = []
    for name in names:
        with rasterio.open(folder / f"{name}.tif") as file:
            whole = file.read(1, out_shape=(776, 718 + 2), resampling=rasterio.enums.Resampling.bilinear)
            bands.append(whole[:SIDE, :SIDE])
    return np.stack(bands).astype(np.float32)


def load_kernel(**options):
    """The kernel with its net loaded."""
    kernel = registry.create("change", options, resolution=10)
    kernel.load(device="cpu", threads=1)
    return kernel


def measured(kernel, pixels, valid):
    """Every stage's numbers, as if the cell were the whole area."""
    fields = {}
    for stage in kernel.stages():
        at = np.s_[HALO - stage.info.halo : SIDE - HALO + stage.info.halo]
        rows = [BANDS.index(band) for band in stage.info.bands]
        sums = stage.measure(pixels[:, rows][..., at, at], valid[:, at, at], BOX, StripContext(statistics=fields))
        fields[stage.info.name] = Field.constant(stage.numbers(sums), BOX.pad(CELL), CELL)
    return fields


def dates(scene, *, noise):
    """The scene and itself; or with noise, 0.3 pixels away."""
    if not noise:
        return np.stack([scene, scene])
    rng = np.random.default_rng(2)
    wide = np.pad(scene, ((0, 0), (6, 6), (6, 6)), mode="reflect")
    shift = np.full(scene.shape[1:], -0.3)
    moved, _ = move(wide, np.ones(wide.shape[1:], bool), shift, shift, 6)
    second = moved * rng.normal(1, 0.01, scene.shape) + rng.normal(0, 20, scene.shape)
    return np.stack([scene, second.astype(np.float32)])


@needs_shared
def test_noise_and_a_shift_are_no_change(scene):
    """With the real net: it too must not take noise for another class."""
    kernel, pixels, valid = load_kernel(), dates(scene, noise=True), np.ones((2, SIDE, SIDE), bool)
    fields = measured(kernel, pixels, valid)
    shift = {name: float(fields["shift"].at(name, BOX)[0, 0]) for name in ("down", "right")}
    assert shift == pytest.approx({"down": 0.3, "right": 0.3}, abs=0.06)
    arrays = kernel(pixels, valid, BOX, StripContext(statistics=fields)).arrays
    assert (arrays["change"] == 1).mean() <= 0.0005
    assert (arrays["label_before"] == arrays["label_after"]).mean() > 0.95
    assert set(np.unique(arrays["label_before"])) <= set(range(1, 10))


@pytest.fixture
def colours(monkeypatch):
    monkeypatch.setattr(base, "load_dynamic_world", lambda *_, **__: Colours())


@needs_shared
def test_a_scene_twice_is_no_change_and_a_new_place_is(scene, colours):
    kernel, pixels, valid = load_kernel(), dates(scene, noise=False), np.ones((2, SIDE, SIDE), bool)
    fields = measured(kernel, pixels, valid)
    arrays = kernel(pixels, valid, BOX, StripContext(statistics=fields)).arrays
    assert not arrays["change"].any()
    assert not arrays["change_score"].any()
    np.testing.assert_array_equal(arrays["label_before"], arrays["label_after"])
    new = np.s_[..., HALO + 200 : HALO + 220, HALO + 300 : HALO + 330]
    pixels[1][new] = 3500 + pixels[1][new[0], :20, :30] / 2
    valid[1, HALO : HALO + 9] = False
    fields = measured(kernel, pixels, valid)
    arrays = kernel(pixels, valid, BOX, StripContext(statistics=fields)).arrays
    changed = arrays["change"] == 1
    assert changed[200:220, 300:330].mean() > 0.9
    assert changed.sum() < 4 * 600  # what is smoothed reaches a little beyond
    for name, unseen in (("change", 254), ("change_score", 254), ("label_before", 0), ("label_after", 0)):
        assert (arrays[name][:9] == unseen).all()
        assert (arrays[name][9:] != unseen).all()
    np.testing.assert_array_equal(changed, (arrays["change_score"] >= 100) & (arrays["change_score"] <= 250))


@needs_shared
def test_strips_cannot_be_seen(scene, colours):
    """Two cells in one strip, each alone, and with somebody who sees but a corner: the same bytes."""
    kernel, both = load_kernel(), PixelBox(0, 0, CELL, 2 * CELL)
    wide = np.concatenate([scene, scene[..., ::-1]], axis=2)[..., : both.pad(HALO).shape[1]]
    pixels = np.stack([wide, np.roll(wide, 40, axis=2) + 100]).astype(np.float32)
    valid = np.random.default_rng(1).random(pixels[:, 0].shape) > 0.01
    rng = np.random.default_rng(5)
    corners = {
        "shift": {"down": rng.normal(0, 1, (3, 4)), "right": rng.normal(0, 1, (3, 4))},
        "levels": {"mean": rng.normal(900, 50, (3, 4, 2, 3)), "spread": rng.normal(400, 20, (3, 4, 2, 3))},
        "scores": {"threshold": rng.normal(0.8, 0.1, (3, 4))},
    }
    covered = PixelBox(-CELL, -CELL, CELL, 2 * CELL).pad(CELL)
    grown = {
        stage: {
            name: np.pad(a, ((1, 1), (1, 1), *[(0, 0)] * (a.ndim - 2)), mode="edge") for name, a in values.items()
        }
        for stage, values in corners.items()
    }
    fields = {stage: Field(covered, CELL, values) for stage, values in grown.items()}
    whole = kernel(pixels, valid, both, StripContext(statistics=fields)).arrays
    assert 0.01 < (whole["change"] == 1).mean() < 0.9
    for left in (0, CELL):
        at = np.s_[..., left : left + SIDE]
        box, inside = PixelBox(0, left, CELL, left + CELL), np.zeros((SIDE, SIDE), bool)
        inside[HALO + 5 :, HALO + 5 :] = True
        part = kernel(pixels[at], valid[at], box, StripContext(statistics=fields, inside=inside)).arrays
        for name, array in part.items():
            np.testing.assert_array_equal(array, whole[name][:, left : left + CELL])


def test_what_it_is():
    kernel = registry.create("change", {}, resolution=10)
    assert isinstance(kernel, Measuring)
    assert [stage.info.name for stage in kernel.stages()] == ["shift", "levels", "scores"]
    unregistered = registry.create("change", {"registration": False}, resolution=10)
    assert [stage.info.name for stage in unregistered.stages()] == ["levels", "scores"]
    assert kernel.info.inputs.epochs == 2
    assert [spec.name for spec in kernel.info.arrays] == ["change", "change_score", "label_before", "label_after"]
    assert kernel.info.arrays[0].long_name == "change of construction"
    assert kernel.check(["L1C"], 10) == []
    assert len(kernel.check(["L2A"], 60)) == 2


def test_what_prompts_stand_for():
    def classes(**options):
        return registry.create("change", options, resolution=10).info.provenance["teacher_classes"]

    assert classes() == {"construction": ["built", "bare", "snow"]}
    assert classes(prompts={"houses": ["buildings"], "wood": ["forest"]}) == {"houses": ["built"], "wood": ["trees"]}
    assert classes(prompts=["water"], teacher_classes={"water": ["flooded vegetation", "water"]}) == {
        "water": ["water", "flooded vegetation"]
    }
    kernel = registry.create("change", {"prompts": ["construction", "forest"]}, resolution=10)
    assert [note.phrase for note in kernel.words()] == ["forest"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"instantiation": "pixels"}, "did you mean 'pixels-mini'?"),
        ({"instantiation": "x"}, "there are spectral-land-cover, SAM-DINO-SegEarth-OV"),
        ({"instantiation": "spectral-landcover"}, "did you mean 'spectral-land-cover'?"),
        (
            {"teacher_classes": {"construction": ["roof"]}},
            "of 'construction', 'roof' is no class; name some of water",
        ),
        ({"teacher_classes": {"construction": []}}, "of 'construction', there is none"),
        ({"teacher_classes": {"roof": ["built"]}}, "'roof' is no prompt; the prompts are construction"),
        ({"beta": 145}, "kernel.beta: unknown key"),
    ],
)
def test_what_cannot_be_asked(options, message):
    with pytest.raises(SpecError, match=re.escape(message)) as refused:
        registry.create("change", options, resolution=10)
    assert "\n" not in str(refused.value)


def test_dates_that_share_no_pixel_are_told():
    _, levels, scores = registry.create("change", {}, resolution=10).stages()
    for stage, sums in (
        (levels, {"count": np.array(0.0), "total": np.zeros((2, 3)), "square": np.zeros((2, 3))}),
        (scores, {"counts": np.zeros(9)}),
    ):
        with pytest.raises(TileFault, match="no sampled cell around has a pixel that both dates show"):
            stage.numbers(sums)
