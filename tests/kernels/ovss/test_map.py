"""The map against a slow, plain computation of the same: every window of the lattice, summed in float64."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from eopipe.engine.output.recipe import tile_recipe
from eopipe.grid import Grid, PixelBox
from eopipe.kernels.ovss.kernel import OvssKernel, create
from eopipe.kernels.ovss.model import OvssModel
from eopipe.kernels.ovss.options import OvssOptions
from eopipe.kernels.protocol import StripContext
from eopipe.models.clip.entries import ALIGNEARTH
from eopipe.spec import SourceSpec
from tests.support.ovss import kernel, options

BOX = PixelBox(-48, 80, 48, 144)  # one window row begins above it, one within


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EOPIPE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def world():
    rng = np.random.default_rng(3)
    outer = BOX.pad(223)
    rows, cols = outer.shape
    coarse = rng.uniform(0, 4000, (3, rows // 24 + 1, cols // 24 + 1)).repeat(24, axis=1).repeat(24, axis=2)
    valid = rng.random(outer.shape) > 0.1
    return np.where(valid, coarse[:, :rows, :cols], 0).astype(np.float32), valid


def scores(ovss, world, look):
    """Class scores ``[y, x, K]`` of the box by brute force."""
    pixels, valid = world
    outer = BOX.pad(223)
    queries = len(ovss._model.text)
    total = np.zeros((*BOX.shape, queries))
    count = np.zeros((*BOX.shape, 1))
    for row in range(-448, 448, 112):
        for col in range(-448, 672, 112):
            window = PixelBox(row, col, row + 224, col + 224)
            part = window & BOX
            if part.empty:
                continue
            ys, xs = window.slices(outer)
            picture = look(pixels[:, ys, xs], valid[ys, xs])
            logits = ovss._net(torch.from_numpy(picture.astype(np.float32))[None])[0].numpy()
            total[part.slices(BOX)] += logits[part.slices(window)]
            count[part.slices(BOX)] += 1
    assert (count == 4).all()
    scaled = 50.0 * total / count
    probability = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    probability /= probability.sum(axis=-1, keepdims=True)
    members = ovss._options.vocabulary.query_class
    classes = max(members) + 1
    return np.stack(
        [probability[..., [q for q, of in enumerate(members) if of == k]].max(axis=-1) for k in range(classes)],
        axis=-1,
    )


def optical(ovss):
    """As the kernel's options say, in plain numpy."""
    entry = ovss._model.clip.entry
    mean, std = np.array(entry.mean)[:, None, None], np.array(entry.std)[:, None, None]

    def look(pixels, valid):
        picture = np.clip(pixels / 10000 / 0.3, 0, 1)
        return np.where(valid, (picture - mean) / std, 0)

    return look


def agree(arrays, expected, valid, threshold=0.0, background=None):
    """Codes and percents; where two classes are within a hundred-thousandth either may win."""
    order = np.sort(expected, axis=-1)
    sure = (order[..., -1] - order[..., -2] > 1e-5) & (abs(order[..., -1] - threshold) > 1e-5)
    label = expected.argmax(axis=-1)
    if background is not None:
        label = np.where(order[..., -1] < threshold, background, label)
    expected_code = np.where(valid, label + 1, 0)
    np.testing.assert_array_equal(arrays["label"][sure], expected_code[sure])
    assert sure.mean() > 0.99
    percent = np.where(valid, 100 * order[..., -1], 0)
    assert np.abs(arrays["confidence"] - percent).max() <= 0.51


def call(ovss, world):
    pixels, valid = world
    return ovss(pixels[None], valid[None], BOX, StripContext()).arrays


def test_the_map_is_what_brute_force_gives(tmp_path, world):
    ovss = kernel(tmp_path, "jbu_one")
    valid = world[1][223:-223, 223:-223]
    agree(call(ovss, world), scores(ovss, world, optical(ovss)), valid)


def test_pixels_below_the_threshold_are_background(tmp_path, world):
    ovss = kernel(tmp_path, threshold=0.4, background="forest")
    valid = world[1][223:-223, 223:-223]
    expected = scores(ovss, world, optical(ovss))
    assert 0.02 < (expected.max(axis=-1) < 0.4).mean() < 0.98
    agree(call(ovss, world), expected, valid, threshold=0.4, background=1)


def test_finer_pixels_are_averaged_before_the_classes_are_decided(tmp_path, world):
    ovss = kernel(tmp_path, resolution=20.0, gsd=10.0)
    assert ovss.info.factor == 2
    valid = world[1][223:-223, 223:-223]
    rows, cols = BOX.shape
    blocks = (rows // 2, 2, cols // 2, 2)
    weight = valid.reshape(blocks).sum(axis=(1, 3))
    fine = scores(ovss, world, optical(ovss)) * valid[..., None]
    means = fine.reshape(*blocks, -1).sum(axis=(1, 3)) / np.maximum(weight, 1)[..., None]
    agree(call(ovss, world), means, weight > 0)


def test_radar_is_shown_as_its_picture(tmp_path, world):
    """AlignEarth's settings on a small tower: decibels, clipped as stated, VV alone in all three channels."""
    checked = OvssOptions(**options(tmp_path, channels="vv", stretch="auto"))
    model = OvssModel.resolve(checked)
    entry = replace(model.clip.entry, modality="sar", attention=ALIGNEARTH)
    ovss = OvssKernel(replace(model, clip=replace(model.clip, entry=entry)), factor=1)
    ovss.load(device="cpu", threads=1)
    assert ovss.info.inputs.modality == "sar"
    assert ovss.info.inputs.bands == ("vv",)
    assert (ovss._net.encoder.attention.kind, ovss._net.encoder.attention.last) == ("SCLIP", 2)
    pixels, valid = world
    decibels = (pixels[:1] / 100 - 32).astype(np.float32)
    mean, std = np.array(entry.mean)[:, None, None], np.array(entry.std)[:, None, None]

    def look(part, where):
        picture = np.clip((part.repeat(3, axis=0) + 25) / 25, 0, 1)
        return np.where(where, (picture - mean) / std, 0)

    radar = (np.where(valid, decibels, 0), valid)
    agree(call(ovss, radar), scores(ovss, radar, look), valid[223:-223, 223:-223])


def test_where_files_lie_is_no_part_of_the_recipe_but_what_they_hold_is(tmp_path):
    """The same model in two folders maps the same; a folder whose configuration was edited does not."""
    recipes = []
    for name in ("one", "two", "edited"):
        folder = tmp_path / name
        folder.mkdir()
        given = options(folder)
        if name == "edited":
            config = next(folder.rglob("open_clip_config.json"))
            document = json.loads(config.read_text())
            document["model_cfg"]["quick_gelu"] = not document["model_cfg"].get("quick_gelu", False)
            config.write_text(json.dumps(document))
        info = create(OvssOptions(**given), resolution=10.0).info
        grid = Grid("EPSG:32632", 10.0)
        source = SourceSpec(catalog="collection.json", collections=["c"], datetime="2020")
        recipes.append(tile_recipe(info=info, grid=grid, tile=512, source=source, threads=1))
    assert recipes[0] == recipes[1]
    assert recipes[0] != recipes[2]
