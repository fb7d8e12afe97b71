"""A strip's arrays and objects from the pictures that touch it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.grid import CELL
from eopipe.kernels.change.cut import AT, NOT_SEEN, changed
from eopipe.kernels.change.dynamicearth.lattice import core_of, pictures
from eopipe.kernels.change.masks.paint import paint
from eopipe.kernels.change.objects import changed_regions
from eopipe.kernels.change.registration.residual import Misplaced
from eopipe.kernels.change.spectral.cell import SHIFT
from eopipe.kernels.change.stages.rgb import RGB
from eopipe.kernels.objects import FoundObjects

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.dynamicearth.cell_cache import CellScores
    from eopipe.kernels.change.dynamicearth.picture import Decided, Looker


@dataclass(frozen=True, eq=False)
class Carry:
    """What the strip below needs: pictures that touch it too, and cells that its own pictures will ask for."""

    decided: dict[PixelBox, Decided | None] = field(default_factory=dict)
    cells: dict[PixelBox, CellScores] = field(default_factory=dict)


class StripMap:
    """See the module.

    Args:
        looker: The strip's pixels and stages.
        box: The strip.
        side: Of a picture.
        wanted: ``[y, x]`` over the strip with its halo: what somebody will see; None: all.
        carry: From the strip above.
        at: ``change_score`` from which on a pixel changed.
        instances: Whether objects are told as they were found; else changed pixels that touch are one.
    """

    def __init__(
        self,
        looker: Looker,
        box: PixelBox,
        *,
        side: int,
        wanted: NDArray[np.bool_] | None,
        carry: Carry,
        at: int = AT,
        instances: bool = True,
    ) -> None:
        self._looker, self._box, self._wanted, self._at = looker, box, wanted, at
        self._instances = instances
        self._decided: dict[PixelBox, Decided | None] = {}
        self._objects: list[FoundObjects] = []
        for picture in pictures(box, side):
            if picture in carry.decided:
                self._decided[picture] = carry.decided[picture]
            else:
                self._look(picture)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """``change`` and the rest over the strip."""
        box = self._box
        score, seen = np.zeros(box.shape, np.uint8), np.zeros(box.shape, bool)
        labels = np.zeros((2, *box.shape), np.uint8)
        for found in self._there():
            shared = core_of(found.picture) & box
            if not shared.empty:
                inner = shared.slices(core_of(found.picture))
                seen[shared.slices(box)] = found.seen[inner]
                labels[:, *shared.slices(box)] = found.labels[:, *inner]
                if found.masks is None:
                    score[shared.slices(box)] = found.score[inner]
            if found.masks is not None:
                paint(score, box, found.masks, found.picture, found.score)
        shown = np.where(seen, score, NOT_SEEN).astype(np.uint8)
        return {
            "change": changed(shown, self._at),
            "change_score": shown,
            "label_before": labels[0],
            "label_after": labels[1],
        }

    def objects(self, arrays: dict[str, NDArray[Any]]) -> FoundObjects:
        """Those that the strip's new pictures decided; of segments and pixels, what its cells' changed ones make."""
        if not self._instances:
            return FoundObjects.concatenate(
                [
                    changed_regions(
                        {name: array[cell.slices(self._box)] for name, array in arrays.items()},
                        cell,
                        None if self._wanted is None else self._wanted[cell.slices(self._looker.outer)],
                    )
                    for cell in self._box.blocks(CELL)
                ]
            )
        return FoundObjects.concatenate(self._objects)

    def figures(self) -> Misplaced:
        """How far the dates lie apart."""
        found, shift = Misplaced(), self._looker.statistics.get(SHIFT)
        bands = list(self._looker.detection.sight.places(RGB))
        for cell in self._box.blocks(CELL):
            if cell & self._box != cell:  # a calibration may map less than a cell
                continue
            pair = self._looker.pair(cell, bands)
            if pair.seen.any():
                found.add(cell, pair.pixels.mean(axis=1), pair.seen, shift)
        return found

    def carry(self) -> Carry:
        """What to hand down."""
        below, cells = self._box.row1, self._looker.cells
        return Carry(
            {picture: found for picture, found in self._decided.items() if picture.row1 > below},
            {} if cells is None else {cell: found for cell, found in cells.known.items() if cell.row0 >= below},
        )

    def _there(self) -> Iterable[Decided]:
        return (found for found in self._decided.values() if found is not None)

    def _look(self, picture: PixelBox) -> None:
        if self._wanted is not None and not self._wanted[picture.slices(self._looker.outer)].any():
            return
        found = self._looker.look(picture)
        self._decided[picture] = None if found is None else found[0]
        if found is not None and found[1] is not None:
            self._objects.append(found[1])
