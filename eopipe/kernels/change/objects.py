"""Objects of a change run: their columns, and changed pixels that touch gathered to objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.grid import CELL
from eopipe.kernelinfo import ObjectColumn, ObjectSpec
from eopipe.kernels.change.masks.paint import greatest, most_frequent
from eopipe.kernels.change.masks.regions import regions
from eopipe.kernels.objects import FoundObjects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernelinfo import ClassInfo
    from eopipe.kernels.change.masks.runs import Masks

SCORE, BEFORE, AFTER = "score", "class_before", "class_after"


def object_spec(classes: tuple[ClassInfo, ...], *, seams: Literal["touching", "doubles"]) -> ObjectSpec:
    """Columns of the objects of a change run.

    Args:
        classes: Of ``label_before`` and ``label_after``.
        seams: See `ObjectSpec`: regions of pixels touch, objects of two pictures are doubles.
    """
    return ObjectSpec(
        columns=(
            ObjectColumn(SCORE, "uint8", long_name="change_score, hundredths of the threshold, 250 for more"),
            ObjectColumn(BEFORE, "uint8", classes, joined="largest", long_name="what it was"),
            ObjectColumn(AFTER, "uint8", classes, joined="largest", long_name="what it is"),
        ),
        seams=seams,
    )


def change_objects(
    masks: Masks,
    box: PixelBox,
    *,
    seam: NDArray[np.bool_],
    score: NDArray[Any],
    before: NDArray[Any],
    after: NDArray[Any],
) -> FoundObjects:
    """Objects of a picture, moved to their absolute pixels.

    Args:
        masks: N objects, none empty.
        box: The picture on the lattice.
        seam: ``[N]``; see `FoundObjects`.
        score: ``[N]``, 0-250.
        before: ``[N]`` codes of classes; 0 where no class is known.
        after: Likewise.
    """
    return FoundObjects(
        masks.runs.astype(np.int64) + np.array([box.row0, box.col0, box.col0]),
        masks.offsets,
        seam,
        {name: np.asarray(values, np.uint8) for name, values in ((SCORE, score), (BEFORE, before), (AFTER, after))},
    )


def changed_regions(
    arrays: Mapping[str, NDArray[Any]], box: PixelBox, area: NDArray[np.bool_] | None = None
) -> FoundObjects:
    """Changed pixels that touch, cell by cell: each group is an object, or the part of one within its cell.

    Args:
        arrays: ``change``, ``change_score``, ``label_before`` and ``label_after`` over the box.
        box: Whole cells of the lattice, or less than one.
        area: ``[y, x]`` over the box: pixels inside the area of interest; None: all.

    Returns:
        Regions in the order of their first pixels: the greatest score of each, and its most frequent labels.
    """
    change = arrays["change"] == 1 if area is None else (arrays["change"] == 1) & area
    groups = []
    for cell in box.blocks(CELL):
        rows, cols = cell.slices(box)
        masks = regions(change[rows, cols].astype(np.uint8))
        top, left, bottom, right = masks.boxes.T
        height, width = masks.shape
        groups.append(
            change_objects(
                masks,
                cell,
                seam=(top == 0) | (left == 0) | (bottom == height) | (right == width),
                score=greatest(masks, arrays["change_score"][rows, cols]),
                before=most_frequent(masks, arrays["label_before"][rows, cols]),
                after=most_frequent(masks, arrays["label_after"][rows, cols]),
            )
        )
    return FoundObjects.concatenate(groups)
