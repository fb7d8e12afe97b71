"""Peak memory of a foundation model, from its configuration before any tensor is read.

Each formula counts the float32 numbers that the widest step holds at once, from the library's code; depth adds
nothing, since no step is kept. Measured on 2 cores of an AMD EPYC with transformers 5.23 and torch 2.15, seeded nets
of the published widths with few blocks, in MiB (measured / computed without the tensors):

===================================================  =========  ======
ViT-B/16, 1024 pixels                                      156     255
DINOv2-B/14, 1022 pixels, all 12 blocks                    320     318
SAM ViT-H, the encoder                                    2278    2910
SAM, 64 points                                            2048    2560
SAM 2 hiera-L, the encoder                                 458     630
SAM 2, 64 points or boxes                                 2560    3200
MM-Grounding-DINO, Swin-L, 4 levels, 800 pixels            963     983
===================================================  =========  ======

The tensors lie in their files until they are used, and processes of one machine share those pages; they are counted
whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.models.foundation.inputs import BATCH, PIECE_BYTES, detector_shape, encoder_side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.models.foundation.resolve import Resolved
    from eopipe.models.registry_entry import FoundationTask

_SLACK = 1.25
"""Memory that the allocator holds back of what was freed."""
_BLOCK = 6
"""Widths of a token in a block beside its perceptron: its input, its norm, queries, keys, values, their sum."""
_TOKENS = 64
"""Of a caption: some thirty names."""


def work(model: Resolved, kind: FoundationTask, side: int, *, batch: int = BATCH) -> int:
    """Peak bytes beside its tensors: its work and its output, without boxes' masks.

    Args:
        model: From `eopipe.models.foundation.resolve.resolve`.
        kind: What it gives.
        side: Of a square picture, pixels.
        batch: Points or boxes that are decoded at once.

    Raises:
        WeightsError: The model cannot give this.
    """
    model.must_be(kind)
    if kind == "features":
        needed = _features(model.config, side)
    elif kind == "boxes":
        needed = _detector(model.config, detector_shape((side, side), model.sides)[0])
    else:
        masks = 3 if kind == "point-masks" else 1
        piece = 3 * max(PIECE_BYTES, 4 * masks * max(side, encoder_side(model)) ** 2)
        needed = max(_encoder(model), _decoder(model, batch) + piece)
    return int(_SLACK * (36 * side * side + needed))


def _features(config: Mapping[str, Any], side: int) -> int:
    width = config.get("hidden_size", 768)
    ratio = config.get("mlp_ratio", config.get("intermediate_size", 4 * width) / width)
    tokens = (side // config.get("patch_size", 16)) ** 2 + 1
    return int(4 * tokens * width * (_BLOCK + 2 * ratio))


def _encoder(model: Resolved) -> int:
    """SAM's blocks that see the whole picture hold a table of all pairs of cells twice; SAM 2's first are widest."""
    vision, side = model.config.get("vision_config") or {}, encoder_side(model)
    if model.entry.model_type == "sam":
        cells = (side // vision.get("patch_size", 16)) ** 2
        pairs = 2 * vision.get("num_attention_heads", 12) * cells**2
        return int(4 * (pairs + cells * vision.get("hidden_size", 768) * (_BLOCK + 8)))
    widths = (vision.get("backbone_config") or {}).get("embed_dim_per_stage") or [96]
    return int(4 * (side // 4) ** 2 * widths[0] * (_BLOCK + 8))


def _decoder(model: Resolved, batch: int) -> int:
    """Per prompt the picture's embedding, and twice its grid at four times the side and an eighth of the width."""
    prompts = model.config.get("prompt_encoder_config") or {}
    cells = (encoder_side(model) // prompts.get("patch_size", 16)) ** 2
    copies = 8 if model.entry.model_type == "sam" else 10
    return int(4 * batch * cells * prompts.get("hidden_size", 256) * copies)


def _detector(config: Mapping[str, Any], side: int) -> int:
    """The encoder's samples of all levels, twice; or the backbone's first stage."""
    backbone, width = config.get("backbone_config") or {}, config.get("d_model", 256)
    first = 4 * (side // 4) ** 2 * backbone.get("embed_dim", 96) * (_BLOCK + 8)
    sides = [side // 2 ** (stage + 1) for stage in backbone.get("out_indices") or (2, 3, 4)]
    levels = config.get("num_feature_levels", 4)
    while len(sides) < levels:
        sides.append(sides[-1] // 2)
    cells = sum(side**2 for side in sides)
    samples = 2 * width * levels * config.get("encoder_n_points", 4)
    pairs = 3 * _TOKENS * max(1, config.get("encoder_attention_heads", 8) // 2)
    return int(max(first, 4 * cells * (samples + 2 * config.get("encoder_ffn_dim", 2048) + 8 * width + pairs)))
