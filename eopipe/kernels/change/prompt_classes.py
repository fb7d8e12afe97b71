"""Which land-cover classes a prompt stands for, so that their probabilities say where it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.spectral.options import TEACHER_CLASSES
from eopipe.kernels.known_words import named, notes_of
from eopipe.models.mini import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.ovss.options import Prompts

BUILDING_SITE = ("built", "bare", "snow")
"""A building site is bare, and fresh concrete is as bright as snow. Found on labelled pairs of dates."""

BUILDING_SITES = frozenset({"construction", "construction site", "building site", "urban change"})
"""Phrases that mean a place being built on, which a sentence encoder takes for a building."""


@dataclass(frozen=True)
class Meaning:
    """The prompts, read.

    Args:
        names: Of the prompts.
        phrases: Of all of them.
        classes: Of each prompt, names of land-cover classes, in their order.
        notes: Of each phrase that was read by the words' table.
        weights: Files and sha256 that the reading comes from.
    """

    names: tuple[str, ...]
    phrases: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    notes: tuple[WordNote, ...]
    weights: Mapping[str, str]

    @property
    def told(self) -> dict[str, list[str]]:
        """Classes by prompt."""
        return {name: list(classes) for name, classes in zip(self.names, self.classes, strict=True)}

    def likely(self, probability: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[prompt, y, x]``: how likely a pixel is what each prompt stands for, of ``[9, y, x]``."""
        found = np.zeros((len(self.names), *probability.shape[1:]), np.float32)
        for number, classes in enumerate(self.classes):
            for name in classes:  # one after the other: a product of matrices adds in an order of its own
                found[number] += probability[TEACHER_CLASSES.index(name)]
        return found


def meaning(prompts: Prompts, teacher_classes: Mapping[str, tuple[str, ...]]) -> Meaning:
    """Read the prompts.

    Args:
        prompts: Names with their phrases.
        teacher_classes: Land-cover classes of some of them, by name; the others' are read from their phrases.

    Raises:
        WeightsError: A phrase is not in the shipped table, and the sentence encoder is not installed.
        SpecError: A phrase is too long.
    """
    asked: list[str] = []
    classes = []
    for name, phrases in prompts:
        found = set(teacher_classes.get(name, ()))
        if not found:
            asked += [phrase for phrase in phrases if words.plain(phrase) not in BUILDING_SITES]
            for phrase in phrases:
                found |= _read(phrase)
        classes.append(tuple(each for each in TEACHER_CLASSES if each in found))
    notes = notes_of(asked) if asked else ()
    names = tuple(name for name, _ in prompts)
    said = tuple(phrase for _, phrases in prompts for phrase in phrases)
    return Meaning(names, said, tuple(classes), notes, words.weights(asked) if asked else {})


def _read(phrase: str) -> set[str]:
    if words.plain(phrase) in BUILDING_SITES:
        return set(BUILDING_SITE)
    return {TEACHER_CLASSES[number] for number in named([phrase])[0]}
