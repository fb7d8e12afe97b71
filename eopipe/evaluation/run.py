"""Going through a labelled set: predict, count, keep; stopped and resumed at will."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from eopipe.errors import SpecError
from eopipe.evaluation.metrics import Confusion
from eopipe.evaluation.results_folder import Judgeable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.evaluation.results_folder import Kept


LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=Judgeable)


class Unusable(Exception):  # noqa: N818  (a reader's word to the loop; what users see is a line of the result)
    """Files of one sample that cannot be read or do not fit together: it is left out, counted and told."""


class Predictor(Protocol):
    """What is judged: a picture in, classes out."""

    def __call__(self, picture: NDArray[np.uint8], /) -> NDArray[np.uint8]:
        """Class numbers ``[H, W]`` of a picture ``[H, W, 3]``, or a pair ``[2, H, W, 3]``, red first; 255: none."""
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
        images: How many pictures were judged.
        resumed: How many of them were judged before.
        seconds: Spent on the others.
        skipped: By key, why pictures were left out, a line each.
    """

    confusion: Confusion
    images: int
    resumed: int
    seconds: float
    skipped: Mapping[str, str] = field(default_factory=dict)


def evaluate(
    samples: Sequence[S],
    read: Callable[[S], tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    predict: Predictor,
    *,
    classes: int,
    kept: Kept | None = None,
    display: Display | None = None,
) -> Judged:
    """Judge a predictor on a set.

    Args:
        samples: What is judged, in order.
        read: How files become pictures and truth; one it finds `Unusable` is left out, with a warning.
        predict: The predictor.
        classes: How many there are.
        kept: Where counts and maps go, and where a stopped evaluation goes on; None: nowhere.
        display: Who is told.

    Raises:
        SpecError: A file cannot be used, or all were left out.
        OutputError: ``kept`` cannot be written.
    """
    known = kept.known(samples) if kept is not None else {}
    total = sum(known.values(), Confusion.empty(classes))
    if display is not None:
        display.start(total=len(samples), done=len(known))
    begun = time.perf_counter()
    skipped: dict[str, str] = {}
    for sample in samples:
        if sample.key in known:
            continue
        try:
            picture, truth = read(sample)
        except Unusable as error:
            LOG.warning("left out: %s", error)
            skipped[sample.key] = str(error)
            continue
        prediction = np.asarray(predict(picture), np.uint8)
        found = Confusion.of(truth, prediction, classes=classes)
        if kept is not None:
            kept.add(sample, found, prediction)
        total += found
        if display is not None:
            display.judged(total)
    if samples and len(skipped) == len(samples):
        raise SpecError(
            f"none of the set's {len(samples):,} pictures can be used; of the first: {skipped[samples[0].key]}"
        )
    seconds = time.perf_counter() - begun
    return Judged(total, len(samples) - len(skipped), len(known), seconds, skipped)
