"""M-C-I and I-M-C as a whole, against the plain formulation and by hand."""

from dataclasses import dataclass

import numpy as np
import pytest

from eopipe.errors import PlanError
from eopipe.kernels.change.dynamicearth.pipelines import (
    compare_instances,
    identify_mask_compare,
    mask_compare_identify,
)
from eopipe.kernels.change.masks.proposals import AFTER, BEFORE, BOTH, Proposals
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.compare.latent import AngleComparison, LatentComparer
from eopipe.kernels.change.stages.pair import BandStretch, DatePair
from eopipe.kernels.change.stages.propose.felzenszwalb import FelzenszwalbProposer, PixelProposer
from tests.support import change as plain

SHAPE = (61, 90)
COLOURS = BandStretch(("blue", "green", "red"), 0, 3558)


@dataclass
class Given:
    """A stage whose answer is known."""

    answers: tuple

    def __call__(self, pair, date=0):
        return self.answers[date]


@pytest.fixture(scope="module")
def pair():
    """Noise on grey, with a square that turns bright; some pixels are missing on one date."""
    generator = np.random.default_rng(0)
    pixels = generator.normal(1000, 20, (2, 3, *SHAPE)).astype(np.float32)
    pixels[1, :, 20:40, 30:50] = 3000
    valid = np.ones((2, *SHAPE), bool)
    valid[0, :, :5] = valid[1, :4] = False
    return DatePair(np.where(valid[:, None], pixels, 0), valid)


@pytest.fixture(scope="module")
def encoders():
    generator = np.random.default_rng(1)
    return Given(tuple(generator.standard_normal((2, 16, 7, 9), np.float32)))


@pytest.fixture(scope="module")
def identifier():
    generator = np.random.default_rng(2)
    return Given(tuple(generator.dirichlet((1, 1, 1), (2, 44, 44)).transpose(0, 3, 1, 2)))


@pytest.mark.parametrize("rule", ["instance", "stuff"])
@pytest.mark.parametrize("beta", [100, 135])
def test_masks_compared_and_identified(pair, encoders, identifier, rule, beta):
    dense = plain.discs(np.random.default_rng(3), 60, SHAPE, least=0.5, most=8)
    origin = np.repeat([BEFORE, AFTER], [35, 25])
    masks = Masks.from_dense(dense, SHAPE)
    proposals = Proposals.concatenate([Proposals.of(masks.take(origin == date), date) for date in (BEFORE, AFTER)])
    changes = mask_compare_identify(pair, Given((proposals,)), LatentComparer(encoders, beta), identifier, rule=rule)

    filled = dense.any(axis=(1, 2))
    changed = np.zeros(len(dense), bool)
    changed[filled] = plain.scores(*encoders.answers, dense[filled]) > np.cos(np.radians(beta))
    classes = [plain.classes(each, dense) for each in identifier.answers]
    expected = plain.is_change(changed, *classes, origin, rule)
    np.testing.assert_array_equal(changes.changed, expected)
    np.testing.assert_array_equal(changes.before, classes[0])
    np.testing.assert_array_equal(changes.after, classes[1])
    np.testing.assert_array_equal(changes.mask(), dense[expected].any(axis=0))
    assert 0 < expected.sum() < len(expected)


