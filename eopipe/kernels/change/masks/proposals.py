"""Objects that may have changed: masks with their scores and the dates on which they were seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.kernels.change.masks.overlap import box_nms, corner_boxes, mask_nms
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.identify.rules import AFTER, BEFORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

LARGEST = 0.8
"""Share of the picture from which on a mask is no object (spec 03 §1.1 a)."""
DOUBLE = 0.7
"""Intersection over union above which two boxes are one object (spec 03 §1.1 c)."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """Objects of a pair of pictures.

    Args:
        masks: N masks.
        scores: float32 ``[N]``: the proposer's trust in each: SAM's predicted IoU, a detector's score, else 1.
        origin: uint8 ``[N]``: the date on which each was seen, `BEFORE`, `AFTER` or both (3).
        boxes: float32 ``[N, 4]`` x, y of two corners, where the proposer has boxes of its own; None: the masks'.
    """

    masks: Masks
    scores: NDArray[np.float32]
    origin: NDArray[np.uint8]
    boxes: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        lengths = {
            len(self.masks),
            len(self.scores),
            len(self.origin),
            *([] if self.boxes is None else [len(self.boxes)]),
        }
        if len(lengths) != 1:
            raise ValueError(f"each mask has a score, a date and a box; there are {sorted(lengths)} of them")

    @classmethod
    def of(cls, masks: Masks, origin: int, scores: NDArray[Any] | None = None) -> Proposals:
        """Masks of one date.

        Args:
            masks: N masks.
            origin: `BEFORE`, `AFTER` or both (3).
            scores: ``[N]``; None: 1 each.
        """
        trust = np.ones(len(masks), np.float32) if scores is None else np.asarray(scores, np.float32)
        return cls(masks, trust, np.full(len(masks), origin, np.uint8))

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def first(self) -> int:
        """How many were seen on the first date only (the paper's n1)."""
        return int((self.origin == BEFORE).sum())

    def take(self, which: ArrayLike) -> Proposals:
        """Some of them: numbers in any order, or a bool for each."""
        index = np.arange(len(self))[np.asarray(which, dtype=None if np.size(which) else np.int64)]
        return Proposals(
            self.masks.take(index),
            self.scores[index],
            self.origin[index],
            None if self.boxes is None else self.boxes[index],
        )

    def within(self, seen: NDArray[np.bool_]) -> Proposals:
        """Less the pixels that nobody saw, ``[H, W]``, and the objects of which none is left; boxes stay."""
        if seen.all():
            return self
        masks = self.masks.within(seen)
        return replace(self, masks=masks).take(masks.areas > 0)

    def without_doubles(self, limit: float = DOUBLE, *, by_mask: bool = False) -> Proposals:
        """Less those that a better one covers, in their own order.

        Args:
            limit: Intersection over union above which the lesser one goes.
            by_mask: Whether masks are compared; else boxes, as published.
        """
        if by_mask:
            return self.take(mask_nms(self.masks, self.scores, limit))
        boxes = corner_boxes(self.masks) if self.boxes is None else self.boxes
        return self.take(box_nms(boxes, self.scores, limit))


def joined(parts: Sequence[Proposals]) -> Proposals:
    """Proposals of several dates after one another; boxes of their own stay if all have some.

    Raises:
        ValueError: There is no part, or the pictures differ in shape.
    """
    boxes = [part.boxes for part in parts if part.boxes is not None]
    return Proposals(
        Masks.concatenate([part.masks for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.origin for part in parts]),
        np.concatenate(boxes) if len(boxes) == len(parts) else None,
    )


def both_dates(before: Proposals, after: Proposals, *, largest: float = LARGEST, double: float = DOUBLE) -> Proposals:
    """What M-C-I compares: the objects of both dates, without those that are too large, and without doubles.

    Args:
        before: Objects of the first date.
        after: Of the second.
        largest: A mask of this share of the picture or more goes.
        double: Boxes with a greater intersection over union are one object; the one with the higher score stays.

    Returns:
        Those of the first date first, else in their order.
    """
    pixels = before.masks.shape[0] * before.masks.shape[1]
    dated = (replace(before, origin=np.full(len(before), BEFORE, np.uint8)),
             replace(after, origin=np.full(len(after), AFTER, np.uint8)))  # fmt: skip
    small = [part.take(part.masks.areas / pixels < largest) for part in dated]
    return joined(small).without_doubles(double)
