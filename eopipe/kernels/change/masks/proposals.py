"""Objects that may have changed: masks with their scores and the dates on which they were observed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.kernels.change.masks.overlap import box_nms, corner_boxes
from eopipe.kernels.change.masks.runs import Masks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

BEFORE, AFTER, BOTH = 1, 2, 3
"""The dates on which an object was observed, as bits."""

DATES = (BEFORE, AFTER)
"""By the date's number, 0 or 1."""

LARGEST = 0.8
"""Share of the picture from which on a mask is no object."""

DOUBLE = 0.7
"""Intersection over union above which two boxes are one object."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Objects of a pair of pictures.

    Args:
        masks: N masks.
        scores: float32 ``[N]``: the proposer's trust in each: SAM's predicted IoU, a detector's score, else 1.
        origin: uint8 ``[N]``: the dates on which each was observed, `BEFORE`, `AFTER` or `BOTH`.
    """

    masks: Masks
    scores: NDArray[np.float32]
    origin: NDArray[np.uint8]

    def __post_init__(self) -> None:
        lengths = {len(self.masks), len(self.scores), len(self.origin)}
        if len(lengths) != 1:
            raise ValueError(f"each mask has a score and a date; there are {sorted(lengths)} of them")

    @classmethod
    def of(cls, masks: Masks, origin: int, scores: NDArray[Any] | None = None) -> Proposals:
        """Masks of one origin.

        Args:
            masks: N masks.
            origin: `BEFORE`, `AFTER` or `BOTH`.
            scores: ``[N]``; None: 1 each.
        """
        trust = np.ones(len(masks), np.float32) if scores is None else np.asarray(scores, np.float32)
        return cls(masks, trust, np.full(len(masks), origin, np.uint8))

    @classmethod
    def concatenate(cls, groups: Sequence[Proposals]) -> Proposals:
        """Proposals of one pair after one another.

        Raises:
            ValueError: There is no group, or the pictures differ in shape.
        """
        return cls(
            Masks.concatenate([group.masks for group in groups]),
            np.concatenate([group.scores for group in groups]),
            np.concatenate([group.origin for group in groups]),
        )

    def __len__(self) -> int:
        return len(self.masks)

    def take(self, selection: ArrayLike) -> Proposals:
        """A selection of them: numbers in any order, or a bool for each."""
        index = np.arange(len(self))[np.asarray(selection, dtype=None if np.size(selection) else np.int64)]
        return Proposals(self.masks.take(index), self.scores[index], self.origin[index])

    def within(self, valid: NDArray[np.bool_]) -> Proposals:
        """Less the pixels where ``valid`` ``[H, W]`` is false, and the objects that have none left."""
        if valid.all():
            return self
        masks = self.masks.within(valid)
        return replace(self, masks=masks).take(masks.areas > 0)

    def without_doubles(self, limit: float = DOUBLE) -> Proposals:
        """Less those whose box one with a higher score covers, in their own order.

        Args:
            limit: Intersection over union of two boxes above which the one with the lower score goes.
        """
        return self.take(box_nms(corner_boxes(self.masks), self.scores, limit))


def both_dates(before: Proposals, after: Proposals, *, double: float = DOUBLE) -> Proposals:
    """What M-C-I compares: the objects of both dates, without those that are too large, and without doubles.

    Source: DynamicEarth (arXiv 2501.12931), M-C-I, mask proposal; limits from its released code.

    Args:
        before: Objects of the first date.
        after: Of the second.
        double: Boxes with a greater intersection over union are one object; the one with the higher score stays.

    Returns:
        Those of the first date first, else in their order.
    """
    pixels = before.masks.shape[0] * before.masks.shape[1]
    small = [date.take(date.masks.areas / pixels < LARGEST) for date in (before, after)]
    return Proposals.concatenate(small).without_doubles(double)