def test_pixels_by_themselves(pair, encoders, identifier):
    changes = mask_compare_identify(
        pair, PixelProposer().load(COLOURS, device="cpu", threads=1), LatentComparer(encoders, 120), identifier
    )
    changed = plain.pixel_scores(*encoders.answers, SHAPE) > np.cos(np.radians(120))
    rows, columns = (np.arange(side) * 44 // side for side in SHAPE)
    first, second = (each.argmax(axis=0)[np.ix_(rows, columns)] for each in identifier.answers)
    expected = changed & (first != second) & pair.valid.all(axis=0)
    np.testing.assert_array_equal(changes.mask(), expected)
    assert expected.any()


def test_a_pixel_s_own_threshold(pair, encoders, identifier):
    """Otsu's, over the pair; it parts the scores."""
    comparison = LatentComparer(encoders, None)(pair, None)
    assert comparison.score.min() < comparison.limit < comparison.score.max()
    objects = LatentComparer(encoders, None)(pair, Masks.from_labels(np.ones(SHAPE, int)))
    assert objects.limit == comparison.limit


def test_segments_of_equal_colour(pair, encoders, identifier):
    proposer = FelzenszwalbProposer().load(COLOURS, device="cpu", threads=1)
    proposals = proposer(pair)
    square = np.zeros(SHAPE, bool)
    square[20:40, 30:50] = True
    ious = [(mask & square).sum() / (mask | square).sum() for mask in plain.dense(proposals.masks)]
    assert max(ious) > 0.6  # the filter blurs its edge, which becomes segments of its own
    np.testing.assert_array_equal(proposals.masks.count(), pair.valid.all(axis=0))  # each pixel is in one
    assert set(proposals.origin.tolist()) == {BOTH}
    changes = mask_compare_identify(pair, proposer, LatentComparer(encoders, 150), identifier)
    assert len(changes.changed) == len(proposals)


def test_scikit_image_is_an_extra(pair, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skimage.segmentation", None)
    with pytest.raises(PlanError, match=r"needs scikit-image .*pip install 'eopipe\[change\]', or use pixels"):
        FelzenszwalbProposer().load(COLOURS, device="cpu", threads=1)(pair)


def test_a_pair_has_two_dates():
    with pytest.raises(ValueError, match=r"not \(1, 3, 4, 4\)"):
        DatePair(np.zeros((1, 3, 4, 4), np.float32), np.ones((1, 4, 4), bool))


def maps(*boxes):
    classes = np.zeros(SHAPE, np.uint8)
    for top, left, code in boxes:
        classes[top : top + 8, left : left + 8] = code
    return classes


def alike(masks):
    """A comparer to whom large objects look different."""
    return AngleComparison.of(np.where(masks.areas > 100, 1.0, -1.0), 0.0)


def test_instances_of_class_maps():
    """What stands on both dates goes; what is alone is compared; several codes are one kind of object."""
    before = maps((0, 0, 2), (20, 20, 2), (20, 28, 3), (50, 60, 9))
    after = maps((1, 0, 3), (40, 40, 3), (52, 20, 2), (52, 28, 2))
    changes = compare_instances(*plain.class_objects(before, after, {2, 3}), alike, one_sided="keep")
    assert changes.proposals.masks.areas.tolist() == [64, 128, 64, 64, 128]
    assert changes.changed.tolist() == [False, True, False, False, True]
    assert changes.before.tolist() == [1, 1, -1, -1, -1]
    assert changes.after.tolist() == [-1, -1, 1, 1, 1]
    np.testing.assert_array_equal(changes.score, [np.nan, 1, np.nan, -1, 1])
    assert changes.mask().sum() == 256


@pytest.mark.parametrize(("one_sided", "expected"), [("keep", [True, True]), ("compare", [True, False])])
def test_objects_of_one_date_alone(one_sided, expected):
    """The scripts with MM-Grounding-DINO do not compare features then; those with APE do."""
    things, nothing = maps((0, 0, 1), (0, 8, 1), (30, 30, 1)), maps()
    for order in ((things, nothing), (nothing, things)):
        changes = compare_instances(*plain.class_objects(*order, {1}), alike, one_sided=one_sided)
        assert changes.changed.tolist() == expected
    none = compare_instances(*plain.class_objects(nothing, nothing, {1}), alike, one_sided=one_sided)
    assert not none.mask().any()


def test_identified_masked_compared(pair, encoders):
    """From a detector to the map: objects that move, by the features of the pair."""
    detector = Given(plain.class_objects(maps((0, 0, 1), (20, 60, 1)), maps((0, 0, 1), (40, 20, 1)), {1}))
    changes = identify_mask_compare(pair, detector, LatentComparer(encoders, 150), one_sided="compare")
    masks = plain.dense(changes.proposals.masks)
    score = plain.scores(*encoders.answers, masks)
    expected = (score > np.cos(np.radians(150))) & [False, True, False, True]
    np.testing.assert_array_equal(changes.changed, expected)
    np.testing.assert_allclose(changes.score[[1, 3]], score[[1, 3]], atol=1e-5)
