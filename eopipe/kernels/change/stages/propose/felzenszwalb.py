"""Proposers that need no weights: pixels by themselves, and segments of equal colour."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.errors import PlanError
from eopipe.kernels.change.masks.proposals import Proposals
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.identify.rules import AFTER, BEFORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.stages.protocols import Pair


@dataclass(frozen=True)
class PixelProposer:
    """No objects: each pixel is judged by itself."""

    def __call__(self, pair: Pair) -> None:
        """None, whatever the pair."""


@dataclass(frozen=True, kw_only=True)
class FelzenszwalbSettings:
    """How finely pictures are parted.

    Attributes:
        scale: Larger makes larger segments; of colours in 0-1, times 255.
        sigma: Pixels of the Gauss filter before.
        smallest: Pixels that a segment must have.
    """

    scale: float = 30.0
    sigma: float = 0.8
    smallest: int = 10


@dataclass(frozen=True)
class FelzenszwalbProposer:
    """Segments of both dates at once, by Felzenszwalb and Huttenlocher's graph (IJCV 2004), in scikit-image.

    The bands of both dates are stacked, so that a segment is one on both: what changed is parted from what stayed
    beside it. Such a segment was seen on both dates (origin 3). A place's segments depend on the whole picture that
    it is computed with, so a map is made of pictures that lie on one lattice.

    Args:
        bands: Which of the pair's, as a rule red, green, blue.
        stretch: Values of black and white, in the pair's units (reflectance x 10000, as a rule).
        settings: How finely.
    """

    bands: tuple[int, ...]
    stretch: tuple[float, float]
    settings: FelzenszwalbSettings = FelzenszwalbSettings()

    def __call__(self, pair: Pair) -> Proposals:
        """Segments, in the order of their first pixels; pixels that one date lacks belong to none.

        Raises:
            PlanError: scikit-image is not installed.
        """
        low, high = self.stretch
        bands = pair.pixels[:, self.bands].reshape(-1, *pair.shape)
        stacked = np.clip((bands - low) / (high - low), 0, 1).transpose(1, 2, 0)
        labels = segment(np.ascontiguousarray(stacked), self.settings) + 1
        masks = Masks.from_labels(np.where(pair.seen, labels, 0))
        return Proposals.of(masks, BEFORE | AFTER)


def segment(picture: NDArray[Any], settings: FelzenszwalbSettings) -> NDArray[np.int64]:
    """Felzenszwalb's segments.

    Args:
        picture: ``[y, x, band]``, 0-1.
        settings: How finely.

    Returns:
        ``[y, x]``, numbers from 0.

    Raises:
        PlanError: scikit-image is not installed.
    """
    try:
        from skimage.segmentation import felzenszwalb  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise PlanError(
            f"the proposer felzenszwalb needs scikit-image ({error}); pip install 'eopipe[change]', or use pixels"
        ) from None
    with warnings.catch_warnings():
        # it asks whether more bands than three are meant
        warnings.filterwarnings("ignore", "Got image with third dimension", RuntimeWarning)
        labels: NDArray[np.int64] = felzenszwalb(
            picture, scale=settings.scale, sigma=settings.sigma, min_size=settings.smallest, channel_axis=-1
        )
    return labels
