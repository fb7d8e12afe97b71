"""The output arrays of one strip, ``label`` and ``confidence``, decided from class scores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eopipe.kernelinfo import ArraySpec
from eopipe.kernels.ovss.class_scores import decide

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from eopipe.grid import PixelBox
    from eopipe.kernelinfo import ClassInfo


def score_arrays(classes: tuple[ClassInfo, ...]) -> tuple[ArraySpec, ...]:
    """``label`` and ``confidence``, with this class table."""
    label = ArraySpec("label", "uint8", 255, 0, classes, losers=(0, 255), long_name="class, by the prompts")
    confidence = ArraySpec(
        "confidence", "uint8", 255, 0, losers=(0, 255), long_name="score of the best class, percent (0-100)"
    )
    return (label, confidence)


class StripArrays:
    """Turns class scores into codes, whole rows or window by window.

    Where the kernel's pixels are finer than the grid's, class scores are averaged over the valid pixels of a grid
    pixel, in lattice order, and the classes are decided from the means.

    Args:
        box: The strip, on the kernel's lattice.
        valid: ``[y, x]`` over the strip.
        factor: Kernel pixels along a grid pixel.
        classes: How many there are.
        threshold: A pixel whose best score is below it is background.
        background: That class, from 0; None where there is none.
    """

    def __init__(
        self,
        box: PixelBox,
        valid: NDArray[np.bool_],
        *,
        factor: int,
        classes: int,
        threshold: float,
        background: int | None,
    ) -> None:
        self._box, self._valid, self._factor = box, valid, factor
        self._threshold, self._background = threshold, background
        shape = (box.shape[0] // factor, box.shape[1] // factor)
        self._label, self._confidence = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
        self._sums = np.zeros((*shape, classes), np.float32) if factor > 1 else None

    def put_rows(self, rows: slice, scores: Tensor) -> None:
        """Decide whole rows of the strip from their scores ``[y, x, K]``, or add them to the means."""
        valid = self._valid[rows]
        if self._sums is None:
            self._write(scores, valid, rows, slice(None))
            return
        height, width, classes = scores.shape
        weighted = scores.numpy() * valid[..., None]
        wide = weighted.reshape(height, width // self._factor, self._factor, classes).sum(axis=2, dtype=np.float32)
        np.add.at(self._sums, np.arange(rows.start, rows.stop) // self._factor, wide)  # row by row, in order

    def put_window(self, window: PixelBox, scores: Tensor) -> None:
        """Decide a window from its scores ``[y, x, K]``, or add them to the means."""
        rows, cols = window.slices(self._box)
        valid = self._valid[rows, cols]
        if self._sums is None:
            self._write(scores, valid, rows, cols)
            return
        (down, rows), (right, cols) = (_grid_pixels(side, self._factor) for side in (rows, cols))
        sums = np.add.reduceat(scores.numpy() * valid[..., None], down, axis=0)
        self._sums[rows, cols] += np.add.reduceat(sums, right, axis=1)  # in window order, whatever the strip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays, once every score is there."""
        if self._sums is not None:
            rows, cols = self._label.shape
            weight = self._valid.reshape(rows, self._factor, cols, self._factor).sum(axis=(1, 3), dtype=np.int32)
            means = self._sums / np.maximum(weight, 1).astype(np.float32)[..., None]
            self._write(torch.from_numpy(means), weight > 0, slice(None), slice(None))
        return {"label": self._label, "confidence": self._confidence}

    def _write(self, scores: Tensor, valid: NDArray[np.bool_], rows: slice, cols: slice) -> None:
        label, best = decide(scores, threshold=self._threshold, background=self._background)
        np.multiply(label.numpy() + 1, valid, out=self._label[rows, cols], casting="unsafe")
        np.multiply(np.rint(best.numpy() * 100), valid, out=self._confidence[rows, cols], casting="unsafe")


def _grid_pixels(side: slice, factor: int) -> tuple[NDArray[np.intp], slice]:
    """Where each grid pixel begins within a window's rows or columns, and which grid pixels those are.

    A window's edge may cut a grid pixel (512 is no multiple of 3): the rest of it comes with the next window.
    """
    first, last = side.start // factor, -(-side.stop // factor)
    return np.maximum(np.arange(first, last) * factor - side.start, 0), slice(first, last)
