"""The driver's part: stage by stage, one task a block, those that are measured already left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from eopipe.engine.statistics.store import StatisticsStore
from eopipe.engine.statistics.task import BlockReport, record_failure, run_block
from eopipe.engine.work.driver import Watcher, consume, why_dead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from distributed import Client, Future

    from eopipe.engine.statistics.planning import PlannedBlock, StatisticsPlan
    from eopipe.engine.work.driver import Stop
    from eopipe.engine.work.worker_state import RunContext


class BlockWatcher(Watcher, Protocol):
    """Who is told of blocks too."""

    def block(self, report: BlockReport, ended: int, total: int) -> None:
        """A block ended, as so many of all stages' blocks did by now."""


def left_of(plan: StatisticsPlan, done: set[tuple[str, str, str]]) -> list[list[PlannedBlock]]:
    """Blocks that are not measured, by stage."""
    return [
        [block for block in stage.blocks.values() if (block.stage, block.block.name, block.inputs) not in done]
        for stage in plan.stages
    ]


def measure(
    client: Client,
    context: RunContext,
    *,
    watcher: BlockWatcher,
    stop: Stop,
    check_lease: Callable[[], None],
    stop_now: Callable[[], None] = lambda: None,
) -> Iterator[BlockReport]:
    """Measure what is not measured, one stage after the other; yields each report as its block ends.

    A stage begins once the one before has ended everywhere: its blocks see that one's numbers around them.

    Args:
        client: Of a cluster whose workers have the context.
        context: With the plan of the statistics.
        watcher: Told of every block and of what else happens.
        stop: Asked by signals: no further stage begins.
        check_lease: Raises once the output's lease is lost.
        stop_now: Kills local workers, for a second signal.

    Raises:
        ClusterError: There is no worker for long, or the scheduler is gone.
        LeaseError: The lease ran out, or another run took the output.
    """
    if context.statistics is None:
        return
    store = StatisticsStore(context.storage)
    left = left_of(context.statistics, store.done())
    total = context.statistics.blocks
    ended = total - sum(map(len, left))
    for number, blocks in enumerate(left):
        if stop.count or not blocks:
            continue
        futures = _submit(client, context, number, blocks)
        for index, future in consume(
            client,
            futures,
            what="blocks of statistics",
            watcher=watcher,
            stop=stop,
            check_lease=check_lease,
            stop_now=stop_now,
        ):
            ended += 1
            report = _report(future, blocks[index], store)
            watcher.block(report, ended, total)
            yield report


def _submit(client: Client, context: RunContext, number: int, blocks: list[PlannedBlock]) -> list[Future[Any]]:
    keys = [f"block-{context.run_id}-{number}-{block.block.name}" for block in blocks]
    places = [block.block for block in blocks]
    futures: list[Future[Any]] = client.map(_task, places, key=keys, run_id=context.run_id, number=number, pure=False)
    return futures


def _task(block: Any, *, run_id: str, number: int) -> BlockReport:
    return run_block(run_id, number, block)


def _report(future: Future[Any], planned: PlannedBlock, store: StatisticsStore) -> BlockReport:
    """The task's own report; a task that died with its worker becomes a failure here."""
    if future.status == "finished":
        report: BlockReport = future.result()
        return report
    reason, detail = why_dead(future, "block of statistics")
    record_failure(store, planned, reason=reason, step="worker", detail=detail)
    return BlockReport(planned.stage, planned.block.name, "failed", reason, detail)
