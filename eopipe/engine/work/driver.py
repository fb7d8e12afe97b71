"""The driver's loop: submit one task a tile or block, consume each as it completes, drain after a signal."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import dask.array as da
import numpy as np
from distributed import Future, as_completed, futures_of

from eopipe.engine.output.ledger import Ledger
from eopipe.engine.output.record import Failure
from eopipe.engine.statistics.store import StatisticsStore
from eopipe.engine.work.block import run_block
from eopipe.engine.work.task_shell import TaskReport
from eopipe.engine.work.tile import run_tile
from eopipe.errors import ClusterError, Interrupted, TileFault, one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client

    from eopipe.engine.work.task_shell import Planned
    from eopipe.engine.work.worker_state import RunContext

POLL = 0.1
"""Seconds between looks at signals, the lease and the workers."""

NO_WORKER_SECONDS = 300.0
"""After so long without a worker the run ends (exit status 4); what was recorded stays."""


class Watcher(Protocol):
    """Receives tiles and blocks of statistics as they end; the progress display is one."""

    def tile(self, report: TaskReport) -> None:
        """A tile ended."""

    def block(self, report: TaskReport, ended: int, total: int) -> None:
        """A block of statistics ended, as so many of all stages' blocks did by now."""

    def note(self, line: str) -> None:
        """Something worth a line happened."""


@dataclass
class Stop:
    """A request to stop: while tiles run, the first signal drains and the second stops at once.

    Before and after the tiles there is nothing to drain: a signal ends the run there and then, and the next start
    repeats what was interrupted.
    """

    signum: int | None = None
    count: int = 0
    draining: bool = False

    def request(self, signum: int, _frame: object = None) -> None:
        """Handler of SIGINT and SIGTERM."""
        self.signum, self.count = signum, self.count + 1
        if not self.draining:
            raise Interrupted(f"stopped by {signal.Signals(signum).name}; run again to resume", signum)

    @contextmanager
    def while_tiles_run(self) -> Iterator[None]:
        """Let signals drain instead of raise."""
        self.draining = True
        try:
            yield
        finally:
            self.draining = False


@contextmanager
def catching_signals(stop: Stop) -> Iterator[None]:
    """SIGINT and SIGTERM ask ``stop``; outside the main thread (a notebook's worker) they are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop.request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def submit(client: Client, context: RunContext) -> list[Future[Any]]:
    """One task a tile, a block of a 1-D array each; returns their futures in the order of the tiles."""
    count = len(context.tiles)
    blocks = da.map_blocks(
        _tile_as_block,
        context.run_id,
        chunks=((1,) * count,),
        dtype=object,
        meta=np.empty(0, dtype=object),
        name=f"tile-{context.run_id}",
    )
    return list(futures_of(client.persist(blocks, optimize_graph=False)))


def _tile_as_block(run_id: str, block_id: tuple[int, ...] | None = None) -> np.ndarray[Any, Any]:
    """One block of the 1-D array of remaining tiles: its number indexes the worker's list."""
    assert block_id is not None
    reports = np.empty(1, dtype=object)
    reports[0] = run_tile(run_id, block_id[0])
    return reports


