"""The published formulas, against a plain reading of them, picture by picture."""

import numpy as np
import pytest

from eopipe.evaluation.change.metrics import ChangeMetrics
from eopipe.evaluation.metrics import Confusion


def published(pairs):
    """The published protocol, from 8-bit maps: binarised above 127.5, counts of the whole set before any division."""
    tp = fp = fn = tn = 0
    for predicted, true in pairs:
        changed, was = predicted > 127.5, true > 127.5
        tp, fp = tp + (changed & was).sum(), fp + (changed & ~was).sum()
        fn, tn = fn + (~changed & was).sum(), tn + (~changed & ~was).sum()
    eps = 1e-7
    precision, recall = tp / (tp + fp + eps), tp / (tp + fn + eps)
    iou, quiet = tp / (tp + fp + fn + eps), tn / (tn + fp + fn + eps)
    return ChangeMetrics(
        iou, 2 * precision * recall / (precision + recall + eps), precision, recall, (iou + quiet) / 2,
        (tp + tn) / (tp + fp + fn + tn + eps),
    )  # fmt: skip


@pytest.mark.parametrize("shares", [(0.1, 0.05), (0.5, 0.9), (0.0, 0.3), (0.3, 0.0), (0.0, 0.0), (1.0, 1.0)])
def test_a_set_s_figures_are_the_published_ones(shares):
    rng = np.random.default_rng(int(100 * sum(shares)))
    pairs = []
    for height in (7, 31):  # pictures of different size weigh by their pixels
        maps = rng.integers(0, 128, (2, height, 40)) + 128 * (
            rng.random((2, height, 40)) < np.array(shares)[:, None, None]
        )
        pairs.append(maps.astype(np.uint8))
    counts = sum(
        (Confusion.of(true > 127, (predicted > 127).astype(np.uint8), classes=2) for predicted, true in pairs),
        Confusion.empty(2),
    )
    ours, theirs = ChangeMetrics.of(counts), published(pairs)
    for name, value in vars(theirs).items():
        assert getattr(ours, name) == pytest.approx(value, rel=1e-12, abs=1e-15), name


def test_what_nobody_predicted_is_wrong_and_what_nobody_labelled_counts_nowhere():
    truth = np.array([1, 1, 0, 0, 0, 255], np.uint8)
    predicted = np.array([1, 255, 0, 1, 255, 1], np.uint8)
    metrics = ChangeMetrics.of(Confusion.of(truth, predicted, classes=2))
    assert metrics.precision == pytest.approx(1 / 2)
    assert metrics.recall == pytest.approx(1 / 2)
    assert metrics.iou == pytest.approx(1 / 3)
    assert metrics.accuracy == pytest.approx(2 / 5)
    assert metrics.percent()["F1"] == 50.0
