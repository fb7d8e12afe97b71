"""The pass over a labelled set: read, predict, count, store; it can be stopped and resumed."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from eopipe.errors import SpecError
from eopipe.evaluation.metrics import Confusion
from eopipe.text import hms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eopipe.evaluation.dataset import Sample
    from eopipe.evaluation.results_folder import ResultsFolder

LOG = logging.getLogger(__name__)

PLAIN_SECONDS = 10.0
"""Seconds between lines of progress where there is no terminal."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The arguments of an evaluation.

    Args:
        card: A shipped card's name, or a TOML file.
        data: The set's folder, or a STAC document.
        options: Kernel options by name; None means the card's, the published ones, or the kernel's default.
        limit: Highest number of pictures, pairs or places.
        out: Folder for maps and counts, and for resuming; None: nothing is stored.
        device: ``cpu``, ``cuda`` or ``auto``.
    """

    card: str
    data: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    limit: int | None = None
    out: Path | None = None
    device: str = "auto"


class Unusable(Exception):  # noqa: N818  (it ends one sample, not the evaluation)
    """The files of a sample cannot be read or do not fit together: it is left out, and the result names it."""


Predictor = Callable[["NDArray[np.uint8]"], "NDArray[np.uint8]"]
"""A model or a baseline: class numbers ``[H, W]`` of a picture ``[H, W, 3]``, or a pair ``[2, H, W, 3]``, red first;
255: none."""


@dataclass(frozen=True)
class Judged:
    """Outcome of a pass over a set.

    Args:
        confusion: Counts of the whole set.
        images: Judged pictures.
        resumed: Pictures among them whose counts were stored by an earlier pass.
        seconds: Time spent on the others.
        skipped: Reason a picture was left out, by key.
    """

    confusion: Confusion
    images: int
    resumed: int
    seconds: float
    skipped: Mapping[str, str] = field(default_factory=dict)


def evaluate(
    samples: Sequence[Sample],
    read: Callable[[Sample], tuple[NDArray[np.uint8], NDArray[np.uint8]]],
    predict: Predictor,
    *,
    classes: int,
    folder: ResultsFolder | None = None,
    display: ProgressDisplay | None = None,
) -> Judged:
    """Judge a predictor on a set.

    Args:
        samples: The set, in order.
        read: Picture and truth of a sample; one that is `Unusable` is left out, with a warning.
        predict: The predictor.
        classes: Number of classes.
        folder: Stores counts and maps, and those of a stopped pass are not computed again; None: nothing is stored.
        display: Shows the progress.

    Raises:
        SpecError: A file cannot be used, or all samples were left out.
        OutputError: ``folder`` cannot be written.
    """
    stored = folder.stored(samples) if folder is not None else {}
    total = sum(stored.values(), Confusion.empty(classes))
    if display is not None:
        display.start(total=len(samples), done=len(stored))
    begun = time.perf_counter()
    skipped: dict[str, str] = {}
    for sample in samples:
        if sample.key in stored:
            continue
        try:
            picture, truth = read(sample)
        except Unusable as error:
            LOG.warning("left out: %s", error)
            skipped[sample.key] = str(error)
            continue
        prediction = np.asarray(predict(picture), np.uint8)
        counts = Confusion.of(truth, prediction, classes=classes)
        if folder is not None:
            folder.add(sample, counts, prediction)
        total += counts
        if display is not None:
            display.judged(total)
    if samples and len(skipped) == len(samples):
        raise SpecError(
            f"none of the set's {len(samples):,} pictures can be used; of the first: {skipped[samples[0].key]}"
        )
    seconds = time.perf_counter() - begun
    return Judged(total, len(samples) - len(skipped), len(stored), seconds, skipped)


def choose_device(name: str) -> str:
    """``cpu`` or ``cuda``.

    Args:
        name: One of them, or ``auto``: a GPU where torch has one.

    Raises:
        SpecError: The name is none of these, or torch has no GPU.
    """
    import torch  # noqa: PLC0415  (slow to load)

    if name not in {"auto", "cpu", "cuda"}:
        raise SpecError(f"--device {name!r} is none; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise SpecError("--device cuda: torch sees no GPU; choose cpu, or install torch for your GPU")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def mean_iou_text(counts: Confusion) -> str:
    """Such as ``mIoU 36.9 %``."""
    return f"mIoU {counts.mean_iou * 100:.1f} %"


class ProgressDisplay:
    """Progress on standard error: a bar in a terminal, plain lines elsewhere; a context manager.

    Args:
        noun: What is counted, such as ``images``.
        terminal: Whether standard error is one; None: looked up.
        metric: Text of the metric of an evaluation.
    """

    def __init__(
        self,
        noun: str = "images",
        *,
        terminal: bool | None = None,
        metric: Callable[[Confusion], str] = mean_iou_text,
    ) -> None:
        self._noun, self._metric = noun, metric
        self._live = sys.stderr.isatty() if terminal is None else terminal
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn(noun), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"), console=self._console, disable=not self._live,
        )  # fmt: skip
        self._task = self._bar.add_task(noun, total=None, text="")
        self._total = self._done = self._before = 0
        self._begun = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, line: str) -> None:
        """Print a line."""
        self._console.print(line, markup=False)

    def start(self, *, total: int, done: int) -> None:
        """Begin to count to ``total`` from ``done``, which were done by an earlier call."""
        self._total, self._done, self._before = total, done, done
        self._begun = self._last_line = time.monotonic()
        self._bar.update(self._task, total=total, completed=done)

    def judged(self, counts: Confusion) -> None:
        """Count a picture; ``counts`` are the sum over all pictures so far."""
        self.advance(f"{self._metric(counts)} so far")

    def advance(self, text: str) -> None:
        """Count one, and show a text with the time that is left."""
        self._done += 1
        now = time.monotonic()
        left = (self._total - self._done) * (now - self._begun) / (self._done - self._before)
        text = f"{hms(left)} left, {text}"
        self._bar.update(self._task, completed=self._done, text=text)
        if not self._live and now - self._last_line >= PLAIN_SECONDS:
            self._last_line = now
            self.note(f"{self._done:,} of {self._total:,} {self._noun}, {text}")
