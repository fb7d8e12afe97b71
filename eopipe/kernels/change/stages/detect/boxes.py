"""I-M-C's first step, after the net: which boxes of an open-vocabulary detector are objects (spec 03 §2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from eopipe.kernels.change.masks.overlap import box_nms
from eopipe.kernels.change.masks.proposals import DOUBLE

if TYPE_CHECKING:
    from numpy.typing import NDArray


OneSided = Literal["keep", "compare"]


@dataclass(frozen=True, kw_only=True)
class DetectorSettings:
    """How a detector is asked, and what is kept of its answer.

    Attributes:
        weights: The published net.
        separator: What stands between the names in the caption.
        score: A box's score must be as great.
        double: Greatest intersection over union of two boxes, whatever their classes; None: all stay.
        most: Boxes kept, the best ones; None: all.
        masks: Whether it makes its own instance masks; else SAM2 is asked with its boxes.
        one_sided: What happens where one date has no object: ``keep`` takes all of the other date's for changed
            without comparing features, as the detector's scripts do; ``compare`` compares them all the same.
    """

    weights: str
    separator: str
    score: float
    double: float | None = DOUBLE
    most: int | None = None
    masks: bool = False
    one_sided: OneSided = "keep"


MMGD = DetectorSettings(weights="grounding_dino_swin-l_pretrain_all-56d69e78", separator=". ", score=0.1)
"""MM-Grounding-DINO."""
APE = DetectorSettings(
    weights="ape_deta_vitl_eva02_clip_vlf_lsj1024_cp_16x4_1080k",
    separator=",",
    score=0.2,
    double=None,
    most=500,
    masks=True,
    one_sided="compare",
)
GROUNDING_DINO_15 = DetectorSettings(weights="Grounding DINO 1.5, a paid service", separator=". ", score=0.1)
"""In the authors' demonstration alone; the service is asked for scores of 0.2 and doubles of 0.5 before this."""


@dataclass(frozen=True, kw_only=True)
class BoxMaskSettings:
    """How SAM2 is asked for the masks of boxes.

    Attributes:
        weights: The published net.
        masks_per_box: It is asked for one, and for no choice.
        precision: What the authors ran it in.
        clean: Whether its own post-processing (small holes and regions) is on, as its library builds it; M-C-I's
            generator is built without.
    """

    weights: str = "sam2.1_hiera_large"
    masks_per_box: int = 1
    precision: str = "bfloat16"
    clean: bool = True


SAM2_BOXES = BoxMaskSettings()


def caption(names: tuple[str, ...], settings: DetectorSettings) -> str:
    """The names as the detector reads them."""
    return settings.separator.join(names)


def keep_detections(boxes: NDArray[Any], scores: NDArray[Any], settings: DetectorSettings) -> NDArray[np.int64]:
    """Which boxes are objects.

    Args:
        boxes: ``[N, 4]`` x, y of two corners.
        scores: ``[N]``.
        settings: What is asked of a box.

    Returns:
        Their numbers, ascending.
    """
    scores = np.asarray(scores)
    kept = np.flatnonzero(scores >= settings.score)
    if settings.double is not None:
        kept = kept[box_nms(np.asarray(boxes)[kept], scores[kept], settings.double)]
    if settings.most is not None and len(kept) > settings.most:
        best = np.argsort(-scores[kept], kind="stable")[: settings.most]
        kept = kept[np.sort(best)]
    return kept
