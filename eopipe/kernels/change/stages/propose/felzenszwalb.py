"""Proposers that need no weights: pixels by themselves, and segments of equal colour."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from eopipe.errors import PlanError
from eopipe.kernels.change.masks.proposals import BOTH, Proposals
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.pair import RGB
from eopipe.kernels.change.stages.protocols import ChangeStage, Proposer
from eopipe.kernels.change.stages.settings import FELZENSZWALB, PIXELS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.kernels.change.stages.pair import BandStretch, DatePair


@dataclass(frozen=True, kw_only=True)
class PixelProposer(ChangeStage[Proposer]):
    """No objects: each pixel is judged by itself."""

    provenance: Mapping[str, Any] = field(default_factory=lambda: {"proposer": PIXELS})

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Proposer:  # noqa: ARG002  (a stage's)
        """See `ChangeStage.load`."""
        return lambda pair: None  # noqa: ARG005  (whatever the pair)


@dataclass(frozen=True, kw_only=True)
class FelzenszwalbProposer(ChangeStage[Proposer]):
    """Segments of both dates at once, by Felzenszwalb and Huttenlocher's graph (IJCV 2004), in scikit-image.

    The bands of both dates are stacked, so that a segment is the same on both: what changed is separated from what
    stayed beside it. Such a segment was observed on both dates. The segments of a place depend on the whole picture,
    so a map is made of pictures that lie on one lattice.

    Args:
        scale: Larger makes larger segments; of colours in 0-1, times 255.
        sigma: Pixels of the Gauss filter before.
        smallest: Pixels that a segment must have.
    """

    PIXEL_BYTES: ClassVar[int] = 700
    """Of scikit-image's graph: four edges a pixel, with their costs, ends and order."""

    bands: tuple[str, ...] = RGB
    provenance: Mapping[str, Any] = field(default_factory=lambda: {"proposer": FELZENSZWALB})
    scale: float = 30.0
    sigma: float = 0.8
    smallest: int = 10

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Proposer:  # noqa: ARG002  (a stage's)
        """See `ChangeStage.load`."""

        def propose(pair: DatePair) -> Proposals:
            """Segments, in the order of their first pixels; pixels that one date lacks belong to none."""
            bands = pair.pixels[:, stretch.index(RGB)].reshape(-1, *pair.shape)
            stacked = np.clip((bands - stretch.black) / (stretch.white - stretch.black), 0, 1).transpose(1, 2, 0)
            labels = self._segment(np.ascontiguousarray(stacked)) + 1
            return Proposals.of(Masks.from_labels(np.where(pair.common, labels, 0)), BOTH)

        return propose

    def _segment(self, picture: NDArray[Any]) -> NDArray[np.int64]:
        """Numbers ``[y, x]`` from 0 of the segments of ``[y, x, band]``, 0-1.

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
            # scikit-image warns of more bands than three
            warnings.filterwarnings("ignore", "Got image with third dimension", RuntimeWarning)
            settings = {"scale": self.scale, "sigma": self.sigma, "min_size": self.smallest}
            return np.asarray(felzenszwalb(picture, channel_axis=-1, **settings))
