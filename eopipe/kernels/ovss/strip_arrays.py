"""The output arrays of one strip, filled from the top as sums of windows become complete."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eopipe.kernels.ovss.class_scores import class_scores, decide
from eopipe.kernels.ovss.strip_windows import OVERLAP, STRIDE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from eopipe.grid import PixelBox
    from eopipe.kernel_info import KernelInfo
    from eopipe.kernels.ovss.class_scores import RowSums
    from eopipe.kernels.ovss.options import Options


class Canvas:
    """Turns complete sums into codes.

    Where the kernel's pixels are finer than the grid's, class scores are averaged over what was seen of a grid
    pixel, row by row in lattice order, and the classes are decided from the means (DESIGN §3).

    Args:
        options: The kernel's.
        info: The kernel's.
        box: The strip, on the kernel's lattice.
        seen: ``[y, x]`` over the strip: where a pixel is valid.
    """

    def __init__(self, options: Options, info: KernelInfo, box: PixelBox, seen: NDArray[np.bool_]) -> None:
        self._options, self._box, self._seen, self._factor = options, box, seen, info.factor
        self._query_class = options.vocabulary.query_class
        rows, cols = (side // info.factor for side in box.shape)
        self._label = np.zeros((rows, cols), np.uint8)
        self._confidence = np.zeros((rows, cols), np.uint8)
        if info.factor > 1:
            self._means = np.zeros((rows, cols, len(options.prompts)), np.float32)

    def finish(self, sums: RowSums, row: int) -> RowSums:
        """Take the rows above ``row`` as complete, and move on.

        Args:
            sums: Begin at the first row that is not yet finished.
            row: On the kernel's lattice.

        Returns:
            The sums from ``row`` on.
        """
        upper, lower = sums.box.row0, min(row, self._box.row1)
        if lower <= upper:
            return sums
        reached = min(lower, sums.box.row1)  # below lies nothing valid: the windows there were left out
        for top in range(upper, reached, STRIDE):  # as many rows at once as a row of windows completes
            rows = slice(top - upper, min(top + STRIDE, reached) - upper)
            logits = torch.from_numpy(sums.values[rows]) / OVERLAP
            scores = class_scores(logits, self._query_class, self._options.scale)
            place = slice(rows.start + upper - self._box.row0, rows.stop + upper - self._box.row0)
            if self._factor == 1:
                self._write(place, scores, self._seen[place])
            else:
                self._add(place.start, scores.numpy())
        return sums.moved(lower)

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The strip's arrays, once every row is finished."""
        if self._factor > 1:
            rows, cols = self._label.shape
            blocks = (rows, self._factor, cols, self._factor)
            weight = self._seen.reshape(blocks).sum(axis=(1, 3), dtype=np.int32)
            means = self._means / np.maximum(weight, 1).astype(np.float32)[..., None]
            self._write(slice(0, rows), torch.from_numpy(means), weight > 0)
        return {"label": self._label, "confidence": self._confidence}

    def _add(self, start: int, scores: NDArray[np.float32]) -> None:
        """Add some rows' scores to the grid rows that they lie in."""
        rows, cols, classes = scores.shape
        scores = scores * self._seen[start : start + rows, :, None]
        wide = scores.reshape(rows, cols // self._factor, self._factor, classes).sum(axis=2, dtype=np.float32)
        np.add.at(self._means, np.arange(start, start + rows) // self._factor, wide)  # row by row, in order

    def _write(self, rows: slice, scores: Tensor, seen: NDArray[np.bool_]) -> None:
        options = self._options
        label, best = decide(scores, threshold=options.threshold, background=options.background_class)
        np.multiply(label.numpy() + 1, seen, out=self._label[rows], casting="unsafe")
        np.multiply(np.rint(best.numpy() * 100), seen, out=self._confidence[rows], casting="unsafe")
