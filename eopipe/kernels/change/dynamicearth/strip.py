"""A strip's arrays and objects from the pictures that touch it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.grid import CELL
from eopipe.kernels.change.dynamicearth.lattice import core_of, pictures
from eopipe.kernels.change.masks.paint import paint
from eopipe.kernels.change.objects import changed_regions
from eopipe.kernels.change.registration.alignment import SHIFT, RegistrationSums
from eopipe.kernels.change.score import UNOBSERVED, change_of
from eopipe.kernels.change.stages.pair import RGB
from eopipe.kernels.objects import FoundObjects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.dynamicearth.cell_cache import CellScores
    from eopipe.kernels.change.dynamicearth.picture import PictureDecision, StripPictures


@dataclass(frozen=True, eq=False)
class Carry:
    """What the strip below needs: pictures that touch it too, and cells that its own pictures will need."""

    decisions: dict[PixelBox, PictureDecision | None] = field(default_factory=dict)
    cells: dict[PixelBox, CellScores] = field(default_factory=dict)


class StripMap:
    """See the module.

    Args:
        strip: The strip's pixels and stages.
        box: The strip.
        side: Of a picture.
        area: ``[y, x]`` over the strip with its halo: pixels inside the area of interest; None: all.
        carry: From the strip above.
        threshold: ``change_score`` from which on a pixel changed.
        instances: Whether masks are whole objects; else changed pixels that touch are one.
    """

    def __init__(
        self,
        strip: StripPictures,
        box: PixelBox,
        *,
        side: int,
        area: NDArray[np.bool_] | None,
        carry: Carry,
        threshold: int,
        instances: bool,
    ) -> None:
        self._strip, self._box, self._area = strip, box, area
        self._threshold, self._instances = threshold, instances
        self._decisions: dict[PixelBox, PictureDecision | None] = {}
        self._objects: list[FoundObjects] = []
        for picture in pictures(box, side):
            if picture in carry.decisions:
                self._decisions[picture] = carry.decisions[picture]
            elif area is None or area[picture.slices(strip.outer)].any():
                self._decide(picture)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """``change`` and the other arrays over the strip."""
        box = self._box
        score, valid = np.zeros(box.shape, np.uint8), np.zeros(box.shape, bool)
        labels = np.zeros((2, *box.shape), np.uint8)
        for decision in self._decisions.values():
            if decision is None:
                continue
            core = core_of(decision.picture)
            shared = core & box
            if not shared.empty:
                target, source = shared.slices(box), shared.slices(core)
                valid[target] = decision.valid[source]
                labels[:, *target] = decision.labels[:, *source]
                if decision.masks is None:
                    score[target] = decision.score[source]
            if decision.masks is not None:
                paint(score, box, decision.masks, decision.picture, decision.score)
        stored = np.where(valid, score, UNOBSERVED).astype(np.uint8)
        return {
            "change": change_of(stored, self._threshold),
            "change_score": stored,
            "label_before": labels[0],
            "label_after": labels[1],
        }

    def objects(self, arrays: dict[str, NDArray[Any]]) -> FoundObjects:
        """Objects that the strip's new pictures decided; of segments and pixels, regions of its changed pixels."""
        if self._instances:
            return FoundObjects.concatenate(self._objects)
        area = self._area
        inside = None if area is None else area[self._box.slices(self._strip.outer)]
        return changed_regions(arrays, self._box, inside)

    def registration(self) -> RegistrationSums:
        """How well the dates lie on each other."""
        sums, shift = RegistrationSums(), self._strip.statistics.get(SHIFT)
        bands = self._strip.stages.stretch.index(RGB)
        for cell in self._box.blocks(CELL):
            if cell & self._box != cell:  # a calibration may map less than a cell
                continue
            pair = self._strip.pair(cell, bands)
            if pair.common.any():
                sums.add(cell, pair.pixels.mean(axis=1), pair.common, shift)
        return sums

    def carry(self) -> Carry:
        """For the strip below."""
        below, cells = self._box.row1, self._strip.cells
        return Carry(
            {picture: decision for picture, decision in self._decisions.items() if picture.row1 > below},
            {} if cells is None else {cell: scores for cell, scores in cells.known.items() if cell.row0 >= below},
        )

    def _decide(self, picture: PixelBox) -> None:
        decision, objects = self._strip.decide(picture) or (None, None)
        self._decisions[picture] = decision
        if objects is not None:
            self._objects.append(objects)
