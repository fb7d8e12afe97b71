"""A run, from spec to STAC: search → snapshot → plan → tiles on Dask → pyramid → STAC → quicklook."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
from dask.system import CPU_COUNT
from dask.utils import parse_bytes

from eopipe import run_folder
from eopipe.engine.cluster import open_cluster, wait_for_workers
from eopipe.engine.cluster.resources import memory_a_worker
from eopipe.engine.finish.finish import finish
from eopipe.engine.output import run_json
from eopipe.engine.output.lease import Lease
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.layouts import cog_info, feature_layout, mosaic_layout
from eopipe.engine.plan.model import Workers
from eopipe.engine.plan.open import freeze, freeze_precision, open_run
from eopipe.engine.plan.preview import PlannedRun
from eopipe.engine.work.calibrate import calibrate_in_process, calibrate_on_worker
from eopipe.engine.work.driver import Stop, TaskLoop, catching_signals
from eopipe.engine.work.feature_basis import choose_basis, wants_basis
from eopipe.engine.work.preflight import preflight, require_package
from eopipe.engine.work.worker_state import ContextPlugin, RunContext
from eopipe.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from eopipe.engine.cluster import ClusterHandle
    from eopipe.engine.display import Display
    from eopipe.engine.plan.model import Calibration, Plan
    from eopipe.engine.plan.open import Opened
    from eopipe.engine.work.task_shell import TaskReport
    from eopipe.spec import RunSpec


WORKER_SECONDS = 300.0
"""How long to wait for a cluster's workers: a queue of jobs or pods may take minutes."""


@dataclass
class Session:
    """Figures of one start of a run; become ``sessions/<time>.json`` and the summary."""

    started: datetime
    tiles: Counter[str] = field(default_factory=Counter)
    blocks: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    retries: int = 0
    notes: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    def add(self, report: TaskReport, counts: Counter[str]) -> None:
        """Count a tile or a block."""
        counts[report.status] += 1
        self.seconds.update(report.seconds)
        self.bytes_read += report.bytes_read
        self.retries += report.retries
        self.notes.extend(report.warnings)


def local_workers(spec: RunSpec) -> Workers:
    """What a plan assumes of the cluster before there is one: this machine, divided."""
    cluster = spec.cluster
    count = (cluster.workers if cluster else None) or CPU_COUNT
    memory = cluster.memory if cluster else None
    return Workers(count=count, memory=int(parse_bytes(memory)) if memory else memory_a_worker(count))


def plan_spec(spec: RunSpec, *, now: datetime, allow_empty: bool = False, strict: bool = False) -> PlannedRun:
    """Plan a run on this machine, calibrated in a process of its own; nothing is written.

    Args:
        spec: What to do.
        now: Time that relative dates are measured from.
        allow_empty: Whether a search without a match is fine.
        strict: Whether prompts outside the kernel's vocabulary are refused.

    Raises:
        EopipeError: As of :func:`execute`.
    """
    opened = open_run(spec, now=now, allow_empty=allow_empty, strict=strict)
    opened, calibration = freeze_precision(opened, partial(calibrate_in_process, opened.source))
    plan = opened.plan(workers=local_workers(spec), calibration=calibration)
    return PlannedRun(opened.job, plan, opened.storage.url())


def execute(
    spec: RunSpec,
    *,
    display: Display,
    now: datetime | None = None,
    allow_empty: bool = False,
    strict: bool = False,
    calibration: Calibration | None = None,
    opening: Callable[[], Opened] | None = None,
) -> dict[str, Any]:
    """Run a spec to its end, or resume it.

    Args:
        spec: What to do.
        now: Time that relative dates are measured from; the present where None.
        allow_empty: Whether a search without a match is fine.
        strict: Whether prompts outside the kernel's vocabulary are refused.
        display: Shows progress.
        calibration: Figures of a worker, if known already; measured where None.
        opening: Opens the output; :func:`eopipe.engine.plan.open.open_run` where None.

    Returns:
        The summary, with ``exit_status``: 0, 3 where tiles failed, 130 or 143 where it was drained.

    Raises:
        EopipeError: Whatever a user can correct, with its exit status.
    """
    moment = now or datetime.now(UTC).replace(microsecond=0)
    stop = Stop()
    search = partial(open_run, spec, now=moment, allow_empty=allow_empty, strict=strict, searching=display.searching)
    phase = "search" if opening is None else "open"
    opening = opening or search
    with ExitStack() as stack:
        stack.enter_context(catching_signals(stop))
        display.phase(phase)
        opened = opening()
        lease = stack.enter_context(Lease(opened.storage))
        if opened.before is None and run_json.load(opened.storage) is not None:
            opened = opening()  # another run froze it meanwhile
        display.searched(opened.snapshot, opened.report)
        display.phase("cluster")
        cluster = stack.enter_context(open_cluster(spec.cluster))
        wait_for_workers(cluster.client, cluster.workers or 1, WORKER_SECONDS)
        require_package(cluster.client, opened.job.spec.kernel.name)
        if calibration is None:
            display.phase("calibrate")
            opened, calibration = freeze_precision(
                opened, partial(calibrate_on_worker, cluster.client, opened.source)
            )
        plan, basis = opened.plan(workers=workers_of(cluster), calibration=calibration), None
        display.planned(plan)
        if opened.before is None and wants_basis(opened.job.kernel.info):
            display.phase("basis")
            plan, basis = choose_basis(opened.job, opened.snapshot, plan, cluster.client)
        freeze(opened, plan, basis)
        return _map(opened, plan, cluster, display=display, stop=stop, check_lease=lease.check)


