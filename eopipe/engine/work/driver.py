"""The driver's loop: submit one task a tile, consume each as it completes, drain when asked to."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import dask.array as da
import numpy as np
from distributed import as_completed, futures_of

from eopipe.engine.output.ledger import Failure, Ledger
from eopipe.engine.work.tile import TileReport, run_tile
from eopipe.errors import ClusterError, Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client, Future

    from eopipe.engine.work.worker_state import RunContext

POLL = 0.1
"""Seconds between looks at signals, the lease and the workers."""

NO_WORKER_SECONDS = 300.0
"""After so long without a worker the run ends (exit status 4); what was recorded stays."""


class Watcher(Protocol):
    """Who is told of tiles (and blocks of statistics) as they end; the progress display, for one."""

    def tile(self, report: TileReport) -> None:
        """A tile ended."""
        ...

    def note(self, line: str) -> None:
        """Something worth a line happened."""
        ...


@dataclass
class Stop:
    """A request to stop: while tiles run, the first signal drains and the second stops at once.

    Before and after the tiles there is nothing to drain: a signal ends the run there and then, and what is
    half-made is made again by the next start.
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


def run_block(run_id: str, block_id: tuple[int, ...] | None = None) -> np.ndarray[Any, Any]:
    """One block of the 1-D array of remaining tiles: its number indexes the worker's list."""
    assert block_id is not None
    out = np.empty(1, dtype=object)
    out[0] = run_tile(run_id, block_id[0])
    return out


def submit(client: Client, context: RunContext) -> list[Future[Any]]:
    """One task a tile (DESIGN §5 "Engine"); returns their futures in the order of the tiles."""
    count = len(context.tiles)
    blocks = da.map_blocks(
        run_block,
        context.run_id,
        chunks=((1,) * count,),
        dtype=object,
        meta=np.empty(0, dtype=object),
        name=f"tile-{context.run_id}",
    )
    return list(futures_of(client.persist(blocks, optimize_graph=False)))


def drive(
    client: Client,
    context: RunContext,
    *,
    watcher: Watcher,
    stop: Stop,
    check_lease: Callable[[], None],
    stop_now: Callable[[], None] = lambda: None,
) -> Iterator[TileReport]:
    """Run all tiles of a context; yields each report as its tile ends. Nothing begins once a stop was asked for.

    Args:
        client: Of a cluster whose workers have the context.
        context: With the tiles still to be done.
        watcher: Told of every tile and of what else happens.
        stop: Asked by signals.
        check_lease: Raises once the output's lease is lost.
        stop_now: Kills local workers, for a second signal.

    Raises:
        ClusterError: No worker for :data:`NO_WORKER_SECONDS`, or the scheduler is gone.
        LeaseError: The lease ran out, or another run took the output.
    """
    if not context.tiles or stop.count:
        return
    for index, future in consume(
        client,
        submit(client, context),
        what="tiles",
        watcher=watcher,
        stop=stop,
        check_lease=check_lease,
        stop_now=stop_now,
    ):
        report = _report(future, index, context)
        watcher.tile(report)
        yield report


def consume(
    client: Client,
    futures: list[Future[Any]],
    *,
    what: str,
    watcher: Watcher,
    stop: Stop,
    check_lease: Callable[[], None],
    stop_now: Callable[[], None],
) -> Iterator[tuple[int, Future[Any]]]:
    """Tasks as they end: each one's number and its future, which is released once the caller has looked at it.

    Args:
        client: Of the cluster.
        futures: Submitted; emptied, so that nothing but the caller's hand holds a result.
        what: What they are, in the plural, for people.
        watcher: Told of what happens beside.
        stop: Asked by signals.
        check_lease: Raises once the output's lease is lost.
        stop_now: Kills local workers, for a second signal.

    Raises:
        ClusterError: No worker for :data:`NO_WORKER_SECONDS`, or the scheduler is gone.
        LeaseError: The lease ran out, or another run took the output.
    """
    index: dict[Any, int] = {future.key: number for number, future in enumerate(futures)}
    pending: set[Any] = set(index)
    completed = as_completed(list(futures), loop=client.loop, raise_errors=False)
    futures.clear()
    guard = _Guard(client, check_lease)
    draining = False
    while pending:
        if stop.count > 1:
            watcher.note("second signal: stopping at once; what was recorded stays, run again to resume")
            stop_now()
            return
        if stop.count and not draining:
            draining = True
            waiting = _drain(client, pending)
            pending -= waiting
            watcher.note(
                f"draining: {len(pending)} {what} under way are finished, {len(waiting)} are left for a resume"
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
    """Cancel what no worker has begun; returns the keys that were cancelled."""
    under_way = {key for keys in client.processing().values() for key in keys}
    waiting = {key for key in pending if str(key) not in {str(busy) for busy in under_way}}
    from distributed import Future  # noqa: PLC0415  (only a drained run needs it)

    client.cancel([Future(key, client) for key in waiting], force=True)
    return waiting


def _report(future: Future[Any], index: int, context: RunContext) -> TileReport:
    """The task's own report; a task that died with its worker becomes a failure here."""
    if future.status == "finished":
        report: TileReport = future.result()[0]
        return report
    reason, detail = why_dead(future, "tile")
    planned = context.tiles[index]
    Ledger(context.storage).fail(
        Failure(
            tile=planned.tile.name,
            inputs=planned.inputs,
            attempt=context.attempts.get(planned.key, 0) + 1,
            reason=reason,
            stage="worker",
            detail=detail,
            time=datetime.now(UTC),
        )
    )
    return TileReport(index, "failed", reason, detail)


def why_dead(future: Future[Any], what: str) -> tuple[str, str]:
    """Reason and detail of a task that gave no report of its own."""
    error = future.exception() if future.status == "error" else None
    if type(error).__name__ == "KilledWorker":
        said = f"the worker died on this {what} again and again, most often for lack of memory"
        return "worker.killed", f"{said}; give workers more memory"
    detail = " ".join(str(error or future.status).split())[:300]
    return f"task.{type(error).__name__ if error else future.status}", detail


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
