"""What a kernel with a taught vocabulary says of the words it is asked for.

Such a kernel answers any phrase, also one that it cannot know. So before a run the engine asks it how near each
phrase is to what it was taught; the plan tells, the run warns, and ``--strict`` refuses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class WordNote:
    """One phrase of the prompts.

    Attributes:
        phrase: As it was asked.
        nearest: The nearest phrase that was taught.
        cosine: Of the two.
        bound: Below which a phrase counts as unknown.
        means: What it is mostly read as.
        share: That meaning's part of it, 0 to 1.
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
        """What to say of it where it is not known."""
        return (
            f"prompt {self.phrase!r} is far from everything the model was taught: nearest {self.nearest!r}, cosine "
            f"{self.cosine:.2f}, bound {self.bound:.2f}; do not trust its class, or name what it is made of"
        )

    def plain(self) -> dict[str, Any]:
        """For ``--json`` and the run's record."""
        return {
            "phrase": self.phrase,
            "nearest": self.nearest,
            "cosine": self.cosine,
            "bound": self.bound,
            "known": self.known,
            "means": self.means,
            "share": self.share,
        }


@runtime_checkable
class KnowsWords(Protocol):
    """A kernel that can tell a word it was taught from one that it was not."""

    def words(self) -> Sequence[WordNote]:
        """A note for each phrase that the user asked for, in order; known without loading the model."""
        ...
