"""What a kernel must know of a wider area before any tile: stages, their sums, and numbers in space (DESIGN §5).

A stage measures sampled cells of a block. What it returns is a set of **sums**: arrays that have a meaning when they
are added, and when they are added with weights (moments, histograms over fixed edges, a small cross-correlation
surface). So blocks merge by addition, and a block that the area hardly touches weighs little. Only where they
are used do sums become **numbers**: a mean, a shift, a threshold. Numbers stand at the corners of the lattice's cells
and are interpolated between them (:class:`Field`), which makes them a function of the absolute pixel alone: no
tile and no block leaves a seam.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eopipe.grid import PixelBox
    from eopipe.kernels.protocol import StripContext

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


class Stage(Protocol):
    """One stage of a kernel's statistics. It sees the finished stages before it, interpolated at its own cell."""

    @property
    def info(self) -> StageInfo:
        """What it reads."""
        ...

    def measure(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, context: StripContext
    ) -> Sums:
        """Measure one cell.

        Args:
            pixels: ``[epoch, band, y, x]`` float32 over ``box.pad(halo)``, as a kernel gets them; the stage's bands.
            valid: ``[epoch, y, x]`` over the same pixels; within the box each epoch has a valid one.
            box: The cell on the kernel's lattice: 512 pixels of the grid a side.
            context: ``statistics`` holds the stages before this one.

        Returns:
            Always the same names and shapes, finite.
        """
        ...

    def numbers(self, sums: Sums) -> Numbers:
        """Turn merged sums into numbers, finite ones; sums are of at least one measured cell, weighted.

        Raises:
            TileFault: They allow no number; the tiles that need it fail with ``statistics.<reason>``.
        """
        ...

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes that :meth:`measure` takes for a cell of this shape, beyond its pixels."""
        ...


def merged(parts: Iterable[tuple[float, Sums]]) -> dict[str, NDArray[np.float64]]:
    """Sums added with their weights, in the order given: floating-point addition depends on it.

    Raises:
        ValueError: They differ in names or shapes; a bug of the stage.
    """
    total: dict[str, NDArray[np.float64]] = {}
    for number, (weight, sums) in enumerate(parts):
        found = {name: np.asarray(sums[name], np.float64) for name in sorted(sums)}
        if number and {name: array.shape for name, array in found.items()} != {
            name: array.shape for name, array in total.items()
        }:
            raise ValueError(f"sums {sorted(found)} do not add to {sorted(total)}: names or shapes differ")
        for name, array in found.items():
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

        Element by element, from four corners and two fractions: equal for a pixel whatever box it is asked in.

        Raises:
            ValueError: The box reaches beyond what the field covers.
        """
        if box & self.box != box:
            raise ValueError(f"{box} is not within {self.box}, which these statistics cover")
        corners = self.corners[name]
        row, down = self._places(box.row0, box.row1, self.box.row0)
        col, right = self._places(box.col0, box.col1, self.box.col0)
        extra = (1,) * (corners.ndim - 2)
        down, right = down.reshape(-1, 1, *extra), right.reshape(1, -1, *extra)
        lines = corners[row] * (1 - down) + corners[row + 1] * down
        found = lines[:, col] * (1 - right) + lines[:, col + 1] * right
        return np.moveaxis(found, (0, 1), (-2, -1))

    def middle(self, name: str, box: PixelBox) -> NDArray[np.float64]:
        """``[...]``: a number at the middle of a cell, where one is wanted for all of it: the mean of its corners.

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

    def _places(self, start: int, end: int, origin: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Cell of each pixel of a row or column, and where in the cell its centre lies, 0 to 1."""
        cell, within = np.divmod(np.arange(start, end) - origin, self.step)
        return cell, (2 * within + 1) / (2 * self.step)
