"""Combinations of stages by name: DynamicEarth's (arXiv 2501.12931), and three that need no heavy weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eopipe.errors import SpecError
from eopipe.kernels.change.stages.settings import (
    APE,
    FELZENSZWALB,
    MMGD,
    OWN_MASKS,
    PIXELS,
    REGIONS,
    SAM,
    SAM2,
    SPECTRAL,
    DetectorSettings,
    GeneratorSettings,
)
from eopipe.models.registry import DYNAMIC_WORLD, MINI
from eopipe.text import did_you_mean

if TYPE_CHECKING:
    from eopipe.kernels.change.stages.identify.rules import Rule


@dataclass(frozen=True, kw_only=True)
class Instantiation:
    """A combination of stages.

    Attributes:
        name: As the paper writes it.
        order: ``M-C-I`` or ``I-M-C``.
        proposer: What makes masks, as a spec names it: of a grid of points (M-C-I), of boxes (I-M-C), or one of
            `PIXELS`, `FELZENSZWALB`, `REGIONS`, `OWN_MASKS`.
        comparer: An encoder, or `SPECTRAL`.
        identifier: A model of words, a classifier, `NONE`, or (I-M-C) a detector.
        rule: What makes a change of a change of class; None in I-M-C, which identifies first.
        beta: Degrees of the comparer's confidence threshold: LEVIR-CD's; None where it takes none.
        window: Side of the pictures: what the paper cuts its sets to; at 10 m objects are small, and half suffices.
        generator: How SAM's masks are made and selected; None where none are.
        detector: Which boxes of the detector are objects; None where there is none.
        published: Whether it is the paper's.
    """

    name: str
    order: Literal["M-C-I", "I-M-C"]
    proposer: str
    comparer: str
    identifier: str
    rule: Rule | None
    beta: float | None
    window: Literal[256, 512, 1024]
    generator: GeneratorSettings | None = None
    detector: DetectorSettings | None = None
    published: bool = True

    @property
    def masks_first(self) -> bool:
        """Whether it is M-C-I."""
        return self.order == "M-C-I"

    @property
    def instances(self) -> bool:
        """Whether its masks are whole objects, which may overlap; a segment, or a pixel, is a part of one."""
        return self.proposer not in {PIXELS, FELZENSZWALB}


def _mci(name: str, proposer: str, comparer: str, generator: GeneratorSettings) -> Instantiation:
    return Instantiation(
        name=name, order="M-C-I", proposer=proposer, comparer=comparer, identifier="ViT-B-16/openai",
        rule="instance", beta=145, window=1024, generator=generator,
    )  # fmt: skip


def _imc(
    name: str, proposer: str, comparer: str, identifier: str, detector: DetectorSettings, beta: float
) -> Instantiation:
    return Instantiation(
        name=name, order="I-M-C", proposer=proposer, comparer=comparer, identifier=identifier, rule=None, beta=beta,
        window=256, detector=detector,
    )  # fmt: skip


_DINO, _DINOV2, _SAM, _SAM2 = "dino-vitb16", "dinov2-base", "sam-vit-h", "sam2.1-hiera-l"

INSTANTIATIONS = {
    combination.name: combination
    for combination in (
        _mci("SAM-DINO-SegEarth-OV", _SAM, _DINO, SAM),
        _mci("SAM-DINOv2-SegEarth-OV", _SAM, _DINOV2, SAM),
        _mci("SAM2-DINOv2-SegEarth-OV", _SAM2, _DINOV2, SAM2),
        _imc("MMGD-SAM2-DINO", _SAM2, _DINO, "mm-grounding-dino-l", MMGD, 130),
        _imc("APE-DINO", OWN_MASKS, _DINO, "APE", APE, 135),
        _imc("APE-DINOv2", OWN_MASKS, _DINOV2, "APE", APE, 135),
        Instantiation(
            name="felzenszwalb-spectral", order="M-C-I", proposer=FELZENSZWALB, comparer=SPECTRAL,
            identifier=DYNAMIC_WORLD.name, rule="likely", beta=None, window=512, published=False,
        ),
        Instantiation(
            name="regions-mini", order="I-M-C", proposer=REGIONS, comparer=MINI.name, identifier=MINI.name, rule=None,
            beta=145, window=512, published=False,
        ),
        Instantiation(
            name="pixels-mini", order="M-C-I", proposer=PIXELS, comparer=MINI.name, identifier=MINI.name,
            rule="instance", beta=145, window=512, published=False,
        ),
    )
}  # fmt: skip
"""By name."""


def instantiation(name: str) -> Instantiation:
    """A combination of stages by name.

    Raises:
        SpecError: There is none of that name.
    """
    if name in INSTANTIATIONS:
        return INSTANTIATIONS[name]
    hint = did_you_mean(name, INSTANTIATIONS, f"there are {', '.join(INSTANTIATIONS)}")
    raise SpecError(f"kernel.instantiation: there is no {name!r}; {hint}")
