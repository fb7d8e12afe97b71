"""Confusion counts of predictions, which add up over a set, and the metrics derived from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

IGNORE = 255
"""Code of a truth that is not judged, and of a missing prediction."""


@dataclass(frozen=True, eq=False)
class Confusion:
    """Pixels by truth and prediction. Addition is associative and commutative, so sets merge in any order.

    The metrics are those of mmsegmentation's ``IoUMetric``: intersections and unions are summed over the whole set
    before any division, pixels whose truth is 255 are left out, and a mean over classes leaves out classes that have
    no pixel in truth or prediction (their value is nan).

    Args:
        counts: int64 ``[K, K]``; the row is the truth, the column the prediction.
        missed: int64 ``[K]``; pixels of each true class without a prediction. They count as errors.
        ignored: Pixels whose truth is 255.
    """

    counts: NDArray[np.int64]
    missed: NDArray[np.int64]
    ignored: int = 0

    @classmethod
    def empty(cls, classes: int) -> Confusion:
        """Counts of no pixel."""
        return cls(np.zeros((classes, classes), np.int64), np.zeros(classes, np.int64))

    @classmethod
    def of(cls, truth: ArrayLike, prediction: ArrayLike, *, classes: int) -> Confusion:
        """Count one map.

        Args:
            truth: Integers of any shape, 0 … ``classes - 1``, or 255 where not judged.
            prediction: Integers of that shape, 0 … ``classes - 1``, or 255 where missing.
            classes: Number of classes, at most 255.

        Raises:
            ValueError: The shapes differ, or a value is neither a class nor 255.
        """
        true, predicted = np.asarray(truth), np.asarray(prediction)
        if true.shape != predicted.shape:
            raise ValueError(f"truth {true.shape} and prediction {predicted.shape} differ in shape")
        judged = true != IGNORE
        true, predicted = _codes(true[judged], classes, "truth"), _codes(predicted[judged], classes, "prediction")
        pairs = np.bincount(true * (classes + 1) + predicted, minlength=classes * (classes + 1))
        table = pairs.reshape(classes, classes + 1).astype(np.int64)
        return cls(table[:, :classes].copy(), table[:, classes].copy(), int(judged.size - true.size))

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(self.counts + other.counts, self.missed + other.missed, self.ignored + other.ignored)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Confusion) and self.as_json() == other.as_json()

    __hash__ = None  # type: ignore[assignment]  # arrays are not hashable

    @property
    def pixels(self) -> int:
        """Judged pixels."""
        return int(self.counts.sum() + self.missed.sum())

    @property
    def truth(self) -> NDArray[np.int64]:
        """Pixels of each class in the truth, ``[K]``."""
        return np.asarray(self.counts.sum(1) + self.missed)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Judged pixels of each class in the prediction, ``[K]``."""
        return np.asarray(self.counts.sum(0))

    @property
    def hits(self) -> NDArray[np.int64]:
        """Correctly predicted pixels of each class, ``[K]``."""
        return np.asarray(self.counts.diagonal())

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class, ``[K]``; nan for a class without a pixel in truth and prediction."""
        return _ratio(self.hits, self.truth + self.predicted - self.hits)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes with a pixel in truth or prediction; nan for an empty set."""
        iou = self.iou
        defined = iou[~np.isnan(iou)]
        return float(defined.mean()) if defined.size else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of judged pixels that are predicted correctly; nan for an empty set."""
        return float(_ratio(self.hits.sum(), self.pixels))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of each class's true pixels that are predicted as such, ``[K]``."""
        return _ratio(self.hits, self.truth)

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of each class's predicted pixels that are correct, ``[K]``."""
        return _ratio(self.hits, self.predicted)

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of precision and recall, ``[K]``: 2·hits / (truth + predicted)."""
        return _ratio(2 * self.hits, self.truth + self.predicted)

    def as_json(self) -> dict[str, Any]:
        """Counts as plain JSON, sparse: ``pairs`` holds [truth, prediction, pixels]."""
        rows, columns = np.nonzero(self.counts)
        pairs = np.stack([rows, columns, self.counts[rows, columns]], 1)
        return {
            "classes": len(self.counts),
            "pairs": pairs.tolist(),
            "missed": self.missed.tolist() if self.missed.any() else [],
            "ignored": self.ignored,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Confusion:
        """The inverse of `as_json`.

        Raises:
            ValueError: The document was not written by `as_json`.
        """
        try:
            result = cls.empty(int(document["classes"]))
            for row, column, pixels in document["pairs"]:
                result.counts[row, column] = pixels
            if document["missed"]:
                result.missed[:] = document["missed"]
            return cls(result.counts, result.missed, int(document["ignored"]))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"no confusion counts: {error!r}") from None


def _codes(values: NDArray[Any], classes: int, name: str) -> NDArray[np.int64]:
    """Values as row or column numbers; 255 is the column after the last class."""
    codes = values.astype(np.int64)
    codes[values == IGNORE] = classes
    if codes.size and (codes.min() < 0 or codes.max() > classes):
        strange = np.unique(codes[(codes < 0) | (codes > classes)])[:5].tolist()
        raise ValueError(f"{name} holds {strange}, and classes are 0 to {classes - 1}")
    return codes


def _ratio(numerator: Any, denominator: Any) -> NDArray[np.float64]:
    numerator, denominator = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)
    undefined = np.full(numerator.shape, np.nan)
    ratio: NDArray[np.float64] = np.divide(numerator, denominator, out=undefined, where=denominator > 0)
    return ratio
