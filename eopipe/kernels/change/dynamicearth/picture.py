"""One picture of the lattice: what is seen, what its stages find, and what of that it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.cut import AT
from eopipe.kernels.change.dynamicearth.lattice import beyond_core, core_of, decided
from eopipe.kernels.change.dynamicearth.pipelines import Objects
from eopipe.kernels.change.objects import found_objects, most_frequent
from eopipe.kernels.change.spectral.cell import SHIFT, SHIFTED, inner, registered
from eopipe.kernels.change.stages.protocols import Pair

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.dynamicearth.assemble import Detection
    from eopipe.kernels.change.dynamicearth.cell_cache import Cells
    from eopipe.kernels.change.masks.runs import Masks
    from eopipe.kernels.objects import FoundObjects
    from eopipe.kernels.statistics import Field


@dataclass(frozen=True, eq=False)
class Decided:
    """What a picture says of the map.

    Args:
        picture: Where it lies.
        masks: N of its objects, those that it decides and that score; None where pixels are judged by themselves.
        score: uint8 ``[N]``, 0-250; of pixels ``[y, x]`` over the core.
        labels: uint8 ``[2, y, x]`` over the core: codes of both dates, 0 where nothing was seen.
        seen: ``[y, x]`` over the core: in both dates.
    """

    picture: PixelBox
    masks: Masks | None
    score: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    seen: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Looker:
    """A strip's pixels, and the stages that look at pictures of them.

    Args:
        detection: The stages.
        pixels: ``[2, band, y, x]`` over ``outer``.
        valid: ``[2, y, x]``, likewise.
        outer: The strip with its halo.
        statistics: The kernel's.
        cells: Scores and labels by cell, where colours are compared; None where features are.
    """

    detection: Detection
    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]
    outer: PixelBox
    statistics: Mapping[str, Field]
    cells: Cells | None

    def pair(self, box: PixelBox, bands: Sequence[int] | None = None) -> Pair:
        """Both dates over a box, registered; of some bands, or (None) of all."""
        rows, cols = box.pad(SHIFTED).slices(self.outer)
        valid = self.valid[:, rows, cols]
        pixels = self.pixels[:, :, rows, cols] if bands is None else self.pixels[:, bands, rows, cols]
        dates, (first, second) = registered(pixels, valid, box, self.statistics.get(SHIFT))
        # what the second date itself lacks is no data, though what was moved there is valid
        return Pair(np.stack(dates), np.stack([first, second & inner(valid[1], SHIFTED)]))

    def look(self, picture: PixelBox) -> tuple[Decided, FoundObjects | None] | None:
        """What a picture decides, and its objects that changed; None where the dates share no pixel of it."""
        pair = self.pair(picture)
        if not pair.seen.any():
            return None
        ratio = None if self.cells is None else self.cells.ratio(picture)
        detected = self.detection(pair, ratio=ratio)
        labels = (detected.labels + 1) * pair.seen if self.cells is None else self.cells.labels(picture)
        core = core_of(picture).slices(picture)
        shown, seen = labels[:, *core].copy(), pair.seen[core].copy()  # the picture itself may go
        if not isinstance(detected.found, Objects):
            return Decided(picture, None, detected.found.hundredths[core].copy(), shown, seen), None
        return self._objects(detected.found, picture, labels, shown, seen)

    def _objects(
        self,
        found: Objects,
        picture: PixelBox,
        labels: NDArray[np.uint8],
        shown: NDArray[np.uint8],
        seen: NDArray[np.bool_],
    ) -> tuple[Decided, FoundObjects]:
        mine = np.flatnonzero(decided(found.proposals.masks) & (found.hundredths > 0))
        masks, score = found.proposals.masks.take(mine), found.hundredths[mine]
        kept = np.flatnonzero(score >= AT)
        changed = masks.take(kept)
        if self.cells is None:  # a class that nobody says is background: the object was not there
            before, after = (np.maximum(each[mine][kept], 0) + 1 for each in (found.before, found.after))
        else:
            before, after = (most_frequent(changed, date) for date in labels)
        objects = found_objects(
            changed, picture, seam=beyond_core(changed), score=score[kept], before=before, after=after
        )
        return Decided(picture, masks, score, shown, seen), objects
