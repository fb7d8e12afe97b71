"""Metrics of change maps as DynamicEarth's authors compute them (arXiv 2501.12931, its evaluation code).

Counts are summed over the whole set before any division, and 1e-7 is added to every denominator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eopipe.evaluation.metrics import Confusion

EPSILON = 1e-7
"""Added to every denominator: the metrics of a set without change are 0."""


@dataclass(frozen=True)
class ChangeMetrics:
    """Metrics of the class "changed", 0-1, except for the last two.

    Args:
        iou: Intersection over union.
        f1: Harmonic mean of precision and recall.
        precision: Share of predicted change that is change.
        recall: Share of change that is predicted.
        mean_iou: Mean of the IoU of changed and unchanged.
        accuracy: Share of pixels that are predicted correctly.
    """

    iou: float
    f1: float
    precision: float
    recall: float
    mean_iou: float
    accuracy: float

    @classmethod
    def of(cls, counts: Confusion) -> ChangeMetrics:
        """From counts of unchanged (0) and changed (1); a pixel without a prediction is an error whatever its truth.

        Where every pixel has a prediction, as in the published protocol, these are its formulas. A changed pixel
        without a prediction is a false negative; an unchanged one is missing from the true negatives only.
        """
        hits = int(counts.counts[1, 1])
        quiet = int(counts.counts[0, 0])
        truth, predicted = counts.truth, counts.predicted
        precision, recall = _ratio(hits, predicted[1]), _ratio(hits, truth[1])
        changed = _ratio(hits, truth[1] + predicted[1] - hits)
        unchanged = _ratio(quiet, truth[0] + predicted[0] - quiet)
        return cls(
            iou=changed,
            f1=2 * precision * recall / (precision + recall + EPSILON),
            precision=precision,
            recall=recall,
            mean_iou=(changed + unchanged) / 2,
            accuracy=_ratio(hits + quiet, counts.pixels),
        )

    def percent(self) -> dict[str, float]:
        """By the names in result documents, percent with two digits."""
        names = ("IoU", "F1", "precision", "recall", "mIoU", "OA")
        return {name: round(100 * value, 2) for name, value in zip(names, vars(self).values(), strict=True)}


def f1_text(counts: Confusion) -> str:
    """The metric by which methods are compared, such as ``F1 53.6 %``."""
    return f"F1 {100 * ChangeMetrics.of(counts).f1:.1f} %"


def _ratio(numerator: int, denominator: int) -> float:
    return float(numerator / (denominator + EPSILON))
