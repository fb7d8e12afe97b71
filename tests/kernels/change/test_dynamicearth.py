"""The change kernel with stages: strips and tiles cannot be seen, in the map or in its objects."""

import pickle
import re

import numpy as np
import pytest

from eopipe.engine.work.calibrate import calibrate_here
from eopipe.errors import EopipeError
from eopipe.grid import PixelBox
from eopipe.kernels import registry
from eopipe.kernels.change.dynamicearth.assemble import Assembly, PairChanges
from eopipe.kernels.change.dynamicearth.lattice import core_of, stride_of
from eopipe.kernels.change.dynamicearth.pipelines import Changes
from eopipe.kernels.change.masks.proposals import AFTER, BEFORE, Proposals
from eopipe.kernels.change.masks.regions import regions
from eopipe.kernels.change.registration.alignment import MOVE_MARGIN
from eopipe.kernels.change.stages.pair import DatePair
from eopipe.kernels.protocol import StripContext
from eopipe.kernels.statistics import Field
from tests.support.change import dense, discs

SIDE = 256
HALO = stride_of(SIDE) + MOVE_MARGIN


class Brightest:
    """Stages of no cost: what is brighter than its picture's own mean on one date only is an object that changed.

    It depends on the whole picture, so neighbouring pictures disagree, as nets do.
    """

    def __init__(self, stretch):
        self.stretch, self.runs = stretch, 0

    def __call__(self, pair, *, ratio=None):
        assert ratio is None
        self.runs += 1
        shown = pair.pixels.sum(axis=1) > pair.pixels.sum(axis=1).mean() + 900
        masks = regions((shown[0] ^ shown[1]).astype(np.uint8))
        masks = masks.within(pair.common)
        masks = masks.take(masks.areas > 3)
        bright = np.array([shown[1][tuple(masks.runs[start][:2])] for start in masks.offsets[:-1]], bool)
        score = np.clip(40 + masks.areas, 0, 250).astype(np.uint8)
        first, second = np.where(bright, 0, 1), np.where(bright, 1, 0)
        origin = np.where(bright, AFTER, BEFORE).astype(np.uint8)
        proposals = Proposals(masks, np.ones(len(masks), np.float32), origin)
        changed = score >= 100
        changes = Changes(proposals, score.astype(float), first, second, changed, score)
        return PairChanges(changes, shown.astype(np.uint8))


@pytest.fixture
def cheap(monkeypatch):
    monkeypatch.setattr(Assembly, "load", lambda _, stretch, **__: Brightest(stretch))


def load_kernel(**options):
    options = {"instantiation": "regions-mini", "window": SIDE, **options}
    options |= {"prompts": {"house": ["houses"]}, "registration": False, "stretch": [0, 0.3]}
    kernel = registry.create("change", options, resolution=10)
    kernel.load(device="cpu", threads=1)
    return kernel


def scene(box, seed=0):
    """Two dates over ``box.pad(HALO)``: noise, and discs that come and go, some over every edge."""
    outer = box.pad(HALO)
    rng = np.random.default_rng(seed)
    pixels = rng.normal(1000, 60, (2, 4, *outer.shape)).astype(np.float32)
    for number, disc in enumerate(discs(rng, 60, outer.shape, most=40)):
        pixels[number % 2, :, disc] += 1500
    valid = np.ones((2, *outer.shape), bool)
    valid[0, 300:330, 280:290] = False
    return pixels, valid


BOX = PixelBox(-512, 0, 512, 1024)
"""Four cells: two strips of two."""


def mapped(kernel, pixels, valid, boxes, *, carried=True):
    """Arrays over `BOX` and objects, strip by strip."""
    arrays, objects, carry = {}, [], None
    outer = BOX.pad(HALO)
    for box in boxes:
        at = box.pad(HALO).slices(outer)
        context = StripContext(carry=carry if carried else None)
        result = kernel(pixels[:, :, *at], valid[:, *at], box, context)
        carry = result.carry
        for name, array in result.arrays.items():
            arrays.setdefault(name, np.zeros(BOX.shape, np.uint8))[box.slices(BOX)] = array
        objects += described(result.objects)
    return arrays, objects