@dataclass(frozen=True)
class TaskLoop:
    """Runs the tasks of a run; nothing begins once a stop was requested.

    Args:
        client: Of a cluster whose workers have the context.
        context: With the tiles still to be done, and all blocks of statistics.
        watcher: Receives every report, and lines on what else happens.
        stop: Set by signals.
        check_lease: Raises once the output's lease is lost.
        stop_now: Kills local workers, for a second signal.
    """

    client: Client
    context: RunContext
    watcher: Watcher
    stop: Stop
    check_lease: Callable[[], None]
    stop_now: Callable[[], None]

    def tiles(self) -> Iterator[TaskReport]:
        """Run all tiles; yields each report as its tile ends.

        Raises:
            ClusterError: No worker for :data:`NO_WORKER_SECONDS`, or the scheduler is gone.
            LeaseError: The lease ran out, or another run took the output.
        """
        tiles, ledger, attempts = self.context.tiles, Ledger(self.context.storage), self.context.attempts
        if not tiles or self.stop.count:
            return
        for index, future in self._consume(submit(self.client, self.context), "tiles"):
            tile = tiles[index]
            report = _report(future, tile, "tile", ledger.fail, attempt=attempts.get(tile.key, 0) + 1)
            self.watcher.tile(report)
            yield report

    def blocks(self) -> Iterator[TaskReport]:
        """Measure every block that is not measured, stage by stage; yields each report as its block ends.

        A stage begins once the one before has ended everywhere: its blocks use that one's numbers around them.

        Raises:
            ClusterError: No worker for :data:`NO_WORKER_SECONDS`, or the scheduler is gone.
            LeaseError: The lease ran out, or another run took the output.
        """
        plan, run_id, store = self.context.statistics, self.context.run_id, StatisticsStore(self.context.storage)
        if plan is None:
            return
        done = store.done()
        ended = plan.blocks - len(plan.keys - done)
        for number, stage in enumerate(plan.stages):
            left = [block for block in stage.blocks.values() if (block.stage, *block.key) not in done]
            if self.stop.count or not left:
                continue
            keys = [f"block-{run_id}-{number}-{block.block.name}" for block in left]
            squares = [block.block for block in left]
            futures = self.client.map(run_block, squares, key=keys, run_id=run_id, number=number, pure=False)
            fail = partial(store.fail, stage.info.name)
            for index, future in self._consume(futures, "blocks of statistics"):
                ended += 1
                report = _report(future, left[index], "block of statistics", fail)
                self.watcher.block(report, ended, plan.blocks)
                yield report

    def _consume(self, futures: list[Future[Any]], noun: str) -> Iterator[tuple[int, Future[Any]]]:
        """Tasks as they end: number and future, which is released once the caller has looked at it.

        Args:
            futures: Submitted; emptied, so that only the caller holds a result.
            noun: What they are, in the plural, for people.
        """
        index: dict[Any, int] = {future.key: number for number, future in enumerate(futures)}
        pending: set[Any] = set(index)
        completed = as_completed(list(futures), loop=self.client.loop, raise_errors=False)
        futures.clear()
        guard = _Guard(self.client, self.check_lease)
        draining = False
        while pending:
            if self.stop.count > 1:
                self.watcher.note("second signal: stopping at once; what was recorded stays, run again to resume")
                self.stop_now()
                return
            if self.stop.count and not draining:
                draining = True
                waiting = _drain(self.client, pending)
                pending -= waiting
                self.watcher.note(
                    f"draining: {len(pending)} {noun} under way are finished, {len(waiting)} are left for a resume"
                )
                continue
            guard.check()
            if not completed.has_ready():
                time.sleep(POLL)
                continue
            for future in completed.next_batch(block=False):
                if future.key not in pending:
                    continue
                pending.discard(future.key)
                yield index[future.key], future
                future.release()


def _drain(client: Client, pending: set[Any]) -> set[Any]:
    """Cancel the tasks that no worker has begun; returns their keys."""
    under_way = {str(key) for keys in client.processing().values() for key in keys}
    waiting = {key for key in pending if str(key) not in under_way}
    client.cancel([Future(key, client) for key in waiting], force=True)
    return waiting


def _report(
    future: Future[Any], planned: Planned, noun: str, fail: Callable[[Failure], object], *, attempt: int = 1
) -> TaskReport:
    """The task's own report; a task that died with its worker is recorded as a failure by the driver."""
    if future.status == "finished":
        result = future.result()
        report: TaskReport = result[0] if isinstance(result, np.ndarray) else result
        return report
    fault = _fault_of_dead(future, noun)
    fail(Failure.of(planned.key, fault, "worker", attempt=attempt))
    return TaskReport(planned.subject, "failed", fault.reason, fault.detail)


def _fault_of_dead(future: Future[Any], noun: str) -> TileFault:
    """Why a task gave no report of its own."""
    error = future.exception() if future.status == "error" else None
    if type(error).__name__ == "KilledWorker":
        return TileFault(
            "worker.killed",
            f"the worker died on this {noun} again and again, most often for lack of memory; "
            f"give workers more memory",
        )
    detail = one_line(error or future.status, 300)
    return TileFault(f"task.{type(error).__name__ if error else future.status}", detail)


class _Guard:
    """Looks every few seconds whether there is still a scheduler, a worker and our lease."""

    INTERVAL = 2.0

    def __init__(self, client: Client, check_lease: Callable[[], None]) -> None:
        self._client, self._check_lease = client, check_lease
        self._next = 0.0
        self._last_worker = time.monotonic()

    def check(self) -> None:
        """Raise when the run cannot go on."""
        self._check_lease()
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self.INTERVAL
        if self._client.status not in {"running", "connecting"}:
            raise ClusterError(
                "the connection to the scheduler is gone; start the cluster again and run again to resume"
            )
        if self._client.scheduler_info(n_workers=1)["workers"]:
            self._last_worker = now
        elif now - self._last_worker > NO_WORKER_SECONDS:
            raise ClusterError(
                f"no worker for {NO_WORKER_SECONDS:.0f} s; look at the cluster's logs, then run again to resume"
            )
