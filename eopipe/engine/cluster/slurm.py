"""``slurm``: one SLURM job a worker (dask-jobqueue); the scheduler runs in this process."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client

from eopipe.engine.cluster import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.spec import ClusterSpec


@contextlib.contextmanager
def open_slurm(spec: ClusterSpec) -> Iterator[protocol.ClusterHandle]:
    """Submit ``workers`` jobs of one worker each; ``memory`` is a job's.

    ``options`` are ``SLURMCluster``'s: ``queue``, ``account``, ``walltime``, ``cores``, ``interface`` …; what is
    missing comes from dask-jobqueue's own configuration file, ``jobqueue.slurm``.
    """
    module = protocol.library("dask_jobqueue", "slurm", "slurm")
    settings = {**protocol.scheduler_settings(), **protocol.worker_settings()}
    with contextlib.ExitStack() as stack:
        with protocol.starting("slurm"), dask.config.set(settings):
            cluster = stack.enter_context(module.SLURMCluster(**_arguments(spec)))
            if spec.workers is not None:
                cluster.scale(jobs=spec.workers)
        client = stack.enter_context(
            protocol.closing_client(Client(cluster, set_as_default=False, timeout=protocol.CONNECT_SECONDS))
        )
        yield protocol.ClusterHandle(client, "slurm", owned=True, workers=spec.workers)


def _arguments(spec: ClusterSpec) -> dict[str, Any]:
    exports = [f"export {name}={value}" for name, value in protocol.scheduler_environment().items()]
    defaults: dict[str, Any] = {"cores": 1, "processes": 1}
    if spec.memory is not None:
        defaults["memory"] = spec.memory
    arguments = protocol.merged(defaults, spec.options)
    arguments["job_script_prologue"] = [*exports, *spec.options.get("job_script_prologue", [])]
    # A free port: 8787 of a login node is seldom ours, and dask-jobqueue would warn.
    arguments["scheduler_options"] = {"dashboard_address": ":0", **spec.options.get("scheduler_options", {})}
    return arguments