def described(objects):
    """Each as plain values."""
    names = ("score", "class_before", "class_after")
    return [
        (
            objects.runs[objects.offsets[n] : objects.offsets[n + 1]].tobytes(),
            bool(objects.seam[n]),
            *(int(objects.columns[name][n]) for name in names),
        )
        for n in range(len(objects))
    ]


def strips(columns):
    """Tiles of the box by their left and right edges, each with its strips."""
    return [[PixelBox(row, left, row + 512, right) for row in (-512, 0)] for left, right in columns]


def test_strips_and_tiles_cannot_be_seen(cheap):
    kernel, (pixels, valid) = load_kernel(), scene(BOX)
    whole, objects = mapped(kernel, pixels, valid, strips([(0, 1024)])[0])
    assert 0.02 < (whole["change"] == 1).mean() < 0.5
    assert (whole["change"] == 254).sum() == 300
    assert len(objects) == len(set(objects)) > 30
    parts, of_parts = {}, []
    for tile in strips([(0, 512), (512, 1024)]):
        arrays, some = mapped(kernel, pixels, valid, tile)
        of_parts += some
        for name, array in arrays.items():
            at = np.s_[:, tile[0].col0 : tile[0].col1]
            parts.setdefault(name, np.zeros(BOX.shape, np.uint8))[at] = array[at]
    for name, array in whole.items():
        np.testing.assert_array_equal(parts[name], array, err_msg=name)
    assert set(of_parts) == set(objects)


def test_carrying_saves_pictures_and_changes_nothing(cheap):
    kernel, (pixels, valid) = load_kernel(), scene(BOX, seed=1)
    with_it, objects = mapped(kernel, pixels, valid, strips([(0, 1024)])[0])
    runs = kernel._stages.runs
    without, more = mapped(kernel, pixels, valid, strips([(0, 1024)])[0], carried=False)
    assert runs == 9 * 9  # stride 128, 1024 pixels: nine places a side
    assert kernel._stages.runs - runs == 2 * 5 * 9
    for name, array in with_it.items():
        np.testing.assert_array_equal(without[name], array, err_msg=name)
    assert len(objects) < len(more)
    assert set(objects) == set(more)


def test_the_map_is_the_union_of_what_pictures_decide(cheap):
    """By brute force: every picture alone, dense masks, the middles of their boxes."""
    kernel, (pixels, valid) = load_kernel(), scene(BOX, seed=2)
    arrays, objects = mapped(kernel, pixels, valid, strips([(0, 1024)])[0])
    outer, step = BOX.pad(HALO), stride_of(SIDE)
    score, label, count = np.zeros(BOX.shape, np.uint8), np.zeros(BOX.shape, np.uint8), 0
    for row in range(BOX.row0 - step, BOX.row1, step):
        for col in range(BOX.col0 - step, BOX.col1, step):
            picture = PixelBox(row, col, row + SIDE, col + SIDE)
            at = picture.slices(outer)
            detected = kernel._stages(DatePair(pixels[:, :, *at], valid[:, *at]))
            core, shared = core_of(picture), core_of(picture) & BOX
            if not shared.empty:
                label[shared.slices(BOX)] = (detected.labels[0] + 1)[shared.slices(picture)]
            for mask, value in zip(dense(detected.changes.proposals.masks), detected.changes.hundredths, strict=True):
                rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
                middle = (row + (rows[0] + rows[-1] + 1) / 2, col + (cols[0] + cols[-1] + 1) / 2)
                if not (core.row0 <= middle[0] < core.row1 and core.col0 <= middle[1] < core.col1):
                    continue
                count += value >= 100
                both = picture & BOX
                part = score[both.slices(BOX)]
                np.maximum(part, mask[both.slices(picture)] * value, out=part)
    visible = valid.all(axis=0)[BOX.slices(outer)]
    np.testing.assert_array_equal(arrays["change_score"], np.where(visible, score, 254))
    np.testing.assert_array_equal(arrays["change"], np.where(visible, score >= 100, 254))
    np.testing.assert_array_equal(arrays["label_before"], np.where(visible, label, 0))
    assert len(objects) == count


