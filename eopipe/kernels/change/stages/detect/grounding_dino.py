"""I-M-C's first two stages: an open-vocabulary detector, and the masks of its boxes.

Source: DynamicEarth (arXiv 2501.12931), I-M-C; limits from its released code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.kernels.change.masks.overlap import box_nms
from eopipe.kernels.change.masks.proposals import DATES, Proposals
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.protocols import ChangeStage, Detector, of_models
from eopipe.models.foundation.inputs import caption_of
from eopipe.models.foundation.memory import work
from eopipe.models.foundation.resolve import resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.stages.pair import BandStretch, DatePair
    from eopipe.kernels.change.stages.settings import DetectorSettings
    from eopipe.kernels.ovss.options import Prompts
    from eopipe.models.foundation.resolve import Resolved

_MOST_BOXES = 900
"""Queries of Grounding DINO; MM-Grounding-DINO keeps 300 at the most."""


@dataclass(frozen=True, kw_only=True)
class GroundedDetector(ChangeStage[Detector]):
    """The boxes of what the prompts name, and their masks.

    Args:
        boxes: A model of boxes.
        masks: A model of masks of boxes.
        names: All phrases of the prompts: one caption, as published.
        settings: Which boxes are objects.
    """

    boxes: Resolved
    masks: Resolved
    names: tuple[str, ...]
    settings: DetectorSettings

    @classmethod
    def resolve(cls, detector: str, masker: str, *, prompts: Prompts, settings: DetectorSettings) -> GroundedDetector:
        """Find and check the files.

        Args:
            detector: A model of boxes, as a spec gives it.
            masker: A model of masks of boxes.
            prompts: What is looked for.
            settings: Which boxes are objects.

        Raises:
            SpecError: A phrase cannot stand in a caption.
            WeightsError: There is no such model, it is of another kind, or its files are not on this machine.
        """
        boxes, masks = resolve(detector, "boxes"), resolve(masker, "box-masks")
        names = tuple(phrase for _, phrases in prompts for phrase in phrases)
        caption_of(names)  # refused before a worker starts
        fields = of_models(identifier=boxes, proposer=masks)
        return cls(boxes=boxes, masks=masks, names=names, settings=settings, **fields)

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Detector:
        """See `ChangeStage.load`."""
        from eopipe.models.foundation.detector import BoxDetector  # noqa: PLC0415  (a worker's, once)
        from eopipe.models.foundation.masks import BoxMaskModel  # noqa: PLC0415

        find_boxes = BoxDetector.load(self.boxes, device=device, threads=threads)
        make_masks = BoxMaskModel.load(self.masks, device=device, threads=threads)

        def detect(pair: DatePair, date: int) -> Proposals:
            """Objects of one date; pixels that one date lacks belong to none."""
            picture = stretch.picture(pair, date)
            boxes, scores = find_boxes(picture, self.names)
            objects = select_boxes(boxes, scores, self.settings)
            if not len(objects):
                return Proposals.of(Masks.empty(pair.shape), DATES[date])
            masks = Masks.from_dense(make_masks(picture, boxes[objects]), pair.shape)
            return Proposals.of(masks, DATES[date], scores[objects]).within(pair.common)

        return detect

    def memory(self, side: int) -> int:
        """Of the net that takes more, and of as many dense masks as there are boxes at the most."""
        nets = max(work(self.boxes, "boxes", side), work(self.masks, "box-masks", side))
        return nets + _MOST_BOXES * side * side


def select_boxes(boxes: NDArray[Any], scores: NDArray[Any], settings: DetectorSettings) -> NDArray[np.int64]:
    """Which boxes are objects.

    Args:
        boxes: ``[N, 4]`` x, y of two corners.
        scores: ``[N]``.
        settings: Limits.

    Returns:
        Their numbers, ascending.
    """
    scores = np.asarray(scores)
    selected = np.flatnonzero(scores >= settings.score)
    if settings.double is not None:
        selected = selected[box_nms(np.asarray(boxes)[selected], scores[selected], settings.double)]
    if settings.most is not None and len(selected) > settings.most:
        best = np.argsort(-scores[selected], kind="stable")[: settings.most]
        selected = selected[np.sort(best)]
    return selected
