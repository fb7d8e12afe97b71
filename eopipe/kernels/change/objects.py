"""What a change run tells of its objects: columns, and pixels gathered to objects where nobody proposed any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.grid import CELL
from eopipe.kernel_info import ObjectColumn, ObjectSpec
from eopipe.kernels.change.cut import changed
from eopipe.kernels.change.stages.detect.matching import regions
from eopipe.kernels.objects import FoundObjects
from eopipe.kernels.protocol import Result

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernel_info import ClassInfo
    from eopipe.kernels.change.masks.runs import Masks

SCORE, BEFORE, AFTER = "score", "class_before", "class_after"


def object_spec(classes: tuple[ClassInfo, ...], *, seams: Literal["touching", "doubles"]) -> ObjectSpec:
    """Columns of the objects of a change run.

    Args:
        classes: Of ``label_before`` and ``label_after``.
        seams: See `ObjectSpec`: pixels' regions touch, objects of two pictures are doubles.
    """
    return ObjectSpec(
        columns=(
            ObjectColumn(SCORE, "uint8", long_name="change_score, hundredths of the threshold, 250 for more"),
            ObjectColumn(BEFORE, "uint8", classes, joined="largest", long_name="what it was"),
            ObjectColumn(AFTER, "uint8", classes, joined="largest", long_name="what it is"),
        ),
        seams=seams,
    )


def found_objects(
    masks: Masks,
    at: PixelBox,
    *,
    seam: NDArray[np.bool_],
    score: NDArray[Any],
    before: NDArray[Any],
    after: NDArray[Any],
) -> FoundObjects:
    """Objects of a picture at their absolute places.

    Args:
        masks: N objects, none empty.
        at: The picture.
        seam: ``[N]``; see `FoundObjects`.
        score: ``[N]``, 0-250.
        before: ``[N]`` codes; 0 where nobody says.
        after: Likewise.
    """
    return FoundObjects(
        masks.runs.astype(np.int64) + np.array([at.row0, at.col0, at.col0]),
        masks.offsets,
        seam,
        {name: np.asarray(values, np.uint8) for name, values in ((SCORE, score), (BEFORE, before), (AFTER, after))},
    )


def changed_regions(
    arrays: Mapping[str, NDArray[Any]], cell: PixelBox, inside: NDArray[np.bool_] | None = None
) -> FoundObjects:
    """Changed pixels of a cell, gathered: those that touch are an object, or a part of one that goes on beyond.

    Args:
        arrays: ``change``, ``change_score``, ``label_before`` and ``label_after`` over the cell.
        cell: A box of the lattice that is always asked for as a whole, whatever the tile.
        inside: ``[y, x]``: what the area holds of it; None: all.

    Returns:
        Regions in the order of their first pixels: the greatest score of each, and its most frequent labels.
    """
    changed = arrays["change"] == 1 if inside is None else (arrays["change"] == 1) & inside
    masks, _ = regions(changed.astype(np.uint8))
    rows, cols = changed.shape
    top, left, bottom, right = masks.boxes.T
    return found_objects(
        masks,
        cell,
        seam=(top == 0) | (left == 0) | (bottom == rows) | (right == cols),
        score=_greatest(masks, arrays["change_score"]),
        before=most_frequent(masks, arrays["label_before"]),
        after=most_frequent(masks, arrays["label_after"]),
    )


def cut_again(arrays: Mapping[str, NDArray[Any]], box: PixelBox, at: int) -> Result:
    """A map of pixels cut elsewhere: ``change`` from ``change_score`` as it was stored, and the regions that makes.

    Args:
        arrays: All of a box, as they were stored: what lies outside the area holds no score.
        box: Whole cells.
        at: ``change_score`` from which on a pixel changed.
    """
    found = {**arrays, "change": changed(arrays["change_score"], at)}
    cells = [
        changed_regions({name: array[..., *cell.slices(box)] for name, array in found.items()}, cell)
        for cell in box.blocks(CELL)
    ]
    return Result(found, FoundObjects.concatenate(cells))


def most_frequent(masks: Masks, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The most frequent label under each mask, ``[N]``: the lowest of equals; 0 counts only where there is no other.

    Args:
        masks: N masks, none empty.
        labels: uint8 ``[H, W]``.
    """
    found = np.zeros(len(masks), np.uint8)
    for number in range(len(masks)):
        counts = np.bincount(_under(masks, number, labels))
        counts[0] = 0
        found[number] = counts.argmax()
    return found


def _greatest(masks: Masks, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.array([_under(masks, number, values).max() for number in range(len(masks))], np.uint8)


def _under(masks: Masks, number: int, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    top, left, bottom, right = masks.boxes[number].tolist()
    return values[top:bottom, left:right][masks.crop(number)]
