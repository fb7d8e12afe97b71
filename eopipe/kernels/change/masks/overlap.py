"""Which objects cover one another: intersections of masks, suppression of doubles, objects without a counterpart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.runs import Masks

COUNTERPART = 0.01
"""An object whose intersections over union with the other date's objects sum to more is on both dates."""


def mask_iou(first: Masks, second: Masks) -> NDArray[np.float64]:
    """Intersection over union of every pair.

    Args:
        first: N masks.
        second: M masks of a picture of the same shape.

    Returns:
        ``[N, M]``; 0 for two empty masks.

    Raises:
        ValueError: The pictures differ in shape.
    """
    if first.shape != second.shape:
        raise ValueError(f"masks on {first.shape} and on {second.shape} cannot be compared")
    common = np.zeros((len(first), len(second)), np.int64)
    _intersections(first.runs, first.offsets, first.boxes, second.runs, second.offsets, second.boxes, common)
    union = first.areas[:, None] + second.areas[None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros(common.shape), where=union > 0))


def without_counterpart(before: Masks, after: Masks) -> NDArray[np.bool_]:
    """Objects that the other date lacks: I-M-C's instance-level comparison.

    Source: DynamicEarth (arXiv 2501.12931), I-M-C; `instance_ceg` of its released code.

    Args:
        before: N objects of the first date.
        after: M objects of the second.

    Returns:
        ``[N + M]``, the first date's first; all true where the other date has no object.

    Raises:
        ValueError: The pictures differ in shape.
    """
    table = mask_iou(before, after)
    return np.concatenate([table.sum(axis=1), table.sum(axis=0)]) <= COUNTERPART


def corner_boxes(masks: Masks) -> NDArray[np.float32]:
    """Boxes as SAM's mask generator has them: float32 ``[N, 4]``: x, y of the first and of the last pixel.

    The last pixel is included, so that a box is a pixel narrower than its mask, and a line has no area. An empty
    mask's box is zeros.
    """
    top, left, bottom, right = masks.boxes.T
    last = (masks.areas > 0).astype(np.int32)
    return np.stack([left, top, right - last, bottom - last], axis=1).astype(np.float32)


def box_nms(boxes: NDArray[Any], scores: NDArray[Any], limit: float) -> NDArray[np.int64]:
    """Suppression of boxes that a better one covers, whatever their classes.

    In the order of falling scores (the first of equals first), a box that is left removes those whose intersection
    over union with it is greater than ``limit``: of float32 numbers, as torchvision does it on a CPU.

    Args:
        boxes: ``[N, 4]``: x, y of two corners.
        scores: ``[N]``.
        limit: 0-1.

    Returns:
        Numbers of the boxes that stay, ascending.
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])

    def covered(best: int, rest: NDArray[np.int64]) -> NDArray[np.bool_]:
        low = np.maximum(boxes[best, :2], boxes[rest, :2])
        high = np.minimum(boxes[best, 2:], boxes[rest, 2:])
        common = np.maximum(high - low, 0).prod(axis=1)
        union = areas[best] + areas[rest] - common
        share = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
        return np.asarray(share.astype(np.float64) > limit)

    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    staying = []
    while len(order):
        best, order = order[0], order[1:]
        staying.append(best)
        order = order[~covered(int(best), order)]
    return np.sort(np.asarray(staying, np.int64))


@njit(nogil=True, cache=True)
def _intersections(
    a_runs: NDArray[Any],
    a_offsets: NDArray[Any],
    a_boxes: NDArray[Any],
    b_runs: NDArray[Any],
    b_offsets: NDArray[Any],
    b_boxes: NDArray[Any],
    out: NDArray[Any],
) -> None:
    """Pixels that two masks share, where their boxes meet: both lists of runs walked at once."""
    for i in range(len(a_offsets) - 1):
        for j in range(len(b_offsets) - 1):
            apart = a_boxes[i, 0] >= b_boxes[j, 2] or b_boxes[j, 0] >= a_boxes[i, 2]
            if apart or a_boxes[i, 1] >= b_boxes[j, 3] or b_boxes[j, 1] >= a_boxes[i, 3]:
                continue
            a, b, common = a_offsets[i], b_offsets[j], 0
            while a < a_offsets[i + 1] and b < b_offsets[j + 1]:
                row = a_runs[a, 0] - b_runs[b, 0]
                if row == 0:
                    common += max(0, min(a_runs[a, 2], b_runs[b, 2]) - max(a_runs[a, 1], b_runs[b, 1]))
                    row = a_runs[a, 2] - b_runs[b, 2]  # the run that ends first is done
                if row < 0:
                    a += 1
                else:
                    b += 1
            out[i, j] = common
