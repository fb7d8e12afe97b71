"""M-C-I and I-M-C: the two orders of the stages of DynamicEarth (arXiv 2501.12931)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.masks.overlap import without_counterpart
from eopipe.kernels.change.masks.proposals import AFTER, BEFORE, BOTH, Proposals
from eopipe.kernels.change.score import THRESHOLD, decided_score
from eopipe.kernels.change.stages.identify.rules import Rule, class_means, classes_of, eligible, pixel_classes

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from eopipe.kernels.change.masks.runs import Masks
    from eopipe.kernels.change.stages.pair import DatePair
    from eopipe.kernels.change.stages.protocols import Comparer, Comparison, Detector, Identifier, Proposer
    from eopipe.kernels.change.stages.settings import OneSided

UNKNOWN = -1
"""The class of an object of I-M-C on the date on which it was not detected."""


@dataclass(frozen=True, eq=False)
class Changes:
    """Objects ``[N]``, or pixels ``[H, W]`` that were judged by themselves, and which of them changed.

    Args:
        proposals: N objects; None: pixels.
        score: The comparer's; nan where it did not compare.
        before: Class on the first date, 0 background, `UNKNOWN` where there is none.
        after: Likewise on the second.
        changed: The decision.
        hundredths: uint8: the decision as a map stores it, 100 or more for a change.
    """

    proposals: Proposals | None
    score: NDArray[np.float64]
    before: NDArray[np.int64]
    after: NDArray[np.int64]
    changed: NDArray[np.bool_]
    hundredths: NDArray[np.uint8]

    def mask(self) -> NDArray[np.bool_]:
        """Pixels that changed, or of any object that did, ``[H, W]``; no filter and no least area, as published."""
        return self.changed if self.proposals is None else self.proposals.masks.take(self.changed).union()


def mask_compare_identify(
    pair: DatePair, proposer: Proposer, comparer: Comparer, identifier: Identifier, *, rule: Rule = "instance"
) -> Changes:
    """M-C-I: objects, which of them look different, and what they are.

    Args:
        pair: The two dates.
        proposer: First stage.
        comparer: Second.
        identifier: Third.
        rule: What makes a change of a change of class; see `eligible`. A pixel is on both dates, so ``instance`` and
            ``stuff`` say the same of it: its class differs.

    Returns:
        Objects, or pixels where the proposer has none. Pixels that one date lacks have never changed.
    """
    proposals = proposer(pair)
    probabilities = identifier(pair, 0), identifier(pair, 1)
    if proposals is not None:
        return judge_objects(proposals, comparer(pair, proposals.masks), *probabilities, rule=rule)
    first, second = (pixel_classes(date, pair.shape) for date in probabilities)
    allowed = pair.common & eligible(first, second, np.array(BOTH), rule=rule)
    return _decide(None, comparer(pair, None), first, second, allowed)


def judge_objects(
    proposals: Proposals,
    comparison: Comparison,
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    *,
    rule: Rule = "instance",
) -> Changes:
    """Identify objects and apply the rule.

    Args:
        proposals: N objects.
        comparison: Of these.
        before: Class probabilities ``[K, h, w]`` of the first date.
        after: Of the second.
        rule: See `eligible`.
    """
    first, second = (classes_of(class_means(proposals.masks, date)) for date in (before, after))
    allowed = eligible(first, second, proposals.origin, rule=rule)
    return _decide(proposals, comparison, first, second, allowed)


def _decide(
    proposals: Proposals | None,
    comparison: Comparison,
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    allowed: NDArray[np.bool_],
) -> Changes:
    changed = comparison.changed & allowed
    hundredths = decided_score(comparison.ratio, changed, allowed)
    return Changes(proposals, comparison.score, before, after, changed, hundredths)


def identify_mask_compare(pair: DatePair, detector: Detector, comparer: Comparer, *, one_sided: OneSided) -> Changes:
    """I-M-C: the objects of the prompts' classes on each date, those without a counterpart that look different.

    Args:
        pair: The two dates.
        detector: First two stages.
        comparer: Third.
        one_sided: What happens where one date has no object; see `compare_instances`.
    """
    objects = detector(pair, 0), detector(pair, 1)
    return compare_instances(*objects, lambda masks: comparer(pair, masks), one_sided=one_sided)


def compare_instances(
    before: Proposals, after: Proposals, compare: Callable[[Masks], Comparison], *, one_sided: OneSided
) -> Changes:
    """The same from objects.

    Args:
        before: Objects of the first date; all are of the prompts' classes.
        after: Of the second.
        compare: The comparer of objects without a counterpart; not called if there is none.
        one_sided: What happens where exactly one date has no object: ``keep`` takes the other date's for changed,
            without the comparer, as the released scripts with MM-Grounding-DINO do; ``compare`` compares them, as
            those with APE.

    Returns:
        All objects, the first date's first. An object's class is 1 on the date of its detection and `UNKNOWN` on the
        other.
    """
    objects = Proposals.concatenate([before, after])
    changed = without_counterpart(before.masks, after.masks)
    score, hundredths = np.full(len(objects), np.nan), np.where(changed, THRESHOLD, 0).astype(np.uint8)
    one_date = one_sided == "keep" and (len(before) == 0) != (len(after) == 0)
    if changed.any() and not one_date:
        index = np.flatnonzero(changed)
        comparison = compare(objects.masks.take(index))
        score[index] = comparison.score
        changed[index] = comparison.changed
        hundredths[index] = decided_score(comparison.ratio, comparison.changed, np.ones(len(index), bool))
    first, second = (np.where(objects.origin == date, 1, UNKNOWN) for date in (BEFORE, AFTER))
    return Changes(objects, score, first, second, changed, hundredths)
