"""Progress on standard error: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from eopipe.evaluation.metrics import Confusion

PLAIN_SECONDS = 10.0
"""Between lines where there is no terminal."""


def mean_iou(confusion: Confusion) -> str:
    """What has been found so far, of classes."""
    return f"mIoU {confusion.mean_iou * 100:.1f} %"


class Told:
    """Says how far an evaluation is, what it has found so far, and when it will be done; a context manager.

    Args:
        terminal: Whether there is one; None: looked up.
        figure: What is said of the counts so far.
    """

    def __init__(self, *, terminal: bool | None = None, figure: Callable[[Confusion], str] = mean_iou) -> None:
        self._figure = figure
        self._live = sys.stderr.isatty() if terminal is None else terminal
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("images"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}"),
            console=self._console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("images", total=None, said="")
        self._total = self._done = self._here = 0
        self._begun = self._spoke = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def note(self, line: str) -> None:
        """Say something else."""
        self._console.print(line, markup=False)

    def start(self, *, total: int, done: int) -> None:
        """So many pictures, of which so many were judged before."""
        self._total, self._done = total, done
        self._begun = self._spoke = time.monotonic()
        self._bar.update(self._task, total=total, completed=done)

    def judged(self, confusion: Confusion) -> None:
        """One more; the counts of all so far."""
        self._done += 1
        self._here += 1
        now = time.monotonic()
        said = f"{clock((self._total - self._done) * (now - self._begun) / self._here)} left"
        said += f", {self._figure(confusion)} so far"
        self._bar.update(self._task, completed=self._done, said=said)
        if not self._live and now - self._spoke >= PLAIN_SECONDS:
            self._spoke = now
            self._console.print(f"{self._done:,} of {self._total:,} images, {said}", markup=False)


def clock(seconds: float) -> str:
    """Such as ``0:02:10``."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
