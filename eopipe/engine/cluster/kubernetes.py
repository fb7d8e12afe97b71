"""``kubernetes``: pods that the Dask operator starts (dask-kubernetes)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from distributed import Client

from eopipe.engine.cluster import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.spec import ClusterSpec

WORKER_COMMAND = ("dask", "worker", "--nthreads", "1")
"""One tile at a time; the operator appends the scheduler's address by environment, and the name."""


@contextlib.contextmanager
def open_kubernetes(spec: ClusterSpec) -> Iterator[protocol.ClusterHandle]:
    """Create a DaskCluster resource, or connect to ``options.name`` if that one exists.

    ``memory`` is a pod's request and limit; ``options`` are ``KubeCluster``'s: ``image``, ``namespace``, ``env``,
    ``resources``, ``custom_cluster_spec`` (a file, which then rules alone) …
    """
    module = protocol.library("dask_kubernetes.operator", "kubernetes", "kubernetes")
    with contextlib.ExitStack() as stack:
        with protocol.starting("kubernetes"):
            cluster = stack.enter_context(module.KubeCluster(**_arguments(spec)))
        client = stack.enter_context(
            protocol.closing_client(Client(cluster, set_as_default=False, timeout=protocol.CONNECT_SECONDS))
        )
        yield protocol.ClusterHandle(client, "kubernetes", owned=True, workers=spec.workers)


def _arguments(spec: ClusterSpec) -> dict[str, Any]:
    defaults: dict[str, Any] = {"quiet": True, "worker_command": list(WORKER_COMMAND)}
    if spec.workers is not None:
        defaults["n_workers"] = spec.workers
    if spec.memory is not None:
        defaults["resources"] = {"requests": {"memory": spec.memory}, "limits": {"memory": spec.memory}}
    arguments = protocol.merged(defaults, spec.options)
    arguments["env"] = _environment(spec.options.get("env"))
    return arguments


def _environment(given: dict[str, str] | list[dict[str, Any]] | None) -> dict[str, str] | list[dict[str, Any]]:
    """Ours, overridden by the user's; a list (``valueFrom``: secrets) stays a list."""
    ours = protocol.scheduler_environment()
    if not isinstance(given, list):
        return {**ours, **(given or {})}
    named = {entry.get("name") for entry in given}
    return [{"name": name, "value": value} for name, value in ours.items() if name not in named] + given
