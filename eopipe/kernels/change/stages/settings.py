"""Names that a spec gives to stages without files, and the published settings of the stages of DynamicEarth.

Source: arXiv 2501.12931 and its released code (likyoo/DynamicEarth, `eval/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from eopipe.kernels.change.masks.proposals import DOUBLE

PIXELS, FELZENSZWALB, REGIONS, OWN_MASKS = "pixels", "felzenszwalb", "regions", "own"
"""Proposers that are no model: none (each pixel by itself), segments of equal colour, regions of the class map that
an identifier makes of a date (I-M-C), the detector's own masks."""

SPECTRAL, NONE = "spectral", "none"
"""The comparer of colours; and no identifier, which takes every difference for a change."""

BACKGROUND = "background"
"""The class of everything that no prompt names."""

OneSided = Literal["keep", "compare"]


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """How SAM's automatic masks are made and selected.

    Attributes:
        points: Points a side of the grid.
        batch: Points at once.
        predicted_iou: A mask's own estimate must be greater.
        stability: A mask's stability must be as great.
        offset: Logits about 0 between which the stability is measured.
        double: Greatest intersection over union of two boxes.
    """

    points: int = 32
    batch: int = 64
    predicted_iou: float = 0.5
    stability: float
    offset: float
    double: float = DOUBLE


SAM = GeneratorSettings(stability=0.95, offset=0.9)
"""Of sam_vit_h_4b8939."""

SAM2 = GeneratorSettings(stability=0.9, offset=0.7)
"""Of sam2.1_hiera_large, built without its post-processing."""


@dataclass(frozen=True, kw_only=True)
class DetectorSettings:
    """Which boxes of a detector are objects.

    Attributes:
        score: A box's score must be as great.
        double: Greatest intersection over union of two boxes, whatever their classes; None: all stay.
        most: How many of the best boxes stay; None: all.
        one_sided: What happens where exactly one date has no object: ``keep`` takes all of the other date's for
            changed, without comparing features; ``compare`` compares them all the same.
    """

    score: float
    double: float | None = DOUBLE
    most: int | None = None
    one_sided: OneSided = "keep"


MMGD = DetectorSettings(score=0.1)
"""MM-Grounding-DINO, grounding_dino_swin-l_pretrain_all-56d69e78."""

APE = DetectorSettings(score=0.2, double=None, most=500, one_sided="compare")
"""ape_deta_vitl_eva02_clip_vlf_lsj1024_cp_16x4_1080k, with its own instance masks."""


@dataclass(frozen=True, kw_only=True)
class IdentifierSettings:
    """How M-C-I runs SegEarth-OV (arXiv 2410.01768).

    Attributes:
        upsampler: From patches to pixels; the authors ran it with its dropout on, so that their figures are one draw.
        bias: Lambda of the global bias alleviation.
        scale: Of the logits.
        crop: Side of a window.
        stride: Distance of windows.
        resize: Side of the square that a picture is resized to.
    """

    upsampler: Literal["jbu_one"] = "jbu_one"
    bias: float = -0.3
    scale: float = 50.0
    crop: int = 224
    stride: int = 112
    resize: int = 448


SEGEARTH_OV = IdentifierSettings()
