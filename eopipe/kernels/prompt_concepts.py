"""How phrases are read through the concepts that a model was taught: what they name, and how near they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.kernels.known_words import WordNote
from eopipe.models.mini import words
from eopipe.models.mini.phrases import CONCEPTS

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED = 0.25
"""Share of a phrase from which it names a concept, as "scrubby meadow" names two; the largest always does."""


def named(phrases: Sequence[str]) -> list[frozenset[int]]:
    """The concepts that each phrase names, by their place among Dynamic World's classes."""
    return [
        frozenset(number for number, share in enumerate(row) if share >= min(NAMED, row.max()))
        for row in words.shares(phrases)
    ]


def notes_of(phrases: Sequence[str]) -> tuple[WordNote, ...]:
    """How near each phrase lies to what was taught."""
    plain = {concept.key: concept.name for concept in CONCEPTS}
    return tuple(
        WordNote(
            phrase=found.phrase,
            nearest=found.taught,
            cosine=found.cosine,
            bound=words.BOUND,
            means=plain[found.concept],
            share=found.share,
        )
        for found in words.nearest(phrases)
    )
