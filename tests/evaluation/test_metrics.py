import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eopipe.evaluation.metrics import Confusion


def test_a_set_by_hand():
    truth = np.array([[0, 0, 1, 1], [2, 2, 255, 255]])
    predicted = np.array([[0, 1, 1, 1], [2, 0, 0, 2]])
    confusion = Confusion.of(truth, predicted, classes=4)
    assert confusion.counts.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]
    assert (confusion.pixels, confusion.ignored) == (6, 2)
    np.testing.assert_allclose(confusion.iou, [1 / 3, 2 / 3, 1 / 2, np.nan])  # class 3 is nowhere
    assert confusion.mean_iou == pytest.approx((1 / 3 + 2 / 3 + 1 / 2) / 3)  # and not in the mean
    assert confusion.accuracy == pytest.approx(4 / 6)
    np.testing.assert_allclose(confusion.f1[1], 2 * 2 / (2 + 3))
    np.testing.assert_allclose([confusion.precision[1], confusion.recall[1]], [2 / 3, 1])


def test_a_class_that_is_only_predicted_counts_as_zero():
    confusion = Confusion.of(np.zeros(4, int), np.array([0, 0, 0, 1]), classes=2)
    assert confusion.iou.tolist() == [0.75, 0]
    assert confusion.mean_iou == 0.375


def test_what_was_not_predicted_is_an_error():
    confusion = Confusion.of(np.array([1, 1, 0]), np.array([1, 255, 255]), classes=2)
    assert confusion.missed.tolist() == [1, 1]
    np.testing.assert_allclose(confusion.iou, [0, 0.5])
    assert confusion.accuracy == pytest.approx(1 / 3)


def test_an_empty_set_has_no_figure():
    confusion = Confusion.of(np.full((3, 3), 255), np.zeros((3, 3)), classes=2)
    assert np.isnan(confusion.mean_iou)
    assert np.isnan(confusion.accuracy)


@pytest.mark.parametrize(
    ("truth", "predicted", "message"),
    [([7], [0], r"truth holds \[7\]"), ([0], [9], r"prediction holds \[9\]"), ([0], [0, 1], "shape")],
)
def test_values_that_are_no_class_are_refused(truth, predicted, message):
    with pytest.raises(ValueError, match=message):
        Confusion.of(np.array(truth), np.array(predicted), classes=3)


maps = st.lists(st.tuples(st.sampled_from([0, 1, 2, 255]), st.sampled_from([0, 1, 2, 255])), min_size=1, max_size=60)


@given(maps, st.data())
def test_sets_merge_in_any_order_and_survive_json(pairs, data):
    truth, predicted = np.array(pairs).T
    whole = Confusion.of(truth, predicted, classes=3)
    order = data.draw(st.permutations(range(len(pairs))))
    parts = np.array_split(np.array(order), min(3, len(pairs)))
    total = Confusion.empty(3)
    for part in parts:
        total = Confusion.of(truth[part], predicted[part], classes=3) + total
    assert total == whole
    assert Confusion.from_json(json.loads(json.dumps(total.as_json()))) == whole


@given(maps)
def test_the_figures_are_mmsegs(pairs):
    """Intersection, union and areas as histograms of the judged pixels, summed, then divided."""
    truth, labels = np.array(pairs).T
    judged = truth != 255
    truth, labels = truth[judged], labels[judged]
    bins = np.arange(4)
    hits, true, predicted = (
        np.histogram(values[values < 3], bins)[0] for values in (labels[labels == truth], truth, labels)
    )
    with np.errstate(invalid="ignore"):
        iou = hits / (true + predicted - hits)
    confusion = Confusion.of(np.array(pairs).T[0], np.array(pairs).T[1], classes=3)
    np.testing.assert_allclose(confusion.iou, iou)
    if not np.isnan(iou).all():
        assert confusion.mean_iou == pytest.approx(np.nanmean(iou))
