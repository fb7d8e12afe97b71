"""One place on two dates, and the 8-bit pictures of it that nets of photographs see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

RGB = ("red", "green", "blue")

UNOBSERVED_COLOUR = (124, 116, 104)
"""What a picture shows where there is no observation: ImageNet's mean colour, in which nets see no object."""


@dataclass(frozen=True, eq=False)
class DatePair:
    """What every stage receives: one place on two dates.

    Args:
        pixels: float32 ``[2, band, y, x]``, as a kernel receives them; 0 where invalid.
        valid: ``[2, y, x]``.
    """

    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or len(self.pixels) != 2 or self.valid.shape != (2, *self.shape):
            raise ValueError(
                f"a pair is pixels [2, band, y, x] and valid [2, y, x], "
                f"not {self.pixels.shape} and {self.valid.shape}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.pixels.shape[-2]), int(self.pixels.shape[-1])

    @property
    def common(self) -> NDArray[np.bool_]:
        """Pixels that are valid on both dates, ``[y, x]``."""
        return np.asarray(self.valid[0] & self.valid[1])


@dataclass(frozen=True)
class BandStretch:
    """The bands of a pair, and which of its values are black and white.

    Args:
        bands: Canonical names, in the pair's order.
        black: In the pair's units.
        white: Above it. One fixed pair of values a sensor, never one a scene: neighbouring pictures must agree.
    """

    bands: tuple[str, ...]
    black: float
    white: float

    def index(self, names: Sequence[str]) -> list[int]:
        """The rows of some bands in the pair."""
        return [self.bands.index(name) for name in names]

    def picture(self, pair: DatePair, date: int) -> NDArray[np.uint8]:
        """What a net sees of date 0 or 1.

        Returns:
            uint8 ``[H, W, 3]``, red first; `UNOBSERVED_COLOUR` where that date has no valid pixel.
        """
        shades = self.stretched(pair.pixels[date][self.index(RGB)])
        colours = np.rint(shades * np.float32(255)).astype(np.uint8).transpose(1, 2, 0)
        return np.where(pair.valid[date][..., None], colours, np.array(UNOBSERVED_COLOUR, np.uint8))

    def stretched(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Black to white as 0 to 1, float32 of the same shape; values beyond are clipped."""
        scale = np.float32(1 / (self.white - self.black))
        return np.asarray(np.clip((values - np.float32(self.black)) * scale, 0, 1, dtype=np.float32))
