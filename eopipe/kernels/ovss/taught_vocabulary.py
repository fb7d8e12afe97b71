"""What is asked of a model with a taught vocabulary: classes, queries and their vectors.

Asked for water alone, a map of the nearest prompt would be all water. So ``background: auto`` also asks for every
concept that no prompt names, by its literal name, and what answers to one of those is the class ``other``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from eopipe.kernels.ovss.mini_options import OTHER
from eopipe.kernels.ovss.prompts import Vocabulary
from eopipe.kernels.prompt_concepts import named, notes_of
from eopipe.models.mini import words
from eopipe.models.mini.phrases import CONCEPTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.kernel_info import ClassInfo
    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.ovss.mini_options import DenseOptions


@dataclass(frozen=True)
class Asked:
    """Everything that turns concept weights into classes.

    Args:
        vocabulary: The prompts' classes, then ``other`` where there is one.
        text: ``[Q, 384]`` unit vectors of the queries.
        background: The class of pixels below the threshold, from 0; None where there is none.
        notes: Of each phrase that the user asked for.
        weights: Files and sha256 that the vectors come from.
    """

    vocabulary: Vocabulary
    text: NDArray[np.float32]
    background: int | None
    notes: tuple[WordNote, ...]
    weights: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Classes, in code order from 1."""
        return self.vocabulary.names

    @property
    def queries(self) -> tuple[str, ...]:
        """Every phrase, in class order."""
        return self.vocabulary.queries

    @property
    def query_class(self) -> tuple[int, ...]:
        """The class of each query, from 0."""
        return self.vocabulary.query_class

    def classes(self) -> tuple[ClassInfo, ...]:
        """The class table."""
        return self.vocabulary.classes()

    def alike(self) -> list[str]:
        """Warnings of classes that the model cannot tell apart, since it takes their words for one concept."""
        known = [note for note in self.notes if note.known]
        owner = dict(zip(self.queries, (self.names[number] for number in self.query_class), strict=True))
        found = []
        for meaning in dict.fromkeys(note.means for note in known):
            same = list(dict.fromkeys(owner[note.phrase] for note in known if note.means == meaning))
            if len(same) > 1:
                found.append(
                    f"prompts {', '.join(map(repr, same))} all mean {meaning!r} to this model, which cannot tell "
                    f"them apart; keep one of them"
                )
        return found


def asked(options: DenseOptions) -> Asked:
    """Read the prompts, and add what nobody asked for.

    Args:
        options: The kernel's.

    Raises:
        WeightsError: A phrase is not in the shipped table, and the sentence encoder is not installed.
        SpecError: A phrase is too long.
    """
    own = options.vocabulary
    notes = notes_of(own.queries)
    whole = own
    if options.background == "auto":
        others = _unnamed(own.queries, notes)
        whole = Vocabulary((*own.names, OTHER), (*own.synonyms, others))
    background = OTHER if options.background == "auto" else options.background
    return Asked(
        vocabulary=whole,
        text=words.read(whole.queries),
        background=None if background == "none" else whole.names.index(background),
        notes=notes,
        weights=words.weights(whole.queries),
    )


def _unnamed(queries: Sequence[str], notes: Sequence[WordNote]) -> tuple[str, ...]:
    """Literal names of the concepts that no known phrase names; an unknown one is not let to take a concept away."""
    taken = {number for note, numbers in zip(notes, named(queries), strict=True) if note.known for number in numbers}
    return tuple(concept.name for number, concept in enumerate(CONCEPTS) if number not in taken)
