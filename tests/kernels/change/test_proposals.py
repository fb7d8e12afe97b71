"""Which of a net's answers are objects: SAM's generator, detectors, the union of two dates."""

import numpy as np
import pytest

from eopipe.kernels.change.masks.proposals import AFTER, BEFORE, Proposals, both_dates
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.detect.grounding_dino import select_boxes
from eopipe.kernels.change.stages.propose.sam import generate, point_grid, stability
from eopipe.kernels.change.stages.settings import APE, MMGD, SAM, DetectorSettings, GeneratorSettings

SHAPE = (20, 30)


def squares(*places, origin=BEFORE, scores=None):
    """Each ``(top, left, side)`` or ``(top, left, height, width)``."""
    dense = np.zeros((len(places), *SHAPE), bool)
    for mask, (top, left, height, *width) in zip(dense, places, strict=True):
        mask[top : top + height, left : left + (width or [height])[0]] = True
    return Proposals.of(Masks.from_dense(dense, SHAPE), origin, scores)


def test_the_grid_of_points():
    assert point_grid(2, SHAPE).tolist() == [[7.5, 5], [22.5, 5], [7.5, 15], [22.5, 15]]
    assert len(point_grid(SAM.points, SHAPE)) == 1024


def test_stability():
    logits = np.array([[[2.0, 0.5, -0.5, -2.0]], [[-3, -3, -3, -3]]])
    np.testing.assert_array_equal(stability(logits, 1.0), [1 / 3, np.nan])


def test_the_generator_s_thresholds():
    """Predicted quality strictly above 0.5, stability at least the limit, logits above 0, doubles by box."""
    settings = GeneratorSettings(stability=0.95, offset=0.9)
    answers = np.full((6, *SHAPE), -5.0, np.float32)
    for logits, (top, side) in zip(answers, ((0, 9), (0, 9), (0, 9), (10, 10), (10, 9), (4, 1)), strict=True):
        logits[top : top + side, top : top + side] = 5
    answers[3, 10:20, 10] = 0.0  # 90 sure of 100 possible: not stable
    answers[0, 0, 9] = 0  # on the edge of the mask, and not in it: 81 of 82
    predicted = np.array([0.9, 0.5, 0.8, 0.9, 0.6, 0.51], np.float32)
    proposals = generate(
        [(answers[:3], predicted[:3]), (answers[3:], predicted[3:])], SHAPE, settings=settings, origin=AFTER
    )
    assert proposals.scores.tolist() == pytest.approx([0.9, 0.6, 0.51])  # the third is the first's double
    assert proposals.masks.areas.tolist() == [81, 81, 1]
    assert proposals.origin.tolist() == [AFTER] * 3
    assert not generate([], SHAPE, settings=settings, origin=BEFORE)


def test_a_detector_s_thresholds():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], float)
    scores = np.array([0.3, 0.4, 0.1, 0.09, 0.2])
    assert select_boxes(boxes, scores, MMGD).tolist() == [1, 2, 4]
    assert select_boxes(boxes, scores, APE).tolist() == [0, 1, 4]
    two = DetectorSettings(score=0.1, most=2)
    assert select_boxes(boxes, scores, two).tolist() == [1, 4]
    assert select_boxes(boxes[:0], scores[:0], MMGD).tolist() == []


def test_both_dates():
    """The first date's objects come first; what covers 80 % of the picture goes before doubles are sought."""
    before = squares((0, 0, 6), (0, 0, 20, 24), (10, 10, 5), scores=[0.6, 0.99, 0.9])
    after = squares((0, 0, 20, 23), (0, 0, 6, 7), (12, 20, 4), origin=AFTER, scores=[0.5, 0.7, 0.8])
    proposals = both_dates(before, after)
    assert proposals.masks.areas.tolist() == [25, 460, 42, 16]
    assert proposals.origin.tolist() == [BEFORE, AFTER, AFTER, AFTER]
    assert (both_dates(before, after, double=1).origin == BEFORE).sum() == 2


def test_each_mask_has_its_score():
    with pytest.raises(ValueError, match=r"there are \[1, 2\] of them"):
        Proposals.of(Masks.from_dense(np.ones((2, *SHAPE)), SHAPE), BEFORE, np.ones(1))
