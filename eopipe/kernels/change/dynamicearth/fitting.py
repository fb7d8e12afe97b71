"""Which stages and options go together: what does not is one line, before anything is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.kernels.change.dynamicearth.combinations import (
    DYNAMIC_WORLD,
    FELZENSZWALB,
    MINI,
    NONE,
    OWN,
    PIXELS,
    REGIONS,
    SPECTRAL,
)

if TYPE_CHECKING:
    from eopipe.kernels.change.dynamicearth.combinations import Instantiation
    from eopipe.kernels.change.dynamicearth.options import StageOptions

BACKGROUND = "background"
"""The class of what was not asked for."""


def refuse_misfits(options: StageOptions, stages: Instantiation) -> None:
    """Refuse stages, prompts and options that do not go together.

    Args:
        options: As a spec gives them.
        stages: The combination that they make.

    Raises:
        ValueError: The first that does not fit; it begins with the option to change.
    """
    _order(options, stages)
    _spectral(options, stages)
    _words(options)
    _idle(options, stages)


def _order(options: StageOptions, stages: Instantiation) -> None:
    masks_first = stages.order == "M-C-I"
    if stages.identifier == "APE":
        raise ValueError(
            f"identifier: {options.instantiation} finds objects with APE, which no library carries; name a detector "
            f"such as grounding-dino-base and a proposer of masks such as sam2.1-hiera-l, or give its masks to "
            f"eopipe.kernels.change.dynamicearth.pipelines in Python"
        )
    if stages.proposer == OWN:
        raise ValueError(f"proposer: {OWN} masks are APE's alone; name such as sam2.1-hiera-l, or {REGIONS}")
    if masks_first and stages.proposer == REGIONS:
        raise ValueError(f"proposer: {REGIONS} come from an identifier, which is M-C-I's last stage; take another")
    if masks_first:
        return
    if options.rule is not None:
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


def _spectral(options: StageOptions, stages: Instantiation) -> None:
    """``spectral`` compares colours by a threshold of its own, weighed by what is likely; nothing else does."""
    spectral = stages.comparer == SPECTRAL
    if spectral and options.beta is not None:
        raise ValueError("beta: spectral has a threshold of the wider area, and no angle; leave beta out")
    if spectral and stages.identifier not in {DYNAMIC_WORLD, NONE}:
        raise ValueError(
            f"identifier: {stages.identifier!r} cannot weigh spectral's score; write {DYNAMIC_WORLD} or {NONE}, "
            f"or another comparer"
        )
    if (spectral or stages.identifier == NONE) != (stages.rule == "likely"):
        raise ValueError(
            f"rule: {stages.rule!r}, {stages.comparer!r} and {stages.identifier!r} do not go together; likely is "
            f"for the comparer {SPECTRAL} and for the identifier {NONE}, instance and stuff are for the others"
        )


def _words(options: StageOptions) -> None:
    named = [name for name, _ in options.prompts]
    if BACKGROUND in named:
        raise ValueError(f"prompts: {BACKGROUND!r} is the class of what is not asked for; rename the prompt")
    asked = {phrase for _, phrases in options.prompts for phrase in phrases}
    if not options.background or not all(options.background):
        raise ValueError("background: there is no phrase; write such as [background], or [background, road]")
    if twice := [phrase for phrase in options.background if phrase in asked]:
        raise ValueError(f"background: {twice[0]!r} is a prompt's phrase too; keep one")


def _idle(options: StageOptions, stages: Instantiation) -> None:
    """An option of a stage that is not there would be believed to decide something."""
    of_words = stages.identifier not in {DYNAMIC_WORLD, MINI, NONE} and (
        stages.order == "M-C-I" or stages.proposer == REGIONS
    )
    of_points = stages.order == "M-C-I" and stages.proposer not in {PIXELS, FELZENSZWALB}
    for name, used, whose in (
        ("points", of_points, "a proposer of masks of points"),
        ("segments", stages.proposer == FELZENSZWALB, f"the proposer {FELZENSZWALB}"),
        ("background", of_words, "an identifier of words"),
        ("resize", of_words, "an identifier of words"),
        ("upsampler", of_words, "an identifier of words"),
        ("upsampler_checkpoint", of_words, "an identifier of words"),
        ("teacher_classes", stages.identifier == DYNAMIC_WORLD, f"the identifier {DYNAMIC_WORLD}"),
        ("match_histogram", stages.comparer != SPECTRAL, f"another comparer than {SPECTRAL}, which levels the dates"),
    ):
        if not used and getattr(options, name) != type(options).model_fields[name].get_default():
            raise ValueError(f"{name}: it is for {whose}, and {options.instantiation} has none; leave it out")
