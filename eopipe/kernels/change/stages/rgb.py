"""How a pair's pixels become the pictures that nets of photographs see: 8 bits of red, green and blue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.kernels.change.stages.protocols import Pair

RGB = ("red", "green", "blue")

NOTHING = (124, 116, 104)
"""What a picture shows where nothing was observed: ImageNet's mean colour, which nets take for no thing at all."""


@dataclass(frozen=True)
class Sight:
    """The bands of a pair, and which of its values are black and white.

    Args:
        bands: Canonical names, in the pair's order.
        black: In the pair's units.
        white: Above it. One fixed pair of values a sensor, never one a scene: neighbouring pictures must agree.
    """

    bands: tuple[str, ...]
    black: float
    white: float

    def places(self, names: Sequence[str]) -> tuple[int, ...]:
        """Where some bands are in the pair."""
        return tuple(self.bands.index(name) for name in names)

    def picture(self, pair: Pair, date: int) -> NDArray[np.uint8]:
        """What a net sees of date 0 or 1.

        Returns:
            uint8 ``[H, W, 3]``, red first; `NOTHING` where that date has no valid pixel.
        """
        shown = self.stretched(pair.pixels[date][list(self.places(RGB))])
        colours = np.rint(shown * np.float32(255)).astype(np.uint8).transpose(1, 2, 0)
        return np.where(pair.valid[date][..., None], colours, np.array(NOTHING, np.uint8))

    def stretched(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Black to white as 0 to 1, float32 of the same shape; what lies beyond is cut off."""
        scale = np.float32(1 / (self.white - self.black))
        found: NDArray[np.float32] = np.clip((values - np.float32(self.black)) * scale, 0, 1, dtype=np.float32)
        return found
