"""Which stages and options go together: a misfit is one line, before any file is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.kernels.change.stages.settings import (
    BACKGROUND,
    FELZENSZWALB,
    NONE,
    OWN_MASKS,
    PIXELS,
    REGIONS,
    SPECTRAL,
)
from eopipe.models.registry import DYNAMIC_WORLD, MINI

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from eopipe.kernels.change.dynamicearth.combinations import Instantiation
    from eopipe.kernels.ovss.options import Prompts

_OF_WORDS = ("background", "resize", "upsampler", "upsampler_checkpoint")
"""Options of an identifier of words."""


def refuse_misfits(
    stages: Instantiation, given: AbstractSet[str], *, prompts: Prompts, background: tuple[str, ...]
) -> None:
    """Refuse stages, prompts and options that do not go together.

    Args:
        stages: The combination, with what the options replace.
        given: Names of the options that are not at their defaults.
        prompts: What may have changed.
        background: Phrases of everything else.

    Raises:
        ValueError: The first misfit; it begins with the option to change.
    """
    _order(stages, given)
    _spectral(stages, given)
    _phrases(prompts, background)
    _unused(stages, given)


def _order(stages: Instantiation, given: AbstractSet[str]) -> None:
    if stages.identifier == "APE":
        raise ValueError(
            f"identifier: {stages.name} finds objects with APE, which no library carries; name a detector "
            f"such as grounding-dino-base and a proposer of masks such as sam2.1-hiera-l, or give its masks to "
            f"eopipe.kernels.change.dynamicearth.pipelines in Python"
        )
    if stages.proposer == OWN_MASKS:
        raise ValueError(f"proposer: {OWN_MASKS} masks are APE's alone; name such as sam2.1-hiera-l, or {REGIONS}")
    if stages.masks_first:
        if stages.proposer == REGIONS:
            raise ValueError(
                f"proposer: {REGIONS} come from an identifier, which is M-C-I's last stage; take another"
            )
        return
    if "rule" in given:
        raise ValueError(f"rule: {stages.name} is I-M-C, which identifies first and has none; leave it out")
    if stages.proposer in {PIXELS, FELZENSZWALB}:
        raise ValueError(
            f"proposer: {stages.proposer} makes no masks of a detector's boxes; name such as sam2.1-hiera-l, or "
            f"{REGIONS} for an identifier that maps classes"
        )
    if stages.comparer == SPECTRAL or stages.identifier == NONE:
        raise ValueError(
            f"comparer: {stages.name} is I-M-C, which compares features of what was identified; {SPECTRAL} and "
            f"{NONE} are for M-C-I"
        )


def _spectral(stages: Instantiation, given: AbstractSet[str]) -> None:
    """Only ``spectral`` compares colours by a threshold of its own, weighed by how likely a change is."""
    spectral = stages.comparer == SPECTRAL
    if spectral and "beta" in given:
        raise ValueError("beta: spectral has a threshold of the wider area, and no angle; leave beta out")
    if spectral and stages.identifier not in {DYNAMIC_WORLD.name, NONE}:
        raise ValueError(
            f"identifier: {stages.identifier!r} cannot weigh spectral's score; write {DYNAMIC_WORLD.name} or {NONE}, "
            f"or another comparer"
        )
    if (spectral or stages.identifier == NONE) != (stages.rule == "likely"):
        raise ValueError(
            f"rule: {stages.rule!r}, {stages.comparer!r} and {stages.identifier!r} do not go together; likely is "
            f"for the comparer {SPECTRAL} and for the identifier {NONE}, instance and stuff are for the others"
        )


def _phrases(prompts: Prompts, background: tuple[str, ...]) -> None:
    if BACKGROUND in {name for name, _ in prompts}:
        raise ValueError(
            f"prompts: {BACKGROUND!r} is the class of everything that no prompt names; rename the prompt"
        )
    phrases = {phrase for _, synonyms in prompts for phrase in synonyms}
    if not background or not all(background):
        raise ValueError("background: there is no phrase; write such as [background], or [background, road]")
    if twice := [phrase for phrase in background if phrase in phrases]:
        raise ValueError(f"background: {twice[0]!r} is a prompt's phrase too; keep one")


def _unused(stages: Instantiation, given: AbstractSet[str]) -> None:
    """Refuse an option of a stage that the combination lacks: its user would believe that it decides something."""
    of_words = stages.identifier not in {DYNAMIC_WORLD.name, MINI.name, NONE} and (
        stages.masks_first or stages.proposer == REGIONS
    )
    of_points = stages.masks_first and stages.proposer not in {PIXELS, FELZENSZWALB}
    words = [(name, of_words, "an identifier of words") for name in _OF_WORDS]
    for name, used, stage in (
        ("points", of_points, "a proposer of masks of points"),
        ("segments", stages.proposer == FELZENSZWALB, f"the proposer {FELZENSZWALB}"),
        *words,
        ("teacher_classes", stages.identifier == DYNAMIC_WORLD.name, f"the identifier {DYNAMIC_WORLD.name}"),
        ("match_histogram", stages.comparer != SPECTRAL, f"another comparer than {SPECTRAL}, which levels the dates"),
    ):
        if not used and name in given:
            raise ValueError(f"{name}: it is for {stage}, and {stages.name} has none; leave it out")
