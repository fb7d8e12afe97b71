"""From logits to classes (SegEarth-OV, arXiv 2410.01768), and the sums of overlapping windows along a tile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from eopipe.grid import PixelBox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor


@torch.inference_mode()
def class_scores(logits: Tensor, query_class: Sequence[int], scale: float) -> Tensor:
    """A class's score: the largest of its synonyms' probabilities, which are shared out over all queries.

    Args:
        logits: ``[..., Q]``.
        query_class: The class of each query, from 0.
        scale: What logits are multiplied by before the softmax; 50 as published.

    Returns:
        ``[..., K]``; synonyms split the mass, so a pixel's scores may sum to less than 1.
    """
    probability = torch.softmax(logits * scale, dim=-1)
    members: list[list[int]] = [[] for _ in range(max(query_class) + 1)]
    for query, number in enumerate(query_class):
        members[number].append(query)
    if all(len(queries) == 1 for queries in members) and list(query_class) == sorted(query_class):
        return probability
    return torch.stack([probability[..., queries].amax(dim=-1) for queries in members], dim=-1)


@torch.inference_mode()
def decide(scores: Tensor, *, threshold: float, background: int | None) -> tuple[Tensor, Tensor]:
    """The class of each pixel.

    Args:
        scores: ``[..., K]``.
        threshold: A pixel whose best score is below it is background.
        background: Which class that is, from 0; None where there is none and no pixel is ever below.

    Returns:
        ``[...]`` class numbers from 0 (the first of equals), and the best score whichever class won.
    """
    best, label = scores.max(dim=-1)
    if background is not None and threshold > 0:
        label = torch.where(best < threshold, background, label)
    return label, best


def classify(
    logits: Tensor, query_class: Sequence[int], *, scale: float, threshold: float, background: int | None
) -> tuple[Tensor, Tensor]:
    """Labels and class scores of a whole picture.

    Args:
        logits: ``[Q, H, W]``.
        query_class: The class of each query, from 0.
        scale: As `class_scores`.
        threshold: As `decide`.
        background: As `decide`.

    Returns:
        ``[H, W]`` class numbers from 0, and ``[K, H, W]`` scores.
    """
    scores = class_scores(logits.permute(1, 2, 0), query_class, scale)
    label, _ = decide(scores, threshold=threshold, background=background)
    return label, scores.permute(2, 0, 1)


@dataclass(frozen=True)
class RowSums:
    """Sums of window logits over the rows that a row of windows can still reach.

    Windows are added in row order, so a pixel's sum has one order whichever tile or strip it is made for: the next
    strip starts from what a strip's last windows leave below it.

    Args:
        box: What ``values`` cover: a window's height, over a strip's whole width.
        values: ``[y, x, Q]`` float32.
    """

    box: PixelBox
    values: NDArray[np.float32]

    @classmethod
    def zeros(cls, box: PixelBox, queries: int) -> RowSums:
        """Nothing added yet."""
        return cls(box, np.zeros((*box.shape, queries), np.float32))

    def add(self, window: PixelBox, logits: NDArray[np.float32]) -> None:
        """Add a window's logits ``[y, x, Q]`` where it lies in the box; in place."""
        common = window & self.box
        if not common.empty:
            self.values[common.slices(self.box)] += logits[common.slices(window)]

    def moved(self, row: int) -> RowSums:
        """The same height from ``row`` on: the sums of those rows, and zeros below."""
        down = row - self.box.row0
        box = PixelBox(row, self.box.col0, self.box.row1 + down, self.box.col1)
        moved = RowSums.zeros(box, self.values.shape[2])
        common = self.values[down:]
        moved.values[: len(common)] = common
        return moved
