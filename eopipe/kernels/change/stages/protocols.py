"""What a stage of change detection is, before it is loaded and after.

A new stage is one class in one file, a frozen dataclass on `ChangeStage`, and a line in
`eopipe.kernels.change.dynamicearth.by_name`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from eopipe.errors import SpecError
from eopipe.kernels.change.masks.proposals import Proposals
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.pair import RGB, DatePair

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.kernels.change.stages.pair import BandStretch
    from eopipe.kernels.known_words import WordNote
    from eopipe.models.foundation.resolve import Resolved


@dataclass(frozen=True, eq=False)
class Comparison:
    """A comparer's answer about objects ``[N]`` or pixels ``[H, W]``.

    Args:
        score: The comparer's own measure; more is more change; nan where there was nothing to compare.
        ratio: The score on a scale where 1 is the least that counts as a change; nan likewise.
        changed: Which of them look different; false for nan.
    """

    score: NDArray[np.float64]
    ratio: NDArray[np.float64]
    changed: NDArray[np.bool_]


Proposer = Callable[[DatePair], Proposals | None]
"""Objects of both dates, whatever their class; None: there are no objects, each pixel is judged by itself."""

Encoder = Callable[[DatePair, int], NDArray[np.float32]]
"""Features ``[C, h, w]`` of date 0 or 1, not normalised; the corner cells' middles lie on the corner pixels."""

Comparer = Callable[[DatePair, Masks | None], Comparison]
"""Which objects, or (None) pixels, look different."""

Identifier = Callable[[DatePair, int], NDArray[Any]]
"""Class probabilities ``[K, h, w]`` of date 0 or 1, on a grid of its own; class 0 is background."""

Detector = Callable[[DatePair, int], Proposals]
"""I-M-C's identifier with its masks: objects of the prompts' classes on date 0 or 1."""

Loaded_co = TypeVar("Loaded_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class ChangeStage(ABC, Generic[Loaded_co]):
    """A stage whose files were found and checked: small, and picklable.

    Args:
        bands: Canonical names of the bands that it reads.
        weights: File and sha256: part of the tile recipe.
        provenance: For the run's record: the option that names the stage, and what it is made of.
        notes: What its user should know, one line each.
        path_options: Options that only state where a file lies.
        words: How near each phrase is to what was taught, where the stage compares it with taught phrases.
    """

    PIXEL_BYTES: ClassVar[int] = 0

    bands: tuple[str, ...] = ()
    weights: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    path_options: tuple[str, ...] = ()
    words: tuple[WordNote, ...] = ()

    @abstractmethod
    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Loaded_co:
        """Read the tensors.

        Args:
            stretch: How pixels become pictures.
            device: Where it runs.
            threads: On a CPU.

        Returns:
            The function that runs the stage.

        Raises:
            WeightsError: A file is missing on this machine, or differs from the one that was checked.
        """

    def memory(self, side: int) -> int:
        """Peak bytes of its work beside its input, by the side of a picture: `PIXEL_BYTES` for each of its pixels.

        Weights are not counted: a worker at rest holds them.
        """
        return self.PIXEL_BYTES * side * side


def of_models(**models: Resolved) -> dict[str, Any]:
    """The fields of a stage of foundation models, which see photographs.

    Args:
        models: By the option that names each.
    """
    return {
        "bands": RGB,
        "weights": {file: sha256 for model in models.values() for file, sha256 in model.weights.items()},
        "provenance": {option: model.provenance for option, model in models.items()},
        "notes": tuple(note for model in models.values() for note in model.notes),
        "path_options": tuple(option for option, model in models.items() if model.places),
    }


def merged(*stages: ChangeStage[Any]) -> dict[str, Any]:
    """The fields of a stage that is made of others; each note, and each option, once."""
    return {
        "bands": tuple(dict.fromkeys(band for stage in stages for band in stage.bands)),
        "weights": {file: sha256 for stage in stages for file, sha256 in stage.weights.items()},
        "provenance": {option: value for stage in stages for option, value in stage.provenance.items()},
        "notes": tuple(dict.fromkeys(note for stage in stages for note in stage.notes)),
        "path_options": tuple(dict.fromkeys(option for stage in stages for option in stage.path_options)),
        "words": tuple(note for stage in stages for note in stage.words),
    }


@contextmanager
def refused_prompts(model: str) -> Iterator[None]:
    """Turn what a model's own options refuse into one line.

    Raises:
        SpecError: It refuses the prompts.
    """
    try:
        yield
    except ValidationError as error:
        problem = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise SpecError(f"kernel.prompts: {model} does not take them: {problem}") from None
