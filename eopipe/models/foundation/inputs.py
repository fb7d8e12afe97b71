"""What goes into a foundation model, known without torch: a plan needs sizes and captions as well as a net does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.models.foundation.resolve import Resolved

BATCH = 64
"""Prompts that are decoded at once, as published."""
PIECE_BYTES = 64 << 20
"""Of logits on the picture that are handed over at once, or those of one prompt where they are more."""
_ENDS = ".?"
"""Marks that end a name in the text encoder."""


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
    new_short = round(exact)
    if new_short == short:
        return shape
    new_long = int(exact * long / short)
    return (new_short, new_long) if shape[0] <= shape[1] else (new_long, new_short)


def caption_of(names: Sequence[str]) -> tuple[str, list[tuple[int, int]]]:
    """Names as a detector reads them: one caption, and the span of each name, its first letter and one past its last.

    Args:
        names: What the detector looks for.

    Raises:
        SpecError: A name is empty or holds what ends one in a caption, or there is none.
    """
    cleaned = [" ".join(name.lower().split()) for name in names]
    wrong = [name for name in cleaned if not name or any(mark in name for mark in _ENDS)]
    if wrong or not cleaned:
        raise SpecError(
            f"names for a detector are words without {' and '.join(_ENDS)}, at least one: not {wrong or list(names)}"
        )
    spans, start = [], 0
    for name in cleaned:
        spans.append((start, start + len(name)))
        start += len(name) + 2
    return ". ".join(cleaned) + ".", spans
