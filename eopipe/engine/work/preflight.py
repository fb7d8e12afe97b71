"""Before the first tile: every worker shows that it can do the work, and a failure names the worker."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import torch

from eopipe import run_folder
from eopipe.engine.cluster.resources import device_label
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.work.precision import LIMIT
from eopipe.engine.work.strips import Stopwatch
from eopipe.engine.work.task_shell import fault_of
from eopipe.engine.work.worker_state import state_of
from eopipe.errors import ClusterError
from eopipe.kernels.registry import KERNELS
from eopipe.text import gib
from eopipe.versions import BYTES, PROTOCOL, versions

if TYPE_CHECKING:
    from distributed import Client

    from eopipe.engine.plan.model import Plan
    from eopipe.engine.work.worker_state import RunContext


@dataclass(frozen=True)
class WorkerReport:
    """One worker's figures; ``error`` is empty where all is well, ``slowdown`` is against float32."""

    versions: dict[str, str]
    device: str
    slowdown: float = 1.0
    error: str = ""
    warning: str = ""


def preflight(client: Client, context: RunContext, plan: Plan) -> list[str]:
    """Try every worker.

    Args:
        client: Of the cluster.
        context: Installed on every worker already.
        plan: For the memory it promises.

    Returns:
        Warnings, one line each.

    Raises:
        ClusterError: A worker cannot do the work; named with its address.
    """
    storage = context.storage
    token = os.urandom(8).hex()
    storage.put(run_folder.probe(f"driver-{token}"), json.dumps({"token": token}).encode())
    reports: dict[str, WorkerReport] = client.run(_try_worker, context.run_id, token)
    limits = {
        address: worker["memory_limit"] // worker["nthreads"]
        for address, worker in client.scheduler_info(n_workers=-1)["workers"].items()
    }
    precision, warnings = context.kernel.info.options.get("precision"), []
    try:
        for address, report in sorted(reports.items()):
            _judge(address, report, limits.get(address) or None, plan, precision)
            if not _probe_arrived(context, token, address):
                raise ClusterError(
                    f"worker {address} wrote a probe that is not in {storage.url()}: it does not share the output; "
                    f"give an output.uri that every worker reaches (object store or shared file system)"
                )
            if report.warning:
                warnings.append(f"worker {address}: {report.warning}")
    finally:
        for path in list(storage.list(f"{run_folder.PROBES}/")):
            storage.delete(path)
    return warnings


def require_package(client: Client, kernel: str) -> None:
    """Refuse workers that lack the package of a kernel from outside, or have another version of it.

    Args:
        client: Of the cluster.
        kernel: The kernel's name; those of eopipe itself, and registered ones, need no package.

    Raises:
        ClusterError: A worker cannot have the kernel; named with its address.
    """
    package = KERNELS.package(kernel)
    if package is None:
        return
    name, needed = package
    versions_by_worker: dict[str, str | None] = client.run(_installed_version, name)
    for address, installed in sorted(versions_by_worker.items()):
        if installed != needed:
            has = f"{name} {installed}" if installed else f"no {name}"
            raise ClusterError(
                f"worker {address} has {has}, and kernel {kernel!r} comes from {name} {needed}; "
                f"install it there: pip install {name}=={needed}"
            )


def _installed_version(package: str) -> str | None:
    """Run on a worker."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _judge(address: str, report: WorkerReport, limit: int | None, plan: Plan, precision: str | None) -> None:
    if report.error:
        raise ClusterError(f"worker {address} failed the preflight: {report.error}")
    stated, expected = report.versions, versions()
    for name in (*BYTES, *PROTOCOL):
        if stated.get(name) != expected[name]:
            raise ClusterError(
                f"worker {address} has {name} {stated.get(name)}, and this process {expected[name]}; "
                f"install the same versions on both"
            )
    if limit is not None and plan.memory.total > limit:
        raise ClusterError(
            f"worker {address} has {gib(limit)} of memory a task, and the plan needs {gib(plan.memory.total)}; "
            f"give it more, or a smaller grid.tile"
        )
    if report.slowdown > LIMIT:
        raise ClusterError(
            f"worker {address} ({report.device}) takes {report.slowdown:.1f} times as long in {precision} as in "
            f"float32, and {LIMIT:g} is the most that is taken; leave it out, or start a new output with "
            f"kernel.precision: float32"
        )


def _probe_arrived(context: RunContext, token: str, address: str) -> bool:
    try:
        probe = json.loads(context.storage.get(run_folder.probe(_probe_name(token, address))))
    except FileNotFoundError:
        return False
    return bool(probe["token"] == token)


def _probe_name(token: str, address: str) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in address)
    return f"worker-{token}-{plain}"


def _try_worker(run_id: str, token: str, dask_worker: Any = None) -> WorkerReport:
    """Run on a worker: share the folder, open the stores, and show that tiles can be made."""
    state, watch = state_of(run_id), Stopwatch()
    report = WorkerReport(versions(), device_label(state.device))
    storage = state.context.storage
    try:
        with watch("output"):
            storage.get(run_folder.probe(f"driver-{token}"))
            data = json.dumps({"token": token}).encode()
            storage.put(run_folder.probe(_probe_name(token, dask_worker.address)), data)
        torch.set_num_threads(THREADS)
        readiness = state.context.source.ready(state, watch)
        with watch("mosaic"):
            _ = state.writer
        with watch("features"):
            _ = state.features
    except FileNotFoundError:
        error = f"it does not see the driver's probe in {storage.url()}; give a shared output.uri"
        return replace(report, error=error)
    except Exception as error:  # noqa: BLE001  (whatever it is, the driver names the worker and ends the run)
        return replace(report, error=f"{watch.stage}: {fault_of(error, watch.stage).detail}")
    return replace(report, slowdown=readiness.slowdown, warning=readiness.warning)
