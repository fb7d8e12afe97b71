"""What a kernel is: pixels in, maps out.

A kernel knows nothing of STAC, files or Dask. The engine reads pixels on the absolute lattice, with the kernel's
halo, and hands it one *strip* at a time, a tile's strips from top to bottom. Equal pixels at an equal absolute
position must give equal bytes, whatever the strip; so a kernel computes fixed groups of windows, always of the same
shape and with the same companions.

A kernel may offer more than :class:`Kernel`: :class:`Settling`, :class:`Measuring`, :class:`MeasuresPrecision`,
:class:`Rethresholding`, and :class:`eopipe.kernels.known_words.KnowsWords`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernelinfo import KernelInfo
    from eopipe.kernels.objects import FoundObjects
    from eopipe.kernels.statistics import Field, Numbers, StageInfo, Sums


class FeatureSource(Protocol):
    """Window features that an earlier run stored."""

    def get(self, row: int, col: int) -> NDArray[np.float32] | None:
        """``[token, channel]`` of the window at ``(row, col) * window.stride`` of the kernel's lattice.

        Returns:
            None where the window had no valid pixel.

        Raises:
            TileFault: The window has valid pixels, and its features are missing.
        """


@dataclass(frozen=True)
class StripContext:
    """What a kernel receives beside a strip's pixels.

    Args:
        statistics: The kernel's statistics stages by name, as numbers over the strip and its halo; empty where it
            declares none.
        carry: What the same kernel left in ``Result.carry`` for the strip right above, of the same tile; None for
            a tile's first strip, and below a strip without a valid pixel. It saves work and changes no byte.
        features: Stored window features, to be scored instead of encoding; None where windows are encoded.
        inside: ``[y, x]`` over the strip's pixels with their halo: those inside the area of interest. A window
            without one need not be computed; None: all are.
    """

    statistics: Mapping[str, Field] = field(default_factory=dict)
    carry: Any = None
    features: FeatureSource | None = None
    inside: NDArray[np.bool_] | None = None


ALONE = StripContext()
"""A strip by itself: nothing carried, nothing stored."""


@dataclass(frozen=True)
class Result:
    """What a kernel returns for a strip.

    Args:
        arrays: ``[y, x]`` (or ``[plane, y, x]``) of the strip's shape.
        objects: Objects that no other strip of the tile hands over; only where ``KernelInfo.objects`` is set. Objects
            that lie partly, or wholly, outside the strip belong to it too: the engine keeps those whose first pixel
            in row order that the area holds is the tile's, and drops the others. Each pixel of an object is valid in
            every epoch, else the tile that it belongs to may never be mapped; no two objects are equal.
        carry: Whatever the strip below can use; stays in this process.
        windows: Features ``[token, channel]`` of the windows that were encoded for this strip, by their index
            ``(row, col)`` on the lattice of the stride; only where ``KernelInfo.features`` is set. Windows of
            the halo belong to them too: the engine keeps those that are the tile's own, and drops the others.
        figures: How well it went, such as how far two dates still lie apart: name to a total and its weight, which
            add over strips; their quotient stands in the tile's record, and nothing depends on it.
    """

    arrays: Mapping[str, NDArray[Any]]
    objects: FoundObjects | None = None
    carry: Any = None
    windows: Mapping[tuple[int, int], NDArray[np.float32]] = field(default_factory=dict)
    figures: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class Kernel(Protocol):
    """A loaded or loadable kernel; made by :func:`eopipe.kernels.registry.create`."""

    @property
    def info(self) -> KernelInfo:
        """What it is; known without loading weights into memory."""

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:
        """Warnings about these inputs, one line each (a processing level, a resolution it was not made for).

        Raises:
            PlanError: The kernel cannot run on them at all.
        """

    def load(self, *, device: str, threads: int) -> None:
        """Load weights once a worker; a second call with the same arguments does nothing."""

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes used while a strip of this shape is computed, beyond its pixels and results."""

    def __call__(
        self,
        pixels: NDArray[np.float32],
        valid: NDArray[np.bool_],
        box: PixelBox,
        context: StripContext = ALONE,
    ) -> Result:
        """Map one strip.

        Args:
            pixels: ``[epoch, band, y, x]`` float32 over ``box.pad(window.halo)``; 0 where invalid.
                Reflectance x 10000, or decibels of SAR (``Inputs.modality``).
            valid: ``[epoch, y, x]`` over the same pixels. Of several epochs, what one lacks is no data in every
                array: the engine sees to it.
            box: The strip itself, on the kernel's absolute lattice (the grid's, divided by ``factor``);
                corners at multiples of ``factor``, and of ``window.stride`` where windows lie side by side. Where
                they overlap the box may lie anywhere: the kernel computes its lattice's windows that touch it.
            context: What was carried down, stored or measured for this strip.

        Returns:
            Arrays of ``box.shape`` divided by ``factor``.
        """


