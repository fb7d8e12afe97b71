"""I-M-C's first two stages by name: an open-vocabulary detector, and the masks of its boxes (spec 03 §2)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.dynamicearth.combinations import REGIONS
from eopipe.kernels.change.masks.proposals import Proposals
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.detect.boxes import MMGD, DetectorSettings, keep_detections
from eopipe.kernels.change.stages.detect.matching import regions
from eopipe.kernels.change.stages.identify.rules import AFTER, BEFORE, pixel_classes
from eopipe.kernels.change.stages.rgb import RGB
from eopipe.kernels.change.stages.unloaded import Part
from eopipe.models.foundation.inputs import caption_of
from eopipe.models.foundation.memory import work
from eopipe.models.foundation.resolve import resolve

if TYPE_CHECKING:
    from eopipe.kernels.change.stages.protocols import Detector, Identifier, Pair
    from eopipe.kernels.change.stages.rgb import Sight
    from eopipe.kernels.ovss.options import Prompts
    from eopipe.models.foundation.detector import BoxDetector
    from eopipe.models.foundation.masks import BoxMaskModel
    from eopipe.models.foundation.resolve import Resolved


def detector_part(
    detector: str, masker: str, prompts: Prompts, settings: DetectorSettings | None = None
) -> Part[Detector]:
    """A detector with a maker of masks, by the names that a spec gives them.

    Args:
        detector: A model of boxes.
        masker: A model of masks of boxes.
        prompts: What is asked for; all phrases stand in one caption, as published.
        settings: How it is asked; None: as MM-Grounding-DINO.

    Raises:
        WeightsError: There is no such model, one of them is of another kind, or its files are not here.
    """
    boxes, masks = resolve(detector, "boxes"), resolve(masker, "box-masks")
    names = tuple(phrase for _, phrases in prompts for phrase in phrases)
    caption_of(names)  # refused before a worker starts
    return Part(
        RGB, partial(_load, boxes, masks, names, settings or MMGD), partial(_memory, boxes, masks),
        {**boxes.weights, **masks.weights}, {"identifier": boxes.provenance, "proposer": masks.provenance},
        (*boxes.notes, *masks.notes),
        (*(("identifier",) if boxes.places else ()), *(("proposer",) if masks.places else ())),
    )  # fmt: skip


def region_part(identifier: Part[Identifier]) -> Part[Detector]:
    """A detector that needs no boxes: the regions of what an identifier's map calls by one of the prompts."""
    return Part(
        identifier.bands, partial(_load_regions, identifier), identifier.memory, identifier.weights,
        {"proposer": REGIONS, **identifier.provenance}, identifier.notes, identifier.places, identifier.words,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class RegionDetector:
    """Pixels of what was asked for that touch, by sides or corners; several prompts are one kind of thing."""

    identifier: Identifier

    def __call__(self, pair: Pair, date: int) -> Proposals:
        """Objects of date 0 or 1, of score 1; pixels that one date lacks belong to none."""
        there = (pixel_classes(self.identifier(pair, date), pair.shape) > 0) & pair.seen
        masks, _ = regions(there.astype(np.uint8))
        return Proposals.of(masks, (BEFORE, AFTER)[date])


def _load_regions(identifier: Part[Identifier], sight: Sight, *, device: str, threads: int) -> RegionDetector:
    return RegionDetector(identifier.load(sight, device=device, threads=threads))


@dataclass(frozen=True, eq=False)
class GroundedDetector:
    """The boxes of what was asked for, and their masks."""

    detector: BoxDetector
    masker: BoxMaskModel
    names: tuple[str, ...]
    settings: DetectorSettings
    sight: Sight

    def __call__(self, pair: Pair, date: int) -> Proposals:
        """Objects of date 0 or 1; pixels that one date lacks belong to none."""
        picture, origin = self.sight.picture(pair, date), (BEFORE, AFTER)[date]
        boxes, scores = self.detector(picture, self.names)
        kept = keep_detections(boxes, scores, self.settings)
        if not len(kept):
            return Proposals.of(Masks.empty(pair.shape), origin)
        masks = Masks.from_dense(self.masker(picture, boxes[kept]), pair.shape)
        return Proposals.of(masks, origin, scores[kept]).within(pair.seen)


def _load(
    boxes: Resolved, masks: Resolved, names: tuple[str, ...], settings: DetectorSettings, sight: Sight,
    *, device: str, threads: int,
) -> GroundedDetector:  # fmt: skip
    from eopipe.models.foundation.detector import BoxDetector  # noqa: PLC0415  (a worker's, once)
    from eopipe.models.foundation.masks import BoxMaskModel  # noqa: PLC0415

    return GroundedDetector(
        BoxDetector.load(boxes, device=device, threads=threads),
        BoxMaskModel.load(masks, device=device, threads=threads), names, settings, sight,
    )  # fmt: skip


def _memory(boxes: Resolved, masks: Resolved, side: int) -> int:
    """Of the greedier of the two, and of as many dense masks as there are boxes at the most."""
    return max(work(boxes, "boxes", side), work(masks, "box-masks", side)) + _BOXES * side * side


_BOXES = 900
"""Queries of Grounding DINO; MM-Grounding-DINO keeps 300 at the most."""
