"""What a kernel measures of a wider area before any tile: stages' sums, and numbers in space.

A stage (:class:`eopipe.kernels.protocol.StatisticsStage`) measures sampled cells of a block. It returns **sums**:
arrays that may be added, also with weights (moments, histograms over fixed edges, a small cross-correlation surface).
So blocks merge by addition, and a block that the area hardly touches weighs little. Only where they are used do sums
become **numbers**: a mean, a shift, a threshold. Numbers stand at the corners of the lattice's cells and are
interpolated between them (:class:`Field`), which makes them a function of the absolute pixel alone: no tile and no
block leaves a seam. See docs/ARCHITECTURE.md, "Statistics of a wider area".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eopipe.grid import PixelBox

Sums = Mapping[str, NDArray[np.float64]]
"""Named float64 arrays of any shape (a single number has none) that add."""

Numbers = Mapping[str, NDArray[np.float64] | float]
"""What sums are turned into: named numbers, or small arrays of one shape everywhere."""

_NAME = re.compile(r"^[a-z][a-z0-9-]{0,39}$")


@dataclass(frozen=True)
class StageInfo:
    """What a stage reads; known without loading the kernel, and part of the recipe.

    Args:
        name: Lower-case letters, digits and ``-``: the name of its folder.
        bands: Canonical bands, in the order it wants; the kernel's own or some of them.
        halo: Pixels of the kernel's lattice that it sees around a cell.
    """

    name: str
    bands: tuple[str, ...]
    halo: int = 0

    def __post_init__(self) -> None:
        if not _NAME.match(self.name) or not self.bands or self.halo < 0:
            raise ValueError(f"{self!r} is no stage: give a plain lower-case name, bands, and a halo of 0 or more")


def merged(weighted: Iterable[tuple[float, Sums]]) -> dict[str, NDArray[np.float64]]:
    """Sums added with their weights, in the order given: floating-point addition depends on it.

    Raises:
        ValueError: They differ in names or shapes; a bug of the stage.
    """
    total: dict[str, NDArray[np.float64]] = {}
    for number, (weight, sums) in enumerate(weighted):
        arrays = {name: np.asarray(sums[name], np.float64) for name in sorted(sums)}
        if number and {name: array.shape for name, array in arrays.items()} != {
            name: array.shape for name, array in total.items()
        }:
            raise ValueError(f"sums {sorted(arrays)} do not add to {sorted(total)}: names or shapes differ")
        for name, array in arrays.items():
            total[name] = np.asarray(weight * array + total[name] if number else weight * array)
    return total


@dataclass(frozen=True)
class Field:
    """A stage's numbers around a box: at the corners of cells, and between them.

    Args:
        box: Pixels of the kernel's lattice that it covers: whole cells.
        step: Side of a cell in those pixels.
        corners: Name to ``[row, col, ...]``: the numbers at each corner of a cell, the box's edges included.
    """

    box: PixelBox
    step: int
    corners: Mapping[str, NDArray[np.float64]]

    @classmethod
    def constant(cls, numbers: Numbers, box: PixelBox, step: int) -> Field:
        """The same numbers everywhere: for a timing, and for tests of a kernel by itself."""
        whole = box.snap(step)
        rows, cols = (side // step + 1 for side in whole.shape)
        arrays = {name: np.asarray(value, np.float64) for name, value in numbers.items()}
        return cls(whole, step, {name: np.broadcast_to(a, (rows, cols, *a.shape)) for name, a in arrays.items()})

    def at(self, name: str, box: PixelBox) -> NDArray[np.float64]:
        """``[..., y, x]``: a number at every pixel's centre, bilinear between the corners of the pixel's cell.

        Element by element, from four corners and two fractions: equal for a pixel whatever the box.

        Raises:
            ValueError: The box reaches beyond what the field covers.
        """
        if box & self.box != box:
            raise ValueError(f"{box} is not within {self.box}, which these statistics cover")
        corners = self.corners[name]
        row, down = self._cells_of(box.row0, box.row1, self.box.row0)
        col, right = self._cells_of(box.col0, box.col1, self.box.col0)
        extra = (1,) * (corners.ndim - 2)
        down, right = down.reshape(-1, 1, *extra), right.reshape(1, -1, *extra)
        lines = corners[row] * (1 - down) + corners[row + 1] * down
        values = lines[:, col] * (1 - right) + lines[:, col + 1] * right
        return np.moveaxis(values, (0, 1), (-2, -1))

    def middle(self, name: str, box: PixelBox) -> NDArray[np.float64]:
        """``[...]``: a number at the middle of a cell: the mean of its corners.

        Args:
            name: Which number.
            box: A cell of the lattice.

        Raises:
            ValueError: The box is no cell, or is not covered.
        """
        if box & self.box != box or box != box.snap(self.step) or box.shape != (self.step, self.step):
            raise ValueError(f"{box} is no cell of {self.step} pixels within {self.box}")
        row, col = (box.row0 - self.box.row0) // self.step, (box.col0 - self.box.col0) // self.step
        corners = self.corners[name]
        upper, lower = corners[row, col] + corners[row, col + 1], corners[row + 1, col] + corners[row + 1, col + 1]
        return np.asarray((upper + lower) / 4)

    def _cells_of(self, start: int, end: int, origin: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Cell of each pixel of a row or column, and the position of the pixel's centre in its cell, 0 to 1."""
        cell, within = np.divmod(np.arange(start, end) - origin, self.step)
        return cell, (2 * within + 1) / (2 * self.step)