def test_a_pixel_that_the_second_date_itself_lacks_is_in_no_object(cheap):
    """Though what was moved there is valid: the engine calls it no data, and so must map and objects."""
    options = {"instantiation": "regions-mini"}
    options |= {"prompts": {"house": ["houses"]}, "window": SIDE, "stretch": [0, 0.3]}
    kernel = registry.create("change", options, resolution=10)
    kernel.load(device="cpu", threads=1)
    box = PixelBox(0, 0, 512, 512)
    outer = box.pad(HALO)
    pixels, valid = (each[..., : outer.shape[0], : outer.shape[1]] for each in scene(BOX, seed=5))
    valid = valid.copy()
    valid[1, 200:400, 200:420] = False
    shift = Field.constant({"down": 2.0, "right": -1.5}, outer, 512)
    result = kernel(pixels, valid, box, StripContext(statistics={"shift": shift}))
    lacking = ~valid.all(axis=0)[box.slices(outer)]
    assert (result.arrays["change"][lacking] == 254).all()
    assert (result.arrays["change"][~lacking] == 1).any()
    drawn = np.zeros(outer.shape, bool)
    for row, start, stop in result.objects.runs.tolist():
        drawn[row - outer.row0, start - outer.col0 : stop - outer.col0] = True
    assert drawn.any()
    assert not (drawn & ~valid.all(axis=0)).any()


def test_what_nobody_sees_is_not_looked_at(cheap):
    """And what is seen is the same."""
    kernel, (pixels, valid) = load_kernel(), scene(BOX, seed=3)
    box = PixelBox(0, 0, 512, 1024)
    at = box.pad(HALO).slices(BOX.pad(HALO))
    inside = np.zeros(box.pad(HALO).shape, bool)
    inside[HALO : HALO + 100, HALO : HALO + 100] = True
    all_of_it = kernel(pixels[:, :, *at], valid[:, *at], box)
    before = kernel._stages.runs
    some = kernel(pixels[:, :, *at], valid[:, *at], box, StripContext(inside=inside))
    assert kernel._stages.runs - before == 4
    for name, array in some.arrays.items():
        np.testing.assert_array_equal(array[:100, :100], all_of_it.arrays[name][:100, :100], err_msg=name)


