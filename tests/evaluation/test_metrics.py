import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eopipe.evaluation.metrics import Confusion


def test_a_set_by_hand():
    truth = np.array([[0, 0, 1, 1], [2, 2, 255, 255]])
    said = np.array([[0, 1, 1, 1], [2, 0, 0, 2]])
    found = Confusion.of(truth, said, classes=4)
    assert found.counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert (found.pixels, found.ignored) == (6, 2)
    np.testing.assert_allclose(found.iou, [1 / 3, 2 / 3, 1 / 2, np.nan])  # class 3 is nowhere
    assert found.mean_iou == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)  # and not in the mean
    assert found.accuracy == pytest.approx(4 / 6)
    np.testing.assert_allclose(found.f1[1], 2 * 2 / (2 + 3))
    np.testing.assert_allclose([found.precision[1], found.recall[1]], [2 / 3, 1])


def test_a_class_that_is_only_predicted_counts_as_zero():
    found = Confusion.of(np.zeros(4, int), np.array([0, 0, 0, 1]), classes=2)
    assert found.iou.tolist() == [0.75, 0]
    assert found.mean_iou == 0.375


def test_what_was_not_predicted_is_an_error():
    found = Confusion.of(np.array([1, 1, 0]), np.array([1, 255, 255]), classes=2)
    assert found.missed.tolist() == [1, 1]
    np.testing.assert_allclose(found.iou, [0, 0.5])
    assert found.accuracy == pytest.approx(1 / 3)


def test_an_empty_set_has_no_figure():
    found = Confusion.of(np.full((3, 3), 255), np.zeros((3, 3)), classes=2)
    assert np.isnan(found.mean_iou)
    assert np.isnan(found.accuracy)


@pytest.mark.parametrize(
    ("truth", "said", "told"),
    [([7], [0], r"truth holds \[7\]"), ([0], [9], r"prediction holds \[9\]"), ([0], [0, 1], "shape")],
)
def test_values_that_are_no_class_are_refused(truth, said, told):
    with pytest.raises(ValueError, match=told):
        Confusion.of(np.array(truth), np.array(said), classes=3)


maps = st.lists(st.tuples(st.sampled_from([0, 1, 2, 255]), st.sampled_from([0, 1, 2, 255])), min_size=1, max_size=60)


@given(maps, st.data())
def test_sets_merge_in_any_order_and_survive_json(pairs, data):
    truth, said = np.array(pairs).T
    whole = Confusion.of(truth, said, classes=3)
    order = data.draw(st.permutations(range(len(pairs))))
    parts = np.array_split(np.array(order), min(3, len(pairs)))
    total = Confusion.empty(3)
    for part in parts:
        total = Confusion.of(truth[part], said[part], classes=3) + total
    assert total == whole
    assert Confusion.from_json(json.loads(json.dumps(total.as_json()))) == whole


@given(maps)
def test_the_figures_are_mmsegs(pairs):
    """Intersection, union and areas as histograms of the judged pixels, summed, then divided."""
    truth, said = np.array(pairs).T
    judged = truth != 255
    truth, said = truth[judged], said[judged]
    bins = np.arange(4)
    hits, true, predicted = (
        np.histogram(values[values < 3], bins)[0] for values in (said[said == truth], truth, said)
    )
    with np.errstate(invalid="ignore"):
        iou = hits / (true + predicted - hits)
    found = Confusion.of(np.array(pairs).T[0], np.array(pairs).T[1], classes=3)
    np.testing.assert_allclose(found.iou, iou)
    if not np.isnan(iou).all():
        assert found.mean_iou == pytest.approx(np.nanmean(iou))
