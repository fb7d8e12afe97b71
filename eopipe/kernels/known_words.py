"""What a kernel with a taught vocabulary knows of the words that it is given, and what they mean to it.

Such a kernel answers any phrase, also one that it cannot know. So before a run the engine asks it how near each
phrase is to what it was taught; the plan lists it, the run warns, and ``--strict`` refuses. Phrases are read through
the concepts of ``mini`` (:mod:`eopipe.models.mini.words`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from eopipe.models.mini import words
from eopipe.models.mini.phrases import CONCEPTS

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMED = 0.25
"""Share of a phrase from which it names a concept, as "scrubby meadow" names two; the largest always does."""


@dataclass(frozen=True)
class WordNote:
    """One phrase of the prompts.

    Attributes:
        phrase: As the spec has it.
        nearest: The nearest phrase that was taught.
        cosine: Of the two.
        bound: Below which a phrase counts as unknown.
        means: What it is mostly read as.
        share: That meaning's share of it, 0 to 1.
    """

    phrase: str
    nearest: str
    cosine: float
    bound: float
    means: str
    share: float

    @property
    def known(self) -> bool:
        """Whether its answer can be trusted."""
        return self.cosine >= self.bound

    @property
    def warning(self) -> str:
        """A line for a phrase that is not known."""
        return (
            f"prompt {self.phrase!r} is far from everything the model was taught: nearest {self.nearest!r}, cosine "
            f"{self.cosine:.2f}, bound {self.bound:.2f}; do not trust its class, or name what it is made of"
        )

    def plain(self) -> dict[str, Any]:
        """For ``--json`` and the run's record."""
        values = asdict(self)
        means, share = values.pop("means"), values.pop("share")
        return {**values, "known": self.known, "means": means, "share": share}


@runtime_checkable
class KnowsWords(Protocol):
    """A kernel that can tell a word it was taught from one that it was not."""

    def words(self) -> Sequence[WordNote]:
        """A note for each phrase of the prompts, in order; known without loading the model."""


def named(phrases: Sequence[str]) -> list[frozenset[int]]:
    """The concepts that each phrase names, by their position among Dynamic World's classes."""
    return [
        frozenset(number for number, share in enumerate(row) if share >= min(NAMED, row.max()))
        for row in words.shares(phrases)
    ]


def notes_of(phrases: Sequence[str]) -> tuple[WordNote, ...]:
    """How near each phrase lies to what was taught."""
    names = {concept.key: concept.name for concept in CONCEPTS}
    return tuple(
        WordNote(near.phrase, near.taught, near.cosine, words.BOUND, names[near.concept], near.share)
        for near in words.nearest(phrases)
    )