def test_what_it_is():
    kernel = registry.create(
        "change", {"instantiation": "felzenszwalb-spectral", "prompts": ["construction", "forest"]}, resolution=10
    )
    assert [stage.info.name for stage in kernel.stages()] == ["shift", "levels", "scores"]
    assert kernel.info.options["rule"] == "likely"
    assert (kernel.info.window.size, kernel.info.window.stride) == (512, 256)
    assert kernel.info.objects.seams == "touching"  # a segment is a part of a thing
    assert [note.phrase for note in kernel.words()] == ["forest"]
    regions = registry.create("change", {"instantiation": "regions-mini", "prompts": ["forest"]}, resolution=10)
    assert regions.info.objects.seams == "doubles"
    assert kernel.settle(["Sentinel-2"]) == {"stretch": [0.0, 0.3558]}
    again = registry.create("change", kernel.info.options, resolution=10)
    assert again.info == kernel.info
    pixels = registry.create("change", {"instantiation": "pixels-mini", "prompts": ["water"]}, resolution=10)
    assert [note.phrase for note in pixels.words()] == ["water"]
    assert [stage.info.name for stage in pixels.stages()] == ["shift"]
    assert pixels.info.inputs.bands == ("blue", "green", "red", "nir")
    assert pixels.info.objects.seams == "touching"
    assert [info.name for info in pixels.info.arrays[2].classes] == ["background", "water"]
    assert pickle.loads(pickle.dumps(pixels)).info == pixels.info


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"instantiation": "APE-DINO"}, "finds objects with APE, which no library carries"),
        ({"instantiation": "SAM-DINO-SegEarth-OV"}, "sam-vit-h"),
        ({"instantiation": "felzenszwalb-spectral", "beta": 145}, "kernel.beta: spectral has a threshold"),
        ({"instantiation": "felzenszwalb-spectral", "identifier": "mini"}, "'mini' cannot weigh spectral's score"),
        ({"instantiation": "pixels-mini", "rule": "likely"}, "do not go together; likely is for"),
        ({"instantiation": "MMGD-SAM2-DINO", "rule": "stuff"}, "is I-M-C, which identifies first and has none"),
        ({"instantiation": "MMGD-SAM2-DINO", "proposer": "pixels"}, "makes no masks of a detector's boxes"),
        ({"instantiation": "pixels-mini", "proposer": "regions"}, "regions come from an identifier"),
        ({"instantiation": "regions-mini", "comparer": "spectral"}, "spectral and none are for M-C-I"),
        (
            {"instantiation": "felzenszwalb-spectral", "identifier": "none"},
            "score is weighed by what is likely in a map",
        ),
        ({"instantiation": "pixels-mini", "points": 4}, "kernel.points: it is for a proposer of masks of points"),
        (
            {"instantiation": "pixels-mini", "teacher_classes": {"water": ["water"]}},
            "for the identifier dynamic-world",
        ),
        ({"instantiation": "pixels-mini", "background": ["road"]}, "background: it is for an identifier of words"),
        ({"instantiation": "felzenszwalb-spectral", "match_histogram": True}, "which levels the dates"),
        ({"instantiation": "pixels-mini", "proposer": "own"}, "own masks are APE's alone"),
        ({"instantiation": "pixels-mini", "prompts": ["background", "water"]}, "rename the prompt"),
        (
            {"instantiation": "pixels-mini", "prompts": ["other"]},
            "mini does not take them: background: 'auto' adds a class",
        ),
        ({"instantiation": "pixels-mini", "beta": 180}, "kernel.beta: 180 is not valid"),
        ({"instantiation": ["pixels-mini"]}, "kernel.instantiation"),
        ({"instantiation": "pixels-mini", "window": 300}, "kernel.window: 300 is not valid"),
        ({"instantiation": "pixels-mini", "identifier": "sam-vit-h"}, "sam-vit-h knows no words"),
        ({"instantiation": "pixels-mini", "comparer": "sam-vit-h"}, "gives point-masks, no features"),
        (
            {"instantiation": "pixels-mini", "precision": "auto"},
            "kernel.precision: unknown key; change with these options has instantiation",
        ),
        ({"instantiation": "pixel-mini"}, "did you mean 'pixels-mini'?"),
    ],
)
def test_what_cannot_be_asked(options, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(EopipeError, match=re.escape(message)) as refused:
        registry.create("change", {"prompts": ["water"], **options}, resolution=10)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_status == 2


@pytest.mark.parametrize("window", [256, *(pytest.param(size, marks=pytest.mark.slow) for size in (512, 1024))])
def test_a_calibration_times_less_than_a_cell(cheap, window):
    """Pictures of 256 have a stride of 128: the timed box is smaller than a cell, and shifts are told by the cell."""
    options = {"instantiation": "regions-mini", "prompts": ["houses"], "window": window, "stretch": [0, 0.3]}
    kernel = registry.create("change", options, resolution=10)
    assert calibrate_here(kernel, device="cpu", threads=1).window_seconds > 0
