"""Sizes that a plan needs to know as well as a net, told without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eopipe.models.foundation.resolve import Resolved

BATCH = 64
"""Prompts that are decoded at once, as published."""
PIECE_BYTES = 64 << 20
"""Of logits on the picture that are handed over at once, or those of one prompt where they are more."""


def encoder_side(model: Resolved) -> int:
    """Side of the square that the encoder sees, pixels."""
    within = "vision_config" if model.entry.model_type == "sam" else "prompt_encoder_config"
    return int((model.config.get(within) or {}).get("image_size", 1024))


def detector_shape(shape: tuple[int, int], sides: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns that a detector sees a picture at.

    Args:
        shape: Of the picture.
        sides: What the short side becomes, and the most that the long one may be.
    """
    short, long = min(shape), max(shape)
    exact = float(sides[0])
    if long / short * exact > sides[1]:
        exact = sides[1] * short / long
    became = round(exact)
    if became == short:
        return shape
    other = int(exact * long / short)
    return (became, other) if shape[0] <= shape[1] else (other, became)
