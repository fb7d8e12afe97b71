"""DynamicEarth's combinations of stages, with what each stage is (spec 03 §1 and §2)."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from eopipe.errors import SpecError
from eopipe.kernels.change.detections import APE, MMGD, SAM2_BOXES, BoxMaskSettings, DetectorSettings
from eopipe.kernels.change.generator import SAM, SAM2, GeneratorSettings
from eopipe.kernels.change.proposers import FelzenszwalbSettings


@dataclass(frozen=True, kw_only=True)
class EncoderCard:
    """What the published comparers see features with.

    Attributes:
        weights: The net.
        patch: Side of a patch; features are ``[width, H // patch, W // patch]``: last block, after the norm, no CLS.
        width: Channels.
        mean: Of the picture in 0-1, at its own size (ImageNet's).
        std: Likewise.
    """

    weights: str
    patch: int
    width: int = 768
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


DINO = EncoderCard(weights="dino_vitb16", patch=16)
DINOV2 = EncoderCard(weights="facebook/dinov2-base", patch=14)


@dataclass(frozen=True, kw_only=True)
class IdentifierCard:
    """What the published M-C-I asks SegEarth-OV.

    Attributes:
        model: As ``eopipe models`` lists it.
        upsampler: From patches to pixels; the authors ran it with its dropout on, so that their figures are one draw.
        bias: Lambda of the global bias alleviation.
        scale: Of the logits.
        crop: Side of a window.
        stride: Distance of windows.
        threshold: Of the best class; 0: none.
    """

    model: str = "ViT-B-16/openai"
    upsampler: str = "jbu_one"
    bias: float = -0.3
    scale: float = 50.0
    crop: int = 224
    stride: int = 112
    threshold: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Instantiation:
    """A combination of stages.

    Attributes:
        name: As the paper writes it.
        order: ``M-C-I`` or ``I-M-C``.
        proposer: What makes masks: of a grid of points (M-C-I), of boxes (I-M-C), of colours, of nothing
            (``pixels``), or the detector itself (``own``).
        comparer: The encoder; None: whichever a spec names.
        identifier: ``ovss``, a detector, or None: whichever a spec names.
        published: Whether it is the paper's; the others run without heavy weights.
    """

    name: str
    order: Literal["M-C-I", "I-M-C"]
    proposer: GeneratorSettings | BoxMaskSettings | FelzenszwalbSettings | Literal["pixels", "own"]
    comparer: EncoderCard | None
    identifier: IdentifierCard | DetectorSettings | None
    published: bool = True


SEGEARTH_OV = IdentifierCard()
FELZENSZWALB = FelzenszwalbSettings()
"""Where the search began on Sentinel-2 pairs of 10 m: a scale of 30, a sigma of 0.8, at least 10 pixels."""

INSTANTIATIONS = {
    each.name: each
    for each in (
        Instantiation(
            name="SAM-DINO-SegEarth-OV", order="M-C-I", proposer=SAM, comparer=DINO, identifier=SEGEARTH_OV
        ),
        Instantiation(
            name="SAM-DINOv2-SegEarth-OV", order="M-C-I", proposer=SAM, comparer=DINOV2, identifier=SEGEARTH_OV
        ),
        Instantiation(
            name="SAM2-DINOv2-SegEarth-OV", order="M-C-I", proposer=SAM2, comparer=DINOV2, identifier=SEGEARTH_OV
        ),
        Instantiation(name="MMGD-SAM2-DINO", order="I-M-C", proposer=SAM2_BOXES, comparer=DINO, identifier=MMGD),
        Instantiation(name="APE-DINO", order="I-M-C", proposer="own", comparer=DINO, identifier=APE),
        Instantiation(name="APE-DINOv2", order="I-M-C", proposer="own", comparer=DINOV2, identifier=APE),
        Instantiation(
            name="felzenszwalb", order="M-C-I", proposer=FELZENSZWALB, comparer=None, identifier=None, published=False
        ),
        Instantiation(
            name="pixels", order="M-C-I", proposer="pixels", comparer=None, identifier=None, published=False
        ),
    )
}
"""By name."""


def instantiation(name: str) -> Instantiation:
    """A combination of stages by name.

    Raises:
        SpecError: There is none of that name.
    """
    found = INSTANTIATIONS.get(name)
    if found is None:
        close = get_close_matches(name, INSTANTIATIONS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(INSTANTIATIONS)}"
        raise SpecError(f"kernel.instantiation: there is no {name!r}; {hint}")
    return found
