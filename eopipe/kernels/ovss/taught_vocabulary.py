"""The prompts of a model with a taught vocabulary: classes, queries and their vectors.

With the one prompt water, a map of the nearest prompt would be all water. So ``background: auto`` also queries every
concept that no prompt names, by its literal name, and a pixel that is nearest to one of those is the class ``other``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eopipe.kernels.known_words import named, notes_of
from eopipe.kernels.ovss.options import OTHER
from eopipe.kernels.ovss.prompts import Vocabulary
from eopipe.models.mini import words
from eopipe.models.mini.phrases import CONCEPTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.ovss.options import DenseOptions


@dataclass(frozen=True)
class TaughtVocabulary(Vocabulary):
    """Everything that turns concept weights into classes: the prompts' classes, then ``other`` where there is one.

    Args:
        text: ``[Q, 384]`` unit vectors of the queries.
        background: The class of pixels below the threshold, from 0; None where there is none.
        notes: Of each phrase of the prompts.
        weights: Files and sha256 that the vectors come from.
    """

    text: NDArray[np.float32]
    background: int | None
    notes: tuple[WordNote, ...]
    weights: Mapping[str, str]

    @classmethod
    def read(cls, options: DenseOptions) -> TaughtVocabulary:
        """Read the prompts, and add the class ``other``.

        Args:
            options: The kernel's.

        Raises:
            WeightsError: A phrase is not in the shipped table, and the sentence encoder is not installed.
            SpecError: A phrase is too long.
        """
        whole = options.vocabulary
        notes = notes_of(whole.queries)
        background = options.background
        if background == "auto":
            others = _unnamed(whole.queries, notes)
            whole = Vocabulary((*whole.names, OTHER), (*whole.synonyms, others))
            background = OTHER
        return cls(
            names=whole.names,
            synonyms=whole.synonyms,
            text=words.read(whole.queries),
            background=None if background == "none" else whole.names.index(background),
            notes=notes,
            weights=words.weights(whole.queries),
        )

    def alike(self) -> list[str]:
        """Warnings of classes that the model cannot tell apart, since it takes their words for one concept."""
        known = [note for note in self.notes if note.known]
        owner = dict(zip(self.queries, (self.names[number] for number in self.query_class), strict=True))
        warnings = []
        for meaning in dict.fromkeys(note.means for note in known):
            same = list(dict.fromkeys(owner[note.phrase] for note in known if note.means == meaning))
            if len(same) > 1:
                warnings.append(
                    f"prompts {', '.join(map(repr, same))} all mean {meaning!r} to this model, which cannot tell "
                    f"them apart; keep one of them"
                )
        return warnings


def _unnamed(queries: Sequence[str], notes: Sequence[WordNote]) -> tuple[str, ...]:
    """Literal names of the concepts that no known phrase names; an unknown phrase takes no concept away."""
    taken = {number for note, numbers in zip(notes, named(queries), strict=True) if note.known for number in numbers}
    return tuple(concept.name for number, concept in enumerate(CONCEPTS) if number not in taken)
