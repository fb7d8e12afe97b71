"""Stages by the names that a spec gives them: a line each for what needs no file, and a model of files otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.kernels.change.prompt_classes import read_prompts
from eopipe.kernels.change.stages.compare.encoders import resolve_encoder
from eopipe.kernels.change.stages.detect.grounding_dino import GroundedDetector
from eopipe.kernels.change.stages.detect.regions import RegionDetector
from eopipe.kernels.change.stages.embedded import (
    DynamicWorldEncoder,
    DynamicWorldIdentifier,
    MiniEncoder,
    MiniIdentifier,
    NoIdentifier,
)
from eopipe.kernels.change.stages.identify.segearth import SegEarthIdentifier
from eopipe.kernels.change.stages.propose.felzenszwalb import FelzenszwalbProposer, PixelProposer
from eopipe.kernels.change.stages.propose.sam import SamProposer
from eopipe.kernels.change.stages.settings import FELZENSZWALB, MMGD, NONE, PIXELS, REGIONS
from eopipe.models.registry import DYNAMIC_WORLD, MINI

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eopipe.kernels.change.dynamicearth.options import StageOptions
    from eopipe.kernels.change.stages.protocols import ChangeStage, Detector, Encoder, Identifier, Proposer

PROPOSERS: Mapping[str, Callable[[StageOptions], ChangeStage[Proposer]]] = {
    PIXELS: lambda _: PixelProposer(),
    FELZENSZWALB: lambda options: FelzenszwalbProposer(**options.segments.model_dump()),
}

ENCODERS: Mapping[str, Callable[[], ChangeStage[Encoder]]] = {
    DYNAMIC_WORLD.name: DynamicWorldEncoder.resolve,
    MINI.name: MiniEncoder.resolve,
}

IDENTIFIERS: Mapping[str, Callable[[StageOptions], ChangeStage[Identifier]]] = {
    NONE: lambda _: NoIdentifier(),
    DYNAMIC_WORLD.name: lambda options: DynamicWorldIdentifier.resolve(
        read_prompts(options.prompts, options.teacher_classes)
    ),
    MINI.name: lambda options: MiniIdentifier.resolve(options.prompts),
}

DETECTORS: Mapping[str, Callable[[StageOptions], ChangeStage[Detector]]] = {
    REGIONS: lambda options: RegionDetector.resolve(find_identifier(options)),
}
"""By the name of the proposer."""


def find_proposer(options: StageOptions) -> ChangeStage[Proposer]:
    """M-C-I's first stage.

    Raises:
        WeightsError: There is no such model, it makes no masks of points, or its files are not on this machine.
    """
    name = options.combination.proposer
    known = PROPOSERS.get(name)
    return SamProposer.resolve(name, points=options.points) if known is None else known(options)


def find_encoder(options: StageOptions) -> ChangeStage[Encoder]:
    """The comparer's encoder.

    Raises:
        WeightsError: There is no such model, it makes no features, or its files are not on this machine.
    """
    name = options.combination.comparer
    known = ENCODERS.get(name)
    return resolve_encoder(name) if known is None else known()


def find_identifier(options: StageOptions) -> ChangeStage[Identifier]:
    """M-C-I's last stage, or the one whose regions are I-M-C's objects.

    Raises:
        SpecError: The name is of a model that knows no words.
        WeightsError: There is no such model, or its files are not on this machine.
    """
    name = options.combination.identifier
    known = IDENTIFIERS.get(name)
    if known is not None:
        return known(options)
    return SegEarthIdentifier.resolve(
        name, prompts=options.prompts, background=options.background, size=options.resize,
        upsampler=options.upsampler, upsampler_checkpoint=options.upsampler_checkpoint,
    )  # fmt: skip


def find_detector(options: StageOptions) -> ChangeStage[Detector]:
    """I-M-C's first two stages.

    Raises:
        SpecError: A name is of no stage of its kind.
        WeightsError: There is no such model, one of them is of another kind, or its files are not on this machine.
    """
    stages = options.combination
    known = DETECTORS.get(stages.proposer)
    if known is not None:
        return known(options)
    return GroundedDetector.resolve(
        stages.identifier, stages.proposer, prompts=options.prompts, settings=stages.detector or MMGD
    )
