"""The published formulas (spec 03 §4): counts of the whole set, and 1e-7 in every denominator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eopipe.evaluation.metrics import Confusion

EPSILON = 1e-7
"""Keeps a set without change from dividing by nought: its figures are 0."""


@dataclass(frozen=True)
class Figures:
    """Of the class "changed", 0-1, unless they say otherwise.

    Args:
        iou: Intersection over union.
        f1: From precision and recall.
        precision: Of what is said to have changed.
        recall: Of what changed.
        mean_iou: Of changed and unchanged.
        accuracy: Over all pixels.
    """

    iou: float
    f1: float
    precision: float
    recall: float
    mean_iou: float
    accuracy: float

    @classmethod
    def of(cls, counts: Confusion) -> Figures:
        """From counts of unchanged (0) and changed (1); a pixel without a prediction is wrong whatever it is.

        Where every pixel has one, as in the published protocol, these are its formulas; without a prediction, a
        changed pixel is a false negative, and an unchanged one is missing from the true negatives only.
        """
        hits = int(counts.counts[1, 1])
        quiet = int(counts.counts[0, 0])
        truth, said = counts.truth, counts.predicted
        precision, recall = _ratio(hits, said[1]), _ratio(hits, truth[1])
        changed = _ratio(hits, truth[1] + said[1] - hits)
        unchanged = _ratio(quiet, truth[0] + said[0] - quiet)
        return cls(
            iou=changed,
            f1=2 * precision * recall / (precision + recall + EPSILON),
            precision=precision,
            recall=recall,
            mean_iou=(changed + unchanged) / 2,
            accuracy=_ratio(hits + quiet, counts.pixels),
        )

    @property
    def told(self) -> str:
        """The figure by which methods are compared, for people."""
        return f"F1 {100 * self.f1:.1f} %"

    def percent(self) -> dict[str, float]:
        """By the names of the result document, two digits."""
        named = {
            "IoU": self.iou, "F1": self.f1, "precision": self.precision, "recall": self.recall,
            "mIoU": self.mean_iou, "OA": self.accuracy,
        }  # fmt: skip
        return {name: round(100 * value, 2) for name, value in named.items()}


def _ratio(part: int, whole: int) -> float:
    return float(part / (whole + EPSILON))
