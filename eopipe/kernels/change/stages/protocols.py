"""The stages of change detection as parts that can be exchanged, named as the paper names them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from eopipe.kernels.change.stages.compare.latent import Comparison, compare_objects, compare_pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.proposals import Proposals
    from eopipe.kernels.change.masks.runs import Masks


@dataclass(frozen=True, eq=False)
class Pair:
    """What every stage sees: one place on two dates.

    Args:
        pixels: float32 ``[2, band, y, x]``, as a kernel is given them; 0 where invalid.
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
    def seen(self) -> NDArray[np.bool_]:
        """Pixels that are valid on both dates, ``[y, x]``."""
        found: NDArray[np.bool_] = self.valid[0] & self.valid[1]
        return found


class Proposer(Protocol):
    """Finds objects, whatever their class."""

    def __call__(self, pair: Pair) -> Proposals | None:
        """Objects of both dates; None: there are no objects, each pixel is judged by itself."""
        ...


class Compared(Protocol):
    """What a comparer says of objects ``[N]`` or pixels ``[H, W]``; nan where there was nothing to compare."""

    @property
    def score(self) -> NDArray[np.float64]:
        """The comparer's own number; more is more change."""
        ...

    @property
    def ratio(self) -> NDArray[np.float64]:
        """How far each is on the way to a change: 1 is the least that counts."""
        ...

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Which of them look different; nan does not."""
        ...


class Comparer(Protocol):
    """Says which objects, or pixels, look different."""

    def objects(self, pair: Pair, masks: Masks) -> Compared:
        """Of N objects."""
        ...

    def pixels(self, pair: Pair) -> Compared:
        """Of each pixel."""
        ...


class Identifier(Protocol):
    """Says what is where on one date."""

    def __call__(self, pair: Pair, date: int) -> NDArray[Any]:
        """Class probabilities ``[K, h, w]`` of date 0 or 1, on a grid of its own; class 0 is background."""
        ...


class Detector(Protocol):
    """I-M-C's identifier with its masks: finds the objects of the classes asked for, on one date."""

    def __call__(self, pair: Pair, date: int) -> Proposals:
        """Objects of date 0 or 1."""
        ...


class Encoder(Protocol):
    """Turns a picture into features."""

    def __call__(self, pair: Pair, date: int) -> NDArray[np.float32]:
        """``[C, h, w]`` of date 0 or 1, not normalised; the corner cells' middles lie on the corner pixels."""
        ...


@dataclass(frozen=True)
class LatentComparer:
    """The paper's comparer, with any encoder: the angle between features.

    Args:
        encoder: DINO, DINOv2, or any other.
        beta: Degrees; a larger one keeps more. None: Otsu's threshold over this pair's pixels.
    """

    encoder: Encoder
    beta: float | None

    def objects(self, pair: Pair, masks: Masks) -> Comparison:
        """By the objects' mean features."""
        return compare_objects(self.encoder(pair, 0), self.encoder(pair, 1), masks, beta=self.beta, seen=pair.seen)

    def pixels(self, pair: Pair) -> Comparison:
        """By each pixel's features."""
        return compare_pixels(
            self.encoder(pair, 0), self.encoder(pair, 1), pair.shape, beta=self.beta, seen=pair.seen
        )
