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
from eopipe.engine.derived.rethreshold_plan import plan_cut, weigh
from eopipe.engine.finish.finish import finish
from eopipe.engine.output import run_json
from eopipe.engine.output.lease import Lease
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.layouts import cog_info, feature_layout, mosaic_layout
from eopipe.engine.plan.make import Plan, Workers, make_plan
from eopipe.engine.plan.memory import GDAL_CACHE
from eopipe.engine.plan.open import Opened, freeze, open_run, read_settings
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.plan.tiles import PlannedTile
from eopipe.engine.sources.kept_features import stand_in
from eopipe.engine.statistics.driver import measure
from eopipe.engine.work.calibrate import Calibration, calibrate_on_worker
from eopipe.engine.work.driver import Stop, catching_signals, drive
from eopipe.engine.work.feature_basis import choose_basis, wants_basis
from eopipe.engine.work.precision import freeze_precision
from eopipe.engine.work.preflight import preflight, require_package
from eopipe.engine.work.worker_state import ContextPlugin, RunContext
from eopipe.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from eopipe.engine.cluster import ClusterHandle
    from eopipe.engine.display import Display
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.statistics.task import BlockReport
    from eopipe.engine.work.tile import TileReport
    from eopipe.spec import RunSpec


WORKER_SECONDS = 300.0
"""How long to wait for a cluster's workers: a queue of jobs or pods may take minutes."""


@dataclass
class Session:
    """What one start of a run did; becomes ``sessions/<time>.json`` and the summary."""

    started: datetime
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    bytes_read: int = 0
    retries: int = 0
    blocks: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    elapsed: float = 0.0

    def add(self, report: TileReport) -> None:
        """Count a tile."""
        self.counts[report.status] += 1
        if report.reason:
            self.reasons[report.reason] += 1
        self._add(report)

    def add_block(self, report: BlockReport) -> None:
        """Count a block of statistics; where it failed, its tiles will say so."""
        self.blocks[report.status] += 1
        self._add(report)

    def _add(self, report: TileReport | BlockReport) -> None:
        self.seconds.update(report.seconds)
        self.bytes_read += report.bytes_read
        self.retries += report.retries
        self.notes.extend(report.warnings)


def local_workers(spec: RunSpec) -> Workers:
    """What the plan assumes of the cluster before there is one: this machine, divided."""
    cluster = spec.cluster
    count = (cluster.workers if cluster else None) or CPU_COUNT
    memory = cluster.memory if cluster else None
    return Workers(count=count, memory=int(parse_bytes(memory)) if memory else memory_a_worker(count))


def plan_run(opened: Opened, *, workers: Workers, calibration: Calibration) -> Plan:
    """Plan an opened run; nothing is written."""
    if opened.scored is not None:
        return plan_cut(opened, workers=workers, calibration=calibration)
    return make_plan(
        opened.job,
        opened.snapshot,
        workers=workers,
        calibration=calibration,
        read=read_settings(opened.job),
        tile=opened.tile,
        warnings=opened.warnings,
        features=opened.features,
    )


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
        now: What relative dates are measured from; the present where None.
        allow_empty: Whether a search without a match is fine.
        strict: Whether words that the kernel was not taught are refused.
        display: Told of everything.
        calibration: Known already; measured where None.
        opening: Opens the output; :func:`eopipe.engine.plan.open.open_run` where None.

    Returns:
        The summary, with ``exit_status``: 0, 3 where tiles failed, 130 or 143 where it was drained.

    Raises:
        EopipeError: Everything a user can mend, with its exit status.
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
        display.found(opened.snapshot, opened.found)
        display.phase("cluster")
        cluster = stack.enter_context(open_cluster(spec.cluster))
        wait_for_workers(cluster.client, cluster.workers or 1, WORKER_SECONDS)
        require_package(cluster.client, opened.job.spec.kernel.name)
        if calibration is None:
            opened, calibration = _calibrate(opened, cluster, display)
        plan = plan_run(opened, workers=workers_of(cluster), calibration=calibration)
        display.planned(plan)
        if wants_basis(opened):
            display.phase("basis")
            plan, basis = choose_basis(opened, plan, cluster.client)
            freeze(opened, plan, basis)
        else:
            freeze(opened, plan)
        return _map(opened, plan, cluster, display=display, stop=stop, check_lease=lease.check)


def _calibrate(opened: Opened, cluster: ClusterHandle, display: Display) -> tuple[Opened, Calibration]:
    """What a worker weighs and how fast it is, and the precision that follows; of no kernel, what it weighs."""
    if opened.scored is not None:
        return opened, weigh(cluster.client, opened.job.kernel.info)
    display.phase("calibrate")
    return freeze_precision(opened, partial(calibrate_on_worker, cluster.client, features=stand_in(opened.kept)))


