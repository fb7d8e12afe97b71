"""One shell for every task of a run, a tile's or a block's: its own key first, then the work; or a recorded failure.

A task never raises: any exception becomes a failure with a reason, in the run's folder and in its report. One table
gives the reasons, so that a fault has one name everywhere.
"""

from __future__ import annotations

import errno
import logging
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import torch

from eopipe.engine.output.record import Failure
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.work.strips import Stopwatch
from eopipe.errors import EopipeError, ItemError, OutputError, TileFault, WeightsError, one_line
from eopipe.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eopipe.run_folder import Key

LOG = logging.getLogger("eopipe.task")

_ERRNO = {
    errno.ENOSPC: "write.full",
    errno.EDQUOT: "write.full",
    errno.EACCES: "write.denied",
    errno.EPERM: "write.denied",
}


@dataclass(frozen=True)
class TaskReport:
    """A task's result for the driver; small, since the driver releases it at once.

    Args:
        subject: The tile, or the stage and block, as messages name it.
        status: ``done``, ``failed``, or ``present`` if it was recorded before; of a tile also ``empty``, ``masked``.
        reason: The ledger's code where it failed.
        detail: One line for people where it failed.
        seconds: By stage.
        bytes_read: Estimated by the reader from the blocks that it requested.
        retries: Reads that were tried again.
        warnings: Such as ``write.nondeterministic``.
    """

    subject: str
    status: str
    reason: str = ""
    detail: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    bytes_read: int = 0
    retries: int = 0
    warnings: tuple[str, ...] = ()


class Planned(Protocol):
    """A planned tile or block."""

    @property
    def key(self) -> Key:
        """Its name and the key of its inputs."""

    @property
    def subject(self) -> str:
        """As messages name it."""


class Task(Protocol):
    """One tile or block on a worker."""

    attempt: int

    @property
    def planned(self) -> Planned:
        """The tile or block."""

    def recorded(self) -> bool:
        """Whether it is done already: then nothing is to do."""

    def run(self, watch: Stopwatch) -> TaskReport:
        """Do it and record it, timing each stage."""

    def on_failure(self, failure: Failure) -> Mapping[str, Callable[[], object]]:
        """Steps after a failure, by name, ``record`` included; each is tried, whatever becomes of the others."""


def run_task(task: Task) -> TaskReport:
    """Do a task on this worker, unless its key exists; a fault is recorded and reported, never raised."""
    watch = Stopwatch()
    try:
        torch.set_num_threads(THREADS)
        with watch("check"):
            if task.recorded():
                return TaskReport(task.planned.subject, "present")
        return task.run(watch)
    except Exception as error:  # noqa: BLE001  (the seam: whatever stops a task becomes a record, and is named)
        return fail_task(task, watch, error)


def fail_task(task: Task, watch: Stopwatch, error: Exception) -> TaskReport:
    """Record why a task failed; a traceback is logged only for errors that do not explain themselves."""
    fault, subject = fault_of(error, watch.stage), task.planned.subject
    if not isinstance(error, (TileFault, EopipeError, MemoryError)):
        lines = redact("".join(traceback.format_exception(error)))
        LOG.warning("%s failed in %s:\n%s", subject, watch.stage, lines)
    notes = []
    failure = Failure.of(task.planned.key, fault, watch.stage, attempt=task.attempt)
    for name, step in task.on_failure(failure).items():
        try:
            step()
        except Exception as second:  # noqa: BLE001  (the first fault is the one to report; this one stands beside it)
            notes.append(f"{name} after the failure failed too: {fault_of(second, name).detail}")
    return TaskReport(
        subject, "failed", fault.reason, fault.detail, seconds=dict(watch.seconds), warnings=tuple(notes)
    )


def fault_of(error: BaseException, stage: str) -> TileFault:
    """From an exception to the ledger's reason.

    Args:
        error: What was raised.
        stage: Where: ``scenes``, ``read``, ``kernel``, ``write``, ``cog`` …
    """
    detail = one_line(redact(str(error)), 500) or type(error).__name__
    if isinstance(error, TileFault):
        return TileFault(error.reason, one_line(redact(error.detail), 500), transient=error.transient)
    return TileFault(_reason(error, stage), detail)


def _reason(error: BaseException, stage: str) -> str:
    if isinstance(error, OSError) and error.errno in _ERRNO:
        return _ERRNO[error.errno]
    named: dict[type[BaseException], str] = {
        MemoryError: f"{stage}.out_of_memory",
        torch.OutOfMemoryError: f"{stage}.out_of_memory",
        OutputError: getattr(error, "reason", "write.unreachable"),
        ItemError: "read.item",
        WeightsError: "kernel.weights",
    }
    return next(
        (reason for kind, reason in named.items() if isinstance(error, kind)), f"{stage}.{type(error).__name__}"
    )
