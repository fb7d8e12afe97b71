"""Going through a labelled set: predict, count, keep; stopped and resumed at will."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from eopipe.evaluation.metrics import Confusion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.evaluation.dataset import Reader, Sample
    from eopipe.evaluation.kept import Kept


class Predictor(Protocol):
    """What is judged: a picture in, classes out."""

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Class numbers ``[H, W]`` of a picture ``[H, W, 3]``, red first; 255 where it says nothing."""
        ...


class Display(Protocol):
    """Who is told how it goes."""

    def start(self, *, total: int, done: int) -> None:
        """So many pictures, of which so many were judged before."""
        ...

    def judged(self, confusion: Confusion) -> None:
        """One more; the counts of all so far."""
        ...


@dataclass(frozen=True)
class Judged:
    """How it went.

    Args:
        confusion: Of the whole set.
        images: How many pictures.
        resumed: How many of them were judged before.
        seconds: Spent on the others.
    """

    confusion: Confusion
    images: int
    resumed: int
    seconds: float


def evaluate(
    samples: Sequence[Sample],
    read: Reader,
    predict: Predictor,
    *,
    classes: int,
    kept: Kept | None = None,
    display: Display | None = None,
) -> Judged:
    """Judge a predictor on a set.

    Args:
        samples: What is judged, in order.
        read: How files become pictures and truth.
        predict: The predictor.
        classes: How many there are.
        kept: Where counts and maps go, and where a stopped evaluation goes on; None: nowhere.
        display: Who is told.

    Raises:
        SpecError: A file cannot be used.
        OutputError: ``kept`` cannot be written.
    """
    known = kept.known(samples) if kept is not None else {}
    total = sum(known.values(), Confusion.empty(classes))
    if display is not None:
        display.start(total=len(samples), done=len(known))
    begun = time.perf_counter()
    for sample in samples:
        if sample.key in known:
            continue
        picture, truth = read(sample)
        prediction = np.asarray(predict(picture), np.uint8)
        found = Confusion.of(truth, prediction, classes=classes)
        if kept is not None:
            kept.add(sample, found, prediction)
        total += found
        if display is not None:
            display.judged(total)
    return Judged(total, len(samples), len(known), time.perf_counter() - begun)
