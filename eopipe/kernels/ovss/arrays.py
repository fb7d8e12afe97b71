"""The arrays that an ``ovss`` map has, whichever model made it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.kernel_info import ArraySpec

if TYPE_CHECKING:
    from eopipe.kernel_info import ClassInfo


def score_arrays(classes: tuple[ClassInfo, ...]) -> tuple[ArraySpec, ...]:
    """``label`` and ``confidence``, with this class table."""
    label = ArraySpec("label", "uint8", 255, 0, classes, losers=(0, 255), long_name="class, by the prompts")
    confidence = ArraySpec(
        "confidence", "uint8", 255, 0, losers=(0, 255), long_name="score of the best class, percent (0-100)"
    )
    return (label, confidence)
