"""Before the first tile: every worker shows that it can do the work, and a failure names the worker."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import psutil
import torch

from eopipe import run_folder
from eopipe.cube.asset_file import AssetFile, ReadStats
from eopipe.engine.cluster.device import device_label
from eopipe.engine.format import gib
from eopipe.engine.output.run_json import versions
from eopipe.engine.work.precision import LIMIT, slowdown
from eopipe.engine.work.reasons import fault_of
from eopipe.engine.work.worker_state import state_of
from eopipe.errors import ClusterError
from eopipe.kernels.registry import KERNELS

if TYPE_CHECKING:
    from distributed import Client

    from eopipe.engine.plan.make import Plan
    from eopipe.engine.work.worker_state import RunContext

MUST_MATCH = ("eopipe", "numpy", "torch", "zarr", "rasterio", "dask", "distributed")
"""Packages whose versions decide the bytes or the protocol; they must be the driver's."""


@dataclass(frozen=True)
class WorkerReport:
    """What one worker said of itself; ``error`` is empty where all is well, ``slowdown`` is against float32."""

    versions: dict[str, str]
    device: str
    rss: int
    read_seconds: float
    slowdown: float
    error: str
    warning: str


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
        address: found["memory_limit"] // found["nthreads"]
        for address, found in client.scheduler_info(n_workers=-1)["workers"].items()
    }
    warnings = []
    try:
        for address, report in sorted(reports.items()):
            _judge(address, report, limits.get(address) or None, plan)
            _judge_precision(address, report, context.kernel.info.options.get("precision"))
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


def _judge(address: str, report: WorkerReport, limit: int | None, plan: Plan) -> None:
    if report.error:
        raise ClusterError(f"worker {address} failed the preflight: {report.error}")
    mine = versions()
    for name in MUST_MATCH:
        if report.versions.get(name) != mine[name]:
            raise ClusterError(
                f"worker {address} has {name} {report.versions.get(name)}, and this process {mine[name]}; "
                f"install the same versions on both"
            )
    if limit is not None and plan.memory.total > limit:
        raise ClusterError(
            f"worker {address} has {gib(limit)} of memory a task, and the plan needs {gib(plan.memory.total)}; "
            f"give it more, or a smaller grid.tile"
        )


def _judge_precision(address: str, report: WorkerReport, precision: str | None) -> None:
    if report.slowdown > LIMIT:
        raise ClusterError(
            f"worker {address} ({report.device}) takes {report.slowdown:.1f} times as long in {precision} as in "
            f"float32, and {LIMIT:g} is the most that is taken; leave it out, or start a new output with "
            f"kernel.precision: float32"
        )


def _probe_arrived(context: RunContext, token: str, address: str) -> bool:
    try:
        said = json.loads(context.storage.get(run_folder.probe(_probe_name(token, address))))
    except FileNotFoundError:
        return False
    return bool(said["token"] == token)


def _probe_name(token: str, address: str) -> str:
    plain = "".join(letter if letter.isalnum() else "-" for letter in address)
    return f"worker-{token}-{plain}"


def _try_worker(run_id: str, token: str, dask_worker: Any = None) -> WorkerReport:
    """Run on a worker: share the folder, load the kernel, open one real asset."""
    state = state_of(run_id)
    error = warning = ""
    seconds, slower = 0.0, 1.0
    stage = "output"
    try:
        storage = state.context.storage
        storage.get(run_folder.probe(f"driver-{token}"))
        storage.put(run_folder.probe(_probe_name(token, dask_worker.address)), json.dumps({"token": token}).encode())
        stage = "kernel"
        torch.set_num_threads(state.context.threads)
        if state.context.scored is not None:  # scores are cut again without weights
            stage = "source"
            state.context.scored.look()
        elif state.context.kept is None:  # kept features are scored in float32, whatever they were made in
            slower = slowdown(state.kernel, state.device)
        else:
            _ = state.kernel
        stage = "mosaic"
        _ = state.writer
        stage = "features"
        _ = state.features
        if state.context.kept is not None:
            _ = state.context.kept.store
        if state.context.scored is None:
            seconds, warning = _open_one_asset(state)
    except FileNotFoundError:
        error = f"it does not see the driver's probe in {state.context.storage.url()}; give a shared output.uri"
    except Exception as found:  # noqa: BLE001  (whatever it is, the driver names the worker and ends the run)
        error = f"{stage}: {fault_of(found, stage).detail}"
    return WorkerReport(
        versions=versions(),
        device=device_label(state.device),
        rss=int(psutil.Process().memory_info().rss),
        read_seconds=seconds,
        slowdown=slower,
        error=error,
        warning=warning,
    )


def _open_one_asset(state: Any) -> tuple[float, str]:
    """Open one asset of the first covered tile; a bad one is only a warning, its tile will say so."""
    tile = next((tile for tile in state.context.tiles if tile.covered), None)
    if tile is None:
        return 0.0, ""
    start = time.perf_counter()
    try:
        scene = next(scene for scenes in state.scenes(tile) for scene in scenes)
        ref, read = next(iter(scene.bands.values())), state.context.read
        file = AssetFile(ref, sign=read.sign, requester_pays=read.requester_pays, retry=read.retry, stats=ReadStats())
        file.facts(ref)
        file.close()
    except Exception as found:  # noqa: BLE001  (reported as a warning; the tile's own task records the failure)
        return time.perf_counter() - start, f"a first asset could not be opened: {fault_of(found, 'read').detail}"
    return time.perf_counter() - start, ""