@runtime_checkable
class Settling(Protocol):
    """A kernel with options that depend on the scenes of the search (a stretch for each sensor)."""

    def settle(self, sensors: Sequence[str]) -> Mapping[str, Any]:
        """Options to be frozen in place of ``auto``.

        Args:
            sensors: Names of the sensors (:class:`eopipe.cube.sensors.Sensor`) of the search's scenes,
                sorted; ``unknown`` stands for scenes that no table knows. Empty where the search has no scene.

        Returns:
            Option to value; only those that change, none where there is nothing to settle.

        Raises:
            PlanError: The sensors need different values: one line that asks to state the value.
        """


class StatisticsStage(Protocol):
    """One stage of a kernel's statistics (:mod:`eopipe.kernels.statistics`).

    It sees the finished stages before it, interpolated at its own cell.
    """

    @property
    def info(self) -> StageInfo:
        """What it reads."""

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

    def numbers(self, sums: Sums) -> Numbers:
        """Turn merged sums into numbers, finite ones; sums are of at least one measured cell, weighted.

        Raises:
            TileFault: They allow no number; the tiles that need it fail with ``statistics.<reason>``.
        """

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes that :meth:`measure` takes for a cell of this shape, beyond its pixels."""


@runtime_checkable
class Measuring(Protocol):
    """A kernel that must know something of a wider area before its first tile (:mod:`eopipe.kernels.statistics`)."""

    def stages(self) -> tuple[StatisticsStage, ...]:
        """In order: each sees the finished ones before it. The engine runs them; names are distinct.

        Called before :meth:`Kernel.load` too, for ``info`` and ``memory``; measuring comes after it.
        """


@runtime_checkable
class Rethresholding(Kernel, Protocol):
    """A kernel whose maps follow, pixel by pixel, from a score that it stores: another threshold needs no pixels.

    What :meth:`recompute` makes of stored arrays must equal, byte for byte, what the kernel itself would make with
    that threshold; so a kernel that decides on objects as a whole cannot be one.
    """

    def with_threshold(self, threshold: int) -> Rethresholding:
        """The same kernel with another threshold, which its arrays' names state; not loaded.

        Args:
            threshold: In the units of the stored score.

        Raises:
            SpecError: It is out of range, or with these options the maps do not follow from the score: one line.
        """

    def recompute(self, arrays: Mapping[str, NDArray[Any]], box: PixelBox) -> Result:
        """All arrays of a box from those that an earlier run stored; :meth:`Kernel.load` is not needed.

        Args:
            arrays: The kernel's own by name, ``[y, x]`` (or ``[plane, y, x]``), no-data where no epoch is valid and
                outside the area; not to be written to.
            box: Their position on the grid.

        Returns:
            The same arrays as this threshold makes them, and their objects where ``KernelInfo.objects`` is set.
        """


@runtime_checkable
class MeasuresPrecision(Protocol):
    """A kernel that knows better than a matrix product how fast its precision is."""

    def precision_ratio(self) -> float:
        """Seconds of its precision over seconds of float32, on this machine; called once it is loaded."""