def _map(
    opened: Opened,
    plan: Plan,
    cluster: ClusterHandle,
    *,
    display: Display,
    stop: Stop,
    check_lease: Callable[[], None],
) -> dict[str, Any]:
    """Statistics, tiles, and what is made of all tiles; returns the summary."""
    session, client = Session(started=datetime.now(UTC)), cluster.client
    context = make_context(opened, plan)
    plugin = ContextPlugin(context)
    client.register_plugin(plugin)
    try:
        display.phase("preflight")
        session.notes.extend(preflight(client, context, plan))
        loop = TaskLoop(client, context, display, stop, check_lease, cluster.stop_now)
        begun = time.monotonic()
        with stop.while_tiles_run():
            if context.statistics is not None:
                display.phase("statistics")
            for report in loop.blocks():
                session.add(report, session.blocks)
            display.start(total=len(plan.tiles), left=len(context.tiles), plan=plan, dashboard=cluster.dashboard)
            for report in loop.tiles():
                session.add(report, session.tiles)
                session.reasons.update([report.reason] if report.reason else [])
        session.elapsed = time.monotonic() - begun
        display.phase("finish")
        products = finish(opened, plan, client=client, drained=stop.count > 0)
    finally:
        client.unregister_worker_plugin(plugin.name)
    summary = _summary(opened, plan, session, products=products, cluster=cluster, stop=stop)
    opened.storage.put(run_folder.session(session.started), json.dumps(summary, indent=1).encode())
    display.done(summary)
    return summary


def make_context(opened: Opened, plan: Plan) -> RunContext:
    """What the workers must know: the tiles that the ledger does not hold yet, and how to make them."""
    job, ledger = opened.job, Ledger(opened.storage)
    done = ledger.done()
    return RunContext(
        run_id=os.urandom(6).hex(),
        storage=opened.storage,
        snapshot_hash=opened.snapshot.hash,
        layout=mosaic_layout(job, plan.tile),
        region=job.region,
        kernel=job.kernel,
        read=job.read,
        source=opened.source,
        cog=cog_info(job) if job.spec.output.cog else None,
        tiles=tuple(tile for tile in plan.tiles if tile.key not in done),
        attempts=ledger.attempts(),
        features=feature_layout(job, plan.tile),
        statistics=plan.statistics.plan if plan.statistics is not None else None,
    )


def workers_of(cluster: ClusterHandle) -> Workers:
    """How many tasks the cluster's workers do at once, and the least memory that one of them has.

    Raises:
        ClusterError: It has none.
    """
    workers = cluster.client.scheduler_info(n_workers=-1)["workers"].values()
    if not workers:
        raise ClusterError("the cluster has no worker; start one, or set cluster.workers")
    limits = [worker["memory_limit"] // worker["nthreads"] for worker in workers if worker["memory_limit"]]
    return Workers(count=sum(worker["nthreads"] for worker in workers), memory=min(limits) if limits else None)


def _summary(
    opened: Opened, plan: Plan, session: Session, *, products: dict[str, Any], cluster: ClusterHandle, stop: Stop
) -> dict[str, Any]:
    counts = products.pop("counts")
    drained = stop.count > 0 and counts.get("not_run", 0) > 0
    status = 128 + (stop.signum or 0) if drained else 3 if counts.get("failed") else 0
    mapped = session.tiles["done"] + session.tiles["masked"] + session.tiles["empty"]
    km2 = plan.km2 * mapped / max(len(plan.tiles), 1)
    statistics = {}
    if plan.statistics is not None:
        measured, failed = session.blocks["done"], session.blocks["failed"]
        statistics = {"statistics": {"blocks": plan.statistics.plan.blocks, "measured": measured, "failed": failed}}
    return {
        "exit_status": status,
        "output": opened.storage.url(),
        "tiles": len(plan.tiles),
        **counts,
        "km2": round(plan.km2, 3),
        "km2_per_hour": round(km2 / session.elapsed * 3600, 1) if session.elapsed > 0 and mapped else None,
        "seconds": round(session.elapsed, 2),
        "seconds_by_stage": {stage: round(spent, 2) for stage, spent in session.seconds.items()},
        "bytes_read": session.bytes_read,
        "retries": session.retries,
        **statistics,
        "failed_reasons": dict(session.reasons),
        "session": {
            "started": session.started.isoformat(),
            "host": socket.gethostname(),
            "cpus": psutil.cpu_count(),
            "cluster": cluster.describe(),
            "plan": plan.summary(),
        },
        "warnings": [*plan.warnings, *session.notes],
        **products,
    }
