"""Land-cover classes that a prompt stands for: by their probabilities, how likely a pixel is what it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import AfterValidator

from eopipe.kernels.known_words import named, notes_of
from eopipe.kernels.land_cover import CLASSES
from eopipe.models.mini import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.kernels.known_words import WordNote
    from eopipe.kernels.ovss.options import Prompts

TEACHER_CLASSES = tuple(info.name for info in CLASSES)
"""Dynamic World's classes, in its order."""

BUILDING_SITE = ("built", "bare", "snow")
"""A building site is bare, and fresh concrete is as bright as snow. Chosen on labelled pairs of dates."""

BUILDING_SITES = frozenset({"construction", "construction site", "building site", "urban change"})
"""Phrases that mean a building site, which a sentence encoder takes for a building."""


def _check_classes(value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    for prompt, classes in value.items():
        unknown = [name for name in classes if name not in TEACHER_CLASSES]
        if unknown or not classes:
            problem = f"{unknown[0]!r} is no class" if unknown else "there is none"
            raise ValueError(f"of {prompt!r}, {problem}; name some of {', '.join(TEACHER_CLASSES)}")
    return value


TeacherClasses = Annotated[dict[str, tuple[str, ...]], AfterValidator(_check_classes)]
"""An option's type: land-cover classes by the name of the prompt that stands for them."""


def refuse_unknown_prompts(classes: Mapping[str, tuple[str, ...]], prompts: Prompts) -> None:
    """Refuse classes of a prompt that the spec does not name.

    Raises:
        ValueError: There are some.
    """
    names = [name for name, _ in prompts]
    unknown = [name for name in classes if name not in names]
    if unknown:
        raise ValueError(f"teacher_classes: {unknown[0]!r} is no prompt; the prompts are {', '.join(names)}")


@dataclass(frozen=True)
class PromptClasses:
    """The prompts, read.

    Args:
        names: Of the prompts.
        phrases: Of all of them.
        classes: Of each prompt, names of land-cover classes, in their order.
        notes: How near each phrase lies to what was taught, where its classes come from the phrase.
        weights: Files and sha256 that the reading comes from.
    """

    names: tuple[str, ...]
    phrases: tuple[str, ...]
    classes: tuple[tuple[str, ...], ...]
    notes: tuple[WordNote, ...]
    weights: Mapping[str, str]

    @property
    def by_prompt(self) -> dict[str, list[str]]:
        """Classes by the prompt's name."""
        return {name: list(classes) for name, classes in zip(self.names, self.classes, strict=True)}

    def likelihood(self, probability: NDArray[np.float32]) -> NDArray[np.float32]:
        """``[prompt, y, x]``: how likely a pixel is what each prompt names, of probabilities ``[9, y, x]``."""
        likelihood = np.zeros((len(self.names), *probability.shape[1:]), np.float32)
        for number, classes in enumerate(self.classes):
            for name in classes:  # one after the other: a product of matrices adds in an order of its own
                likelihood[number] += probability[TEACHER_CLASSES.index(name)]
        return likelihood


def read_prompts(prompts: Prompts, teacher_classes: Mapping[str, tuple[str, ...]]) -> PromptClasses:
    """Read the prompts.

    Args:
        prompts: Names with their phrases.
        teacher_classes: Land-cover classes of some of them, by name; the classes of the rest are read from phrases.

    Raises:
        WeightsError: A phrase is not in the shipped table, and the sentence encoder is not installed.
        SpecError: A phrase is too long.
    """
    looked_up: list[str] = []
    classes = []
    for name, phrases in prompts:
        named_classes = set(teacher_classes.get(name, ()))
        if not named_classes:
            looked_up += [phrase for phrase in phrases if words.plain(phrase) not in BUILDING_SITES]
            named_classes = {each for phrase in phrases for each in _classes_of(phrase)}
        classes.append(tuple(each for each in TEACHER_CLASSES if each in named_classes))
    return PromptClasses(
        tuple(name for name, _ in prompts),
        tuple(phrase for _, phrases in prompts for phrase in phrases),
        tuple(classes),
        notes_of(looked_up) if looked_up else (),
        words.weights(looked_up) if looked_up else {},
    )


def _classes_of(phrase: str) -> set[str]:
    if words.plain(phrase) in BUILDING_SITES:
        return set(BUILDING_SITE)
    return {TEACHER_CLASSES[number] for number in named([phrase])[0]}
