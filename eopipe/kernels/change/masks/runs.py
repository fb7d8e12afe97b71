"""Many object masks of one picture, as runs of pixels.

A proposer gives hundreds of objects that overlap. As dense masks they would take a byte a pixel and object (314 MB
for 300 of 1024²), and each later step would read them all. As runs (row, first column, end) they take some 12 bytes
a row of an object, and areas, boxes, intersections, sums over a map and drawing are sums over runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Masks:
    """Object masks of one picture; they may overlap, and a mask may be empty.

    Args:
        shape: Rows and columns of the picture.
        runs: int32 ``[R, 3]``: row, first column, column after the last; of each mask in row order, no two touching.
        offsets: int64 ``[N + 1]``; mask ``i`` has ``runs[offsets[i]:offsets[i + 1]]``.
    """

    shape: tuple[int, int]
    runs: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Masks:
        """No mask."""
        return cls.from_runs(shape, [])

    @classmethod
    def from_runs(cls, shape: tuple[int, int], runs: Sequence[NDArray[np.int32]]) -> Masks:
        """From the runs of each mask, int32 ``[R, 3]``."""
        return cls(
            shape,
            np.concatenate([np.zeros((0, 3), np.int32), *runs]),
            offsets_of([len(mask_runs) for mask_runs in runs]),
        )

    @classmethod
    def from_dense(cls, masks: Iterable[NDArray[Any]], shape: tuple[int, int]) -> Masks:
        """From arrays.

        Args:
            masks: Each ``[H, W]``, true inside; or an array ``[N, H, W]``.
            shape: ``(H, W)``, since there may be no mask.

        Raises:
            ValueError: A mask has another shape.
        """
        return cls.from_runs(shape, [_runs_of(np.asarray(mask, bool), shape) for mask in masks])

    @classmethod
    def from_labels(cls, labels: NDArray[Any]) -> Masks:
        """From a map of object numbers.

        Args:
            labels: Integers ``[H, W]``; 0 and below belong to no object.

        Returns:
            One mask a number, in the order of the numbers.

        Raises:
            ValueError: It is no map of integers.
        """
        if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"object numbers are integers [H, W], and these are {labels.dtype} {labels.shape}")
        runs, values = value_runs(labels)
        order = np.argsort(values, kind="stable")
        order = order[values[order] > 0]
        _, counts = np.unique(values[order], return_counts=True)
        return cls((int(labels.shape[0]), int(labels.shape[1])), runs[order], offsets_of(counts))

    @classmethod
    def concatenate(cls, groups: Sequence[Masks]) -> Masks:
        """Masks of one picture after one another.

        Raises:
            ValueError: There is no group, or shapes differ.
        """
        shapes = {masks.shape for masks in groups}
        if len(shapes) != 1:
            raise ValueError(f"masks of one picture have one shape, and these have {sorted(shapes)}")
        counts = np.concatenate([np.diff(masks.offsets) for masks in groups])
        return cls(groups[0].shape, np.concatenate([masks.runs for masks in groups]), offsets_of(counts))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, selection: ArrayLike) -> Masks:
        """A selection of the masks: their numbers in any order, or a bool for each."""
        index = np.arange(len(self))[np.asarray(selection, dtype=None if np.size(selection) else np.int64)]
        counts = np.diff(self.offsets)[index]
        offsets = offsets_of(counts)
        # the number of each run: its mask's first, and on from there
        numbers = np.repeat(self.offsets[index] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Masks(self.shape, self.runs[numbers], offsets)

    @cached_property
    def owner(self) -> NDArray[np.int64]:
        """The mask of each run, ``[R]``."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @cached_property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each mask, ``[N]``."""
        return self.total(self.runs[:, 2] - self.runs[:, 1]).astype(np.int64)

    @cached_property
    def boxes(self) -> NDArray[np.int32]:
        """The smallest box of each mask, ``[N, 4]``: top, left, bottom and right (excluded); zeros if empty."""
        boxes = np.zeros((len(self), 4), np.int32)
        full = np.diff(self.offsets) > 0
        starts = self.offsets[:-1][full]
        if len(starts):  # reduceat would take the neighbour's run for an empty mask
            boxes[full, 0] = self.runs[starts, 0]
            boxes[full, 1] = np.minimum.reduceat(self.runs[:, 1], starts)
            boxes[full, 2] = self.runs[self.offsets[1:][full] - 1, 0] + 1
            boxes[full, 3] = np.maximum.reduceat(self.runs[:, 2], starts)
        return boxes

    def total(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sum over each mask's runs, in their order.

        Args:
            values: ``[R]``, a value a run.

        Returns:
            ``[N]`` float64; exact for integers below 2^53.
        """
        return np.bincount(self.owner, values, minlength=len(self)).astype(np.float64, copy=False)

    def crop(self, number: int) -> NDArray[np.bool_]:
        """One mask within its box, ``[bottom - top, right - left]``."""
        top, left, bottom, right = self.boxes[number].tolist()
        runs = self.runs[self.offsets[number] : self.offsets[number + 1]]
        return _draw(runs - np.array([top, left, left], np.int32), (bottom - top, right - left)) > 0

    def within(self, valid: NDArray[np.bool_]) -> Masks:
        """Each mask less the pixels where ``valid`` ``[H, W]`` is false; as many masks, some perhaps empty."""
        remaining = []
        for number, (top, left, bottom, right) in enumerate(self.boxes.tolist()):
            runs, inside = value_runs(self.crop(number) & valid[top:bottom, left:right])
            remaining.append(runs[inside] + np.array([top, left, left], np.int32))
        return Masks.from_runs(self.shape, remaining)

    def count(self) -> NDArray[np.int32]:
        """How many masks cover each pixel, ``[H, W]``."""
        return _draw(self.runs, self.shape)

    def union(self) -> NDArray[np.bool_]:
        """Pixels of any mask, ``[H, W]`` (DynamicEarth's merge of the masks that changed, arXiv 2501.12931).

        The released code adds masks up in uint8, so that a pixel under exactly 256 of them would be lost; this is a
        logical or.
        """
        return self.count() > 0


def offsets_of(counts: ArrayLike) -> NDArray[np.int64]:
    """``[N + 1]``: where each of N groups of runs begins, and the end of the last."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def value_runs(values: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """A map cut into runs of equal value along its rows.

    Args:
        values: ``[H, W]``.

    Returns:
        int32 ``[R, 3]`` row, first column, end, in row order; and the value of each run, ``[R]``.
    """
    height, width = values.shape
    if not height or not width:
        return np.zeros((0, 3), np.int32), values.reshape(-1)
    begins = np.ones((height, width), bool)
    begins[:, 1:] = values[:, 1:] != values[:, :-1]
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], height * width)
    rows = starts // width
    runs = np.stack([rows, starts - rows * width, ends - rows * width], axis=1).astype(np.int32)
    return runs, values.reshape(-1)[starts]


def _runs_of(mask: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.int32]:
    if mask.shape != shape:
        raise ValueError(f"a mask of {mask.shape} on a picture of {shape}")
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return np.zeros((0, 3), np.int32)
    runs, inside = value_runs(mask[rows[0] : rows[-1] + 1])
    runs[:, 0] += np.int32(rows[0])
    return np.asarray(runs[inside])


def _draw(runs: NDArray[np.int32], shape: tuple[int, int]) -> NDArray[np.int32]:
    """How many runs cover each pixel: a step up at each start and down at each end, added up along the rows."""
    height, width = shape
    steps = np.zeros(height * (width + 1), np.int32)
    rows = runs[:, 0].astype(np.int64) * (width + 1)
    np.add.at(steps, rows + runs[:, 1], 1)
    np.add.at(steps, rows + runs[:, 2], -1)
    return np.cumsum(steps.reshape(height, width + 1), axis=1, dtype=np.int32)[:, :width]
