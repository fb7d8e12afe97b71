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
from eopipe.kernels.protocol import Result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.change.dynamicearth.cell_cache import CellScores
    from eopipe.kernels.change.dynamicearth.combinations import Instantiation
    from eopipe.kernels.change.dynamicearth.picture import PictureDecision, StripPictures


@dataclass(frozen=True, eq=False)
class Carry:
    """What the strip below needs: pictures that touch it too, and cells that its own pictures will need."""

    decisions: dict[PixelBox, PictureDecision | None] = field(default_factory=dict)
    cells: dict[PixelBox, CellScores] = field(default_factory=dict)


def map_strip(
    strip: StripPictures,
    box: PixelBox,
    *,
    combination: Instantiation,
    area: NDArray[np.bool_] | None,
    carry: Carry,
    threshold: int,
) -> Result:
    """Map one strip; see the module.

    Args:
        strip: Its pixels and stages.
        box: The strip.
        combination: Of the stages.
        area: ``[y, x]`` over the strip with its halo: pixels inside the area of interest; None: all.
        carry: From the strip above.
        threshold: ``change_score`` from which on a pixel changed.
    """
    decisions: dict[PixelBox, PictureDecision | None] = {}
    objects: list[FoundObjects] = []
    for picture in pictures(box, combination.window):
        if picture in carry.decisions:
            decisions[picture] = carry.decisions[picture]
        elif area is None or area[picture.slices(strip.outer)].any():
            decisions[picture], decided = strip.decide(picture) or (None, None)
            if decided is not None:
                objects.append(decided)
    arrays = _arrays(decisions.values(), box, threshold)
    if combination.instances:  # those that the new pictures decided
        strip_objects = FoundObjects.concatenate(objects)
    else:
        strip_objects = changed_regions(arrays, box, None if area is None else area[box.slices(strip.outer)])
    cells = {} if strip.cells is None else strip.cells.known
    below = Carry(
        {picture: decision for picture, decision in decisions.items() if picture.row1 > box.row1},
        {cell: scores for cell, scores in cells.items() if cell.row0 >= box.row1},
    )
    return Result(arrays, strip_objects, below, figures=_registration(strip, box).sums)


def _arrays(decisions: Iterable[PictureDecision | None], box: PixelBox, threshold: int) -> dict[str, NDArray[Any]]:
    score, valid = np.zeros(box.shape, np.uint8), np.zeros(box.shape, bool)
    labels = np.zeros((2, *box.shape), np.uint8)
    for decision in decisions:
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
    change = change_of(stored, threshold)
    return {"change": change, "change_score": stored, "label_before": labels[0], "label_after": labels[1]}


def _registration(strip: StripPictures, box: PixelBox) -> RegistrationSums:
    sums, shift = RegistrationSums(), strip.statistics.get(SHIFT)
    bands = strip.stages.stretch.index(RGB)
    for cell in box.blocks(CELL):
        if cell & box != cell:  # a calibration may map less than a cell
            continue
        pair = strip.pair(cell, bands)
        if pair.common.any():
            sums.add(cell, pair.pixels.mean(axis=1), pair.common, shift)
    return sums