def _map(
    opened: Opened,
    plan: Plan,
    cluster: ClusterHandle,
    *,
    display: Display,
    stop: Stop,
    check_lease: Callable[[], None],
) -> dict[str, Any]:
    session = Session(started=datetime.now(UTC))
    ledger = Ledger(opened.storage)
    done = ledger.done()
    left = tuple(tile for tile in plan.tiles if tile.key not in done)
    context = make_context(opened, plan, left, ledger)
    client = cluster.client
    plugin = ContextPlugin(context)
    client.register_plugin(plugin)
    try:
        display.phase("preflight")
        session.notes.extend(preflight(client, context, plan))
        begun = time.monotonic()
        with stop.while_tiles_run():
            _measure(context, session, cluster, display=display, stop=stop, check_lease=check_lease)
            display.start(total=len(plan.tiles), left=len(left), plan=plan, dashboard=cluster.dashboard)
            for report in drive(
                client, context, watcher=display, stop=stop, check_lease=check_lease, stop_now=cluster.stop_now
            ):
                session.add(report)
        session.elapsed = time.monotonic() - begun
        display.phase("finish")
        products = finish(opened, plan, client=client, drained=stop.count > 0)
    finally:
        client.unregister_worker_plugin(plugin.name)
    summary = _summary(opened, plan, session, products=products, cluster=cluster, stop=stop)
    opened.storage.put(run_folder.session(session.started), json.dumps(summary, indent=1).encode())
    display.done(summary)
    return summary


def _measure(
    context: RunContext,
    session: Session,
    cluster: ClusterHandle,
    *,
    display: Display,
    stop: Stop,
    check_lease: Callable[[], None],
) -> None:
    """The statistics that the tiles need, where the kernel declares any."""
    if context.statistics is None:
        return
    display.phase("statistics")
    for report in measure(
        cluster.client, context, watcher=display, stop=stop, check_lease=check_lease, stop_now=cluster.stop_now
    ):
        session.add_block(report)


def make_context(opened: Opened, plan: Plan, left: tuple[PlannedTile, ...], ledger: Ledger) -> RunContext:
    """What the workers are told."""
    job = opened.job
    attempts = Counter(failure.key for failure in ledger.failures())
    return RunContext(
        run_id=os.urandom(6).hex(),
        storage=opened.storage,
        snapshot_hash=opened.snapshot.hash,
        layout=mosaic_layout(job, plan.tile),
        region=job.region,
        kernel=job.kernel,
        read=read_settings(job),
        cog=cog_info(job) if job.spec.output.cog else None,
        tiles=left,
        attempts=dict(attempts),
        threads=THREADS,
        gdal_cache=GDAL_CACHE,
        features=feature_layout(job, plan.tile),
        kept=opened.kept,
        statistics=plan.statistics.plan if plan.statistics is not None else None,
        scored=opened.scored,
    )


def workers_of(cluster: ClusterHandle) -> Workers:
    """How many tasks the cluster's workers do at once, and the least memory that one of them has.

    Raises:
        ClusterError: It has none.
    """
    found = cluster.client.scheduler_info(n_workers=-1)["workers"].values()
    if not found:
        raise ClusterError("the cluster has no worker; start one, or set cluster.workers")
    limits = [worker["memory_limit"] // worker["nthreads"] for worker in found if worker["memory_limit"]]
    return Workers(count=sum(worker["nthreads"] for worker in found), memory=min(limits) if limits else None)


def _blocks(plan: Plan, session: Session) -> dict[str, int]:
    """Blocks of statistics: all, and what this session did of them."""
    assert plan.statistics is not None
    counts = session.blocks
    return {"blocks": plan.statistics.plan.blocks, "measured": counts["done"], "failed": counts["failed"]}


def _summary(
    opened: Opened, plan: Plan, session: Session, *, products: dict[str, Any], cluster: ClusterHandle, stop: Stop
) -> dict[str, Any]:
    counts = products.pop("counts")
    drained = stop.count > 0 and counts.get("not_run", 0) > 0
    status = 128 + (stop.signum or 0) if drained else 3 if counts.get("failed") else 0
    mapped = session.counts["done"] + session.counts["masked"] + session.counts["empty"]
    km2 = plan.km2 * mapped / max(len(plan.tiles), 1)
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
        **({"statistics": _blocks(plan, session)} if plan.statistics is not None else {}),
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
