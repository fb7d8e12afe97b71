"""``kubernetes``, ``gateway`` and ``slurm``: workers that a service starts elsewhere, for this run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import dask

from eopipe.engine.cluster import protocol
from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.spec import ClusterSpec

WORKER_COMMAND = ("dask", "worker", "--nthreads", "1")
"""One tile at a time; the operator appends the scheduler's address by environment, and the name."""

_GATEWAY_OPTIONS = ("proxy_address", "public_address", "auth")
_CONNECT = "cluster_name"


@contextlib.contextmanager
def open_kubernetes(spec: ClusterSpec) -> Iterator[protocol.ClusterHandle]:
    """Create a DaskCluster resource, or connect to ``options.name`` if that one exists.

    ``memory`` is a pod's request and limit; ``options`` are ``KubeCluster``'s: ``image``, ``namespace``, ``env``,
    ``resources``, ``custom_cluster_spec`` (a file, which then rules alone) …
    """
    module = protocol.library("dask_kubernetes.operator", "kubernetes", "kubernetes")
    with contextlib.ExitStack() as stack:
        with protocol.starting("kubernetes"):
            cluster = stack.enter_context(module.KubeCluster(**_pod_arguments(spec)))
        client = stack.enter_context(protocol.client_of(cluster))
        yield protocol.ClusterHandle(client, "kubernetes", owned=True, workers=spec.workers)


def _pod_arguments(spec: ClusterSpec) -> dict[str, Any]:
    defaults: dict[str, Any] = {"quiet": True, "worker_command": list(WORKER_COMMAND)}
    if spec.workers is not None:
        defaults["n_workers"] = spec.workers
    if spec.memory is not None:
        defaults["resources"] = {"requests": {"memory": spec.memory}, "limits": {"memory": spec.memory}}
    arguments = {**defaults, **spec.options}
    arguments["env"] = _pod_environment(spec.options.get("env"))
    return arguments


def _pod_environment(given: dict[str, str] | list[dict[str, Any]] | None) -> dict[str, str] | list[dict[str, Any]]:
    """Ours, overridden by the user's; a list (``valueFrom``: secrets) stays a list."""
    ours = protocol.scheduler_environment()
    if not isinstance(given, list):
        return {**ours, **(given or {})}
    named = {entry.get("name") for entry in given}
    return [{"name": name, "value": value} for name, value in ours.items() if name not in named] + given


@contextlib.contextmanager
def open_gateway(spec: ClusterSpec) -> Iterator[protocol.ClusterHandle]:
    """Ask the gateway for a new cluster, or connect to ``options.cluster_name``, which then stays.

    ``options`` ``proxy_address``, ``public_address`` and ``auth`` are the gateway's; all others are the cluster's,
    and each gateway has its own (``image``, ``worker_memory``, ``worker_cores`` …).
    """
    if spec.memory is not None:
        raise SpecError(
            f"cluster.memory: {spec.memory!r} cannot be asked of a gateway; "
            "use its own option under cluster.options, often worker_memory"
        )
    module = protocol.library("dask_gateway", "gateway", "gateway")
    server = {name: value for name, value in spec.options.items() if name in _GATEWAY_OPTIONS}
    with contextlib.ExitStack() as stack:
        with protocol.starting("gateway"):
            gateway = stack.enter_context(module.Gateway(address=spec.address, **server))
            cluster = stack.enter_context(_gateway_cluster(gateway, spec))
            if spec.workers is not None:
                cluster.scale(spec.workers)
            client = stack.enter_context(protocol.closing_client(cluster.get_client(set_as_default=False)))
        yield protocol.ClusterHandle(client, "gateway", owned=_CONNECT not in spec.options, workers=spec.workers)


def _gateway_cluster(gateway: Any, spec: ClusterSpec) -> Any:
    options = {name: value for name, value in spec.options.items() if name not in _GATEWAY_OPTIONS}
    name = options.pop(_CONNECT, None)
    if name is None:
        return gateway.new_cluster(shutdown_on_close=True, **options)
    if options:
        raise SpecError(
            f"cluster.options: {', '.join(options)} cannot be given for the existing cluster {name!r}; "
            f"leave them out, or leave out {_CONNECT}"
        )
    return gateway.connect(name, shutdown_on_close=False)


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
            cluster = stack.enter_context(module.SLURMCluster(**_job_arguments(spec)))
            if spec.workers is not None:
                cluster.scale(jobs=spec.workers)
        client = stack.enter_context(protocol.client_of(cluster))
        yield protocol.ClusterHandle(client, "slurm", owned=True, workers=spec.workers)


def _job_arguments(spec: ClusterSpec) -> dict[str, Any]:
    exports = [f"export {name}={value}" for name, value in protocol.scheduler_environment().items()]
    defaults: dict[str, Any] = {"cores": 1, "processes": 1}
    if spec.memory is not None:
        defaults["memory"] = spec.memory
    arguments = {**defaults, **spec.options}
    arguments["job_script_prologue"] = [*exports, *spec.options.get("job_script_prologue", [])]
    # A free port: 8787 of a login node is seldom ours, and dask-jobqueue would warn.
    arguments["scheduler_options"] = {"dashboard_address": ":0", **spec.options.get("scheduler_options", {})}
    return arguments
