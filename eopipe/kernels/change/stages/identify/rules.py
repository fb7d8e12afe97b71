"""The class of an object or a pixel on each date, and whether both make it a change.

Source: DynamicEarth (arXiv 2501.12931), M-C-I, identifier; the rules from its released code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eopipe.errors import SpecError
from eopipe.kernels.change.masks.proposals import AFTER, BEFORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.runs import Masks

Rule = Literal["instance", "stuff", "likely"]
"""When a change counts. ``instance``: the class differs, and on the date of the mask it is no background. ``stuff``:
the class differs. ``likely`` (not of the paper): no class need differ, for the comparer's score is already weighed by
how likely the object is what the prompts name; a building site's most likely class is the same before and after."""


def class_means(masks: Masks, probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Mean class probabilities over each mask, on the probabilities' own grid.

    A mask is brought to that grid as the nearest-neighbour resize does: cell ``i`` shows pixel row
    ``floor(i * H / h)``. So a run of pixels is a rectangle of cells, and its sum comes from an integral image.

    Args:
        masks: N masks ``[H, W]``.
        probabilities: ``[K, h, w]`` of the whole picture, in another size as a rule.

    Returns:
        ``[N, K]``; nan for a mask that vanishes on that grid.
    """
    classes, *cells = probabilities.shape
    whole = np.zeros((classes, cells[0] + 1, cells[1] + 1))
    np.cumsum(np.cumsum(probabilities, axis=1, dtype=np.float64), axis=2, out=whole[:, 1:, 1:])
    row, start, stop = masks.runs.astype(np.int64).T
    height, width = masks.shape
    top, bottom = (_first_cell(edge, cells[0], height) for edge in (row, row + 1))
    left, right = (_first_cell(edge, cells[1], width) for edge in (start, stop))
    counts = masks.total((bottom - top) * (right - left))[:, None]
    sums = np.empty((len(masks), classes))
    for number, table in enumerate(whole):
        boxes = table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
        sums[:, number] = masks.total(boxes)
    return np.asarray(np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0))


def classes_of(means: NDArray[np.float64]) -> NDArray[np.int64]:
    """The class of each mask, ``[N]``: the first of the best; 0, background, for a mask that vanished."""
    return np.asarray(np.argmax(np.where(np.isnan(means), -np.inf, means), axis=1).astype(np.int64))


def eligible(
    before: NDArray[np.integer[Any]], after: NDArray[np.integer[Any]], origin: NDArray[np.integer[Any]], *, rule: Rule
) -> NDArray[np.bool_]:
    """Which objects are changes by their classes.

    Args:
        before: Class on the first date, 0 background; of any shape.
        after: On the second.
        origin: The dates on which each was observed: `BEFORE`, `AFTER` or both.
        rule: ``instance``: the class differs, and on the object's date it is no background (of both dates: on either,
            which any difference means). ``stuff``: the class differs. ``likely``: all.

    Raises:
        SpecError: There is no such rule.
    """
    differs: NDArray[np.bool_] = before != after
    if rule == "stuff":
        return differs
    if rule == "likely":
        return np.ones(differs.shape, bool)
    if rule != "instance":
        raise SpecError(f"kernel.rule: there is no rule {rule!r}; it is instance, stuff or likely")
    foreground = ((origin & BEFORE) > 0) & (before != 0) | ((origin & AFTER) > 0) & (after != 0)
    return np.asarray(differs & foreground)


def pixel_classes(probabilities: NDArray[Any], shape: tuple[int, int]) -> NDArray[np.int64]:
    """The class of each pixel, where pixels are judged one by one.

    Args:
        probabilities: ``[K, h, w]``.
        shape: Rows and columns of the picture.

    Returns:
        ``[H, W]``: the nearest cell's best class, the first of equals.
    """
    rows, columns = (
        np.arange(side) * cells // side for side, cells in zip(shape, probabilities.shape[1:], strict=True)
    )
    best = np.argmax(probabilities, axis=0)
    return np.asarray(best[np.ix_(rows, columns)].astype(np.int64))


def _first_cell(edge: NDArray[np.int64], cells: int, pixels: int) -> NDArray[np.int64]:
    """The first cell ``i`` with ``floor(i * pixels / cells) >= edge``."""
    return np.asarray(-(-edge * cells // pixels))
