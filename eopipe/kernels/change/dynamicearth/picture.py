"""A picture of the lattice: the pair over it, the changes that the stages find, and those that it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.dynamicearth.lattice import beyond_core, core_of, in_core
from eopipe.kernels.change.masks.paint import most_frequent
from eopipe.kernels.change.objects import change_objects
from eopipe.kernels.change.registration.alignment import MOVE_MARGIN, SHIFT, inner, registered
from eopipe.kernels.change.score import THRESHOLD
from eopipe.kernels.change.stages.pair import DatePair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.dynamicearth.assemble import LoadedStages
    from eopipe.kernels.change.dynamicearth.cell_cache import CellCache
    from eopipe.kernels.change.dynamicearth.pipelines import Changes
    from eopipe.kernels.change.masks.runs import Masks
    from eopipe.kernels.objects import FoundObjects
    from eopipe.kernels.statistics import Field


@dataclass(frozen=True, eq=False)
class PictureDecision:
    """What a picture adds to the map.

    Args:
        picture: Its box.
        masks: N of its objects, those that it decides and that score; None where pixels are judged by themselves.
        score: uint8 ``[N]``, 0-250; of pixels ``[y, x]`` over the core.
        labels: uint8 ``[2, y, x]`` over the core: codes of both dates, 0 where a date lacks the pixel.
        valid: ``[y, x]`` over the core: on both dates.
    """

    picture: PixelBox
    masks: Masks | None
    score: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class StripPictures:
    """A strip's pixels, and the stages that run on pictures of them.

    Args:
        stages: Loaded.
        pixels: ``[2, band, y, x]`` over ``outer``.
        valid: ``[2, y, x]``, likewise.
        outer: The strip with its halo.
        statistics: The kernel's.
        cells: Scores and labels by cell, where colours are compared; None where features are.
    """

    stages: LoadedStages
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    outer: PixelBox
    statistics: Mapping[str, Field]
    cells: CellCache | None

    def pair(self, box: PixelBox, bands: Sequence[int] | None = None) -> DatePair:
        """Both dates over a box, registered; of some bands, or (None) of all."""
        rows, cols = box.pad(MOVE_MARGIN).slices(self.outer)
        valid = self.valid[:, rows, cols]
        pixels = self.pixels[:, :, rows, cols] if bands is None else self.pixels[:, bands, rows, cols]
        dates, (first, second) = registered(pixels, valid, box, self.statistics.get(SHIFT))
        # a pixel that the second date itself lacks is no data, though the value moved there is valid
        return DatePair(np.stack(dates), np.stack([first, second & inner(valid[1], MOVE_MARGIN)]))

    def decide(self, picture: PixelBox) -> tuple[PictureDecision, FoundObjects | None] | None:
        """What a picture decides, and its objects that changed; None where the dates share no pixel of it."""
        pair = self.pair(picture)
        valid = pair.common
        if not valid.any():
            return None
        if self.cells is None:
            result = self.stages(pair)
            labels = (result.labels + 1) * valid
        else:
            scores = self.cells.scores(picture)
            result, labels = self.stages(pair, ratio=scores.ratio), scores.labels
        core = core_of(picture).slices(picture)
        core_labels, core_valid = labels[:, *core].copy(), valid[core].copy()  # so that the picture itself is freed
        changes = result.changes
        if changes.proposals is None:
            return PictureDecision(picture, None, changes.hundredths[core].copy(), core_labels, core_valid), None
        index = np.flatnonzero(in_core(changes.proposals.masks) & (changes.hundredths > 0))
        masks, score = changes.proposals.masks.take(index), changes.hundredths[index]
        high = np.flatnonzero(score >= THRESHOLD)
        objects = self._objects(picture, masks.take(high), changes, index[high], labels)
        return PictureDecision(picture, masks, score, core_labels, core_valid), objects

    def _objects(
        self,
        picture: PixelBox,
        masks: Masks,
        changes: Changes,
        index: NDArray[np.int64],
        labels: NDArray[np.uint8],
    ) -> FoundObjects:
        """Masks that changed, with their numbers among the picture's."""
        if self.cells is None:  # an unknown class is background: the object did not exist on that date
            before, after = (np.maximum(date[index], 0) + 1 for date in (changes.before, changes.after))
        else:
            before, after = (most_frequent(masks, date) for date in labels)
        score = changes.hundredths[index]
        return change_objects(masks, picture, seam=beyond_core(masks), score=score, before=before, after=after)
