"""M-C-I and I-M-C: the paper's two orders of its stages (DynamicEarth, spec 03 §1 and §2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.cut import AT
from eopipe.kernels.change.masks.proposals import Proposals, joined
from eopipe.kernels.change.score import judged
from eopipe.kernels.change.stages.detect.matching import COUNTERPART, regions, unmatched
from eopipe.kernels.change.stages.identify.rules import (
    AFTER,
    BEFORE,
    Rule,
    class_means,
    classes_of,
    keep,
    pixel_classes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.runs import Masks
    from eopipe.kernels.change.stages.detect.boxes import OneSided
    from eopipe.kernels.change.stages.protocols import Compared, Comparer, Detector, Identifier, Pair, Proposer

UNKNOWN = -1
"""The class of an object of I-M-C on the date when it was not there."""


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects that were looked at, and those that changed.

    Args:
        proposals: N objects.
        score: ``[N]``: the comparer's; nan where it was not asked.
        before: ``[N]``: class on the first date, 0 background, `UNKNOWN` where nobody says.
        after: Likewise on the second.
        kept: ``[N]``: whether it changed.
        hundredths: uint8 ``[N]``: the same as a map holds it, 100 or more for what was kept; see `scoring.judged`.
    """

    proposals: Proposals
    score: NDArray[np.float64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    kept: NDArray[np.bool_]
    hundredths: NDArray[np.uint8]

    def change(self) -> NDArray[np.bool_]:
        """The map, ``[H, W]``: pixels of any object that changed; no filter and no least area, as published."""
        return self.proposals.masks.take(self.kept).union()


@dataclass(frozen=True, eq=False)
class Pixels:
    """The same where each pixel was judged by itself: all ``[H, W]``."""

    score: NDArray[np.float64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    kept: NDArray[np.bool_]
    hundredths: NDArray[np.uint8]

    def change(self) -> NDArray[np.bool_]:
        """The map."""
        return self.kept


def mask_compare_identify(
    pair: Pair, proposer: Proposer, comparer: Comparer, identifier: Identifier, *, rule: Rule = "instance"
) -> Objects | Pixels:
    """M-C-I: objects, which of them look different, and what they are.

    Args:
        pair: The two dates.
        proposer: First stage.
        comparer: Second.
        identifier: Third.
        rule: What makes a change of a change of class; see `identifier.keep`.

    Returns:
        Objects, or pixels where the proposer has none. Pixels that one date lacks are never kept.
    """
    proposals = proposer(pair)
    probabilities = identifier(pair, 0), identifier(pair, 1)
    if proposals is None:
        return judge_pixels(comparer.pixels(pair), *probabilities, valid=pair.seen, rule=rule)
    return judge_objects(proposals, comparer.objects(pair, proposals.masks), *probabilities, rule=rule)


def judge_objects(
    proposals: Proposals,
    comparison: Compared,
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    *,
    rule: Rule = "instance",
) -> Objects:
    """Identify objects and apply the rule.

    Args:
        proposals: N objects.
        comparison: Of these.
        before: Class probabilities ``[K, h, w]`` of the first date.
        after: Of the second.
        rule: See `identifier.keep`.
    """
    first, second = (classes_of(class_means(proposals.masks, each)) for each in (before, after))
    eligible = keep(first, second, proposals.origin, rule=rule)
    kept = comparison.changed & eligible
    return Objects(proposals, comparison.score, first, second, kept, judged(comparison, kept, eligible))


def judge_pixels(
    comparison: Compared,
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    *,
    valid: NDArray[np.bool_],
    rule: Rule = "instance",
) -> Pixels:
    """Identify pixels; each was seen on both dates, so ``instance`` and ``stuff`` say the same: its class differs.

    Args:
        comparison: Of the pixels, ``[H, W]``.
        before: Class probabilities ``[K, h, w]`` of the first date.
        after: Of the second.
        valid: ``[H, W]``; where false nothing is kept.
        rule: See `identifier.keep`.
    """
    first, second = (pixel_classes(each, valid.shape) for each in (before, after))
    eligible = valid & keep(first, second, np.array(BEFORE | AFTER), rule=rule)
    kept = comparison.changed & eligible
    return Pixels(comparison.score, first, second, kept, judged(comparison, kept, eligible))


def identify_mask_compare(
    pair: Pair, detector: Detector, comparer: Comparer, *, one_sided: OneSided, counterpart: float = COUNTERPART
) -> Objects:
    """I-M-C: the objects asked for on each date, those without a counterpart, and which of them look different.

    Args:
        pair: The two dates.
        detector: First two stages.
        comparer: Third.
        one_sided: What happens where one date has no object; see `compare_instances`.
        counterpart: See `instances.unmatched`.
    """
    found = detector(pair, 0), detector(pair, 1)
    return compare_instances(
        *found, lambda masks: comparer.objects(pair, masks), one_sided=one_sided, counterpart=counterpart
    )


def compare_instances(
    before: Proposals,
    after: Proposals,
    compare: Callable[[Masks], Compared],
    *,
    one_sided: OneSided,
    counterpart: float = COUNTERPART,
) -> Objects:
    """The same from objects.

    Args:
        before: Objects of the first date; all are of the classes asked for.
        after: Of the second.
        compare: The comparer; it is asked about objects without a counterpart only, and not if there is none.
        one_sided: What happens where exactly one date has no object: ``keep`` takes the other date's for changed,
            without the comparer, as the scripts with MM-Grounding-DINO do; ``compare`` asks it, as those with APE.
        counterpart: See `instances.unmatched`.

    Returns:
        All objects, the first date's first. An object's class is 1 on the date when it was seen and `UNKNOWN` on the
        other.
    """
    objects = joined([before, after])
    origin = np.repeat(np.array([BEFORE, AFTER], np.uint8), [len(before), len(after)])
    objects = Proposals(objects.masks, objects.scores, origin, objects.boxes)
    kept = unmatched(before.masks, after.masks, limit=counterpart)
    score, hundredths = np.full(len(objects), np.nan), np.where(kept, AT, 0).astype(np.uint8)
    alone = one_sided == "keep" and (len(before) == 0) != (len(after) == 0)
    if kept.any() and not alone:
        asked = np.flatnonzero(kept)
        comparison = compare(objects.masks.take(asked))
        score[asked] = comparison.score
        kept[asked] = comparison.changed
        hundredths[asked] = judged(comparison, comparison.changed, np.ones(len(asked), bool))
    seen = [np.where(objects.origin == date, 1, UNKNOWN) for date in (BEFORE, AFTER)]
    return Objects(objects, score, seen[0], seen[1], kept, hundredths)


def from_class_maps(
    before: NDArray[np.integer], after: NDArray[np.integer], asked: set[int] | frozenset[int]
) -> tuple[Proposals, Proposals]:
    """Objects of two maps of classes, for I-M-C with an identifier that maps classes: regions that touch.

    Args:
        before: Class codes ``[H, W]`` of the first date.
        after: Of the second.
        asked: The codes that somebody asked for; several are one kind of object, as background is the other.

    Returns:
        Objects of each date, of score 1.
    """
    codes = np.array(sorted(asked))
    dates = zip((before, after), (BEFORE, AFTER), strict=True)
    first, second = (
        Proposals.of(regions(np.isin(classes, codes).astype(np.uint8))[0], date) for classes, date in dates
    )
    return first, second
