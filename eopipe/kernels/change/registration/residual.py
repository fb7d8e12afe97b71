"""How far the dates lay apart, and still do: what a tile's record tells of their registration."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from eopipe.kernels.change.registration.phase_correlation import find, surface

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernels.statistics import Field


class Misplaced:
    """Sums over cells, weighted by the pixels that both dates show, all in pixels.

    ``shift_down`` and ``shift_right``: what the second date was moved by. ``residual``: the distance that phase
    correlation still finds in a cell by itself after that; cells with nothing to hold on to are left out.
    """

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, float]] = {}

    def add(self, cell: PixelBox, visible: NDArray[np.float32], seen: NDArray[np.bool_], shift: Field | None) -> None:
        """Add a cell.

        Args:
            cell: Of the lattice.
            visible: ``[2, y, x]``: both dates' brightness over it, registered.
            seen: ``[y, x]``: in both.
            shift: What the second date was moved by; None: nothing.
        """
        weight = float(seen.sum())
        if shift is not None:
            for name in ("down", "right"):
                self._add(f"shift_{name}", float(shift.middle(name, cell)), weight)
        before, after = visible
        left = find(surface(before, after, seen))
        if left is not None:
            self._add("residual", math.hypot(*left), weight)

    def _add(self, name: str, value: float, weight: float) -> None:
        total, known = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (total + value * weight, known + weight)
