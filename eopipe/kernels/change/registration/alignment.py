"""Both dates on the first one's pixels: the shift as a statistics stage, the move, and the residual for records."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from eopipe.kernels.change.registration.phase_correlation import LIMIT, find_peak, shift_of, surface
from eopipe.kernels.change.registration.shift import REACH, move
from eopipe.kernels.statistics import StageInfo
from eopipe.models.registry import NINE_BANDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.protocol import StripContext
    from eopipe.kernels.statistics import Field, Numbers, Sums

Value = TypeVar("Value", bound=np.generic)

SHIFT = "shift"
"""Name of the statistics stage."""

VISIBLE = 3
"""Blue, green and red are the first three of the nine bands."""

MOVE_MARGIN = int(LIMIT) + REACH
"""Pixels that moving a box needs around it."""


class ShiftStage:
    """How far the second date lies beside the first: phase correlation of the visible mean."""

    info = StageInfo(SHIFT, NINE_BANDS[:VISIBLE])

    def measure(
        self,
        pixels: NDArray[np.float32],
        valid: NDArray[np.bool_],
        box: PixelBox,  # noqa: ARG002  (a stage's arguments)
        context: StripContext,  # noqa: ARG002
    ) -> Sums:
        """A cell's surface."""
        before, after = pixels.mean(axis=1)
        return {"surface": surface(before, after, valid[0] & valid[1])}

    def numbers(self, sums: Sums) -> Numbers:
        """``down`` and ``right``, pixels."""
        return shift_of(sums["surface"])

    def memory(self, shape: tuple[int, int]) -> int:
        """Spectra in double precision, and the pictures that they are made of."""
        return 120 * shape[0] * shape[1]


class RegistrationSums:
    """How well the dates of a strip's cells lie on each other: sums weighted by the pixels valid on both, in pixels.

    ``shift_down`` and ``shift_right``: what the second date was moved by. ``residual``: the distance that phase
    correlation still measures in a cell by itself after that; cells without a peak are left out.
    """

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}

    def add(
        self, cell: PixelBox, visible: NDArray[np.float32], valid: NDArray[np.bool_], shift: Field | None
    ) -> None:
        """Add a cell.

        Args:
            cell: Of the lattice.
            visible: ``[2, y, x]``: both dates' brightness over it, registered.
            valid: ``[y, x]``: on both dates.
            shift: What the second date was moved by; None: nothing.
        """
        weight = float(valid.sum())
        if shift is not None:
            for name in ("down", "right"):
                self._add(f"shift_{name}", float(shift.middle(name, cell)), weight)
        before, after = visible
        residual = find_peak(surface(before, after, valid))
        if residual is not None:
            self._add("residual", math.hypot(*residual), weight)

    def _add(self, name: str, value: float, weight: float) -> None:
        total, weights = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (total + value * weight, weights + weight)


def inner(array: NDArray[Value], margin: int) -> NDArray[Value]:
    """``[..., y, x]`` less a margin on each side."""
    return array[..., margin : array.shape[-2] - margin, margin : array.shape[-1] - margin]


def registered(
    pixels: NDArray[np.float32], valid: NDArray[np.bool_], box: PixelBox, shift: Field | None
) -> tuple[tuple[NDArray[np.float32], NDArray[np.float32]], tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Both dates on the first one's pixels.

    Args:
        pixels: ``[2, band, y, x]`` over ``box.pad(MOVE_MARGIN)``.
        valid: ``[2, y, x]``, likewise.
        box: Any.
        shift: The stage `SHIFT`; None: the dates stay as they are.

    Returns:
        ``[band, y, x]`` of each date over the box, and its validity ``[y, x]``.
    """
    first, first_valid = inner(pixels[0], MOVE_MARGIN), inner(valid[0], MOVE_MARGIN)
    if shift is None:
        return (first, inner(pixels[1], MOVE_MARGIN)), (first_valid, inner(valid[1], MOVE_MARGIN))
    second, second_valid = move(pixels[1], valid[1], shift.at("down", box), shift.at("right", box), MOVE_MARGIN)
    return (first, second), (first_valid, second_valid)
