"""Clusters: one small adapter a kind, behind one function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.engine.cluster.elsewhere import open_gateway, open_kubernetes, open_slurm
from eopipe.engine.cluster.local import open_cuda, open_local
from eopipe.engine.cluster.protocol import ClusterHandle, wait_for_workers, worker_addresses
from eopipe.engine.cluster.running import current_client, open_address, open_current
from eopipe.spec import ClusterSpec

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_ADAPTERS: dict[str, Callable[[ClusterSpec], AbstractContextManager[ClusterHandle]]] = {
    "local": open_local,
    "current": open_current,
    "address": open_address,
    "cuda": open_cuda,
    "kubernetes": open_kubernetes,
    "gateway": open_gateway,
    "slurm": open_slurm,
}


def open_cluster(spec: ClusterSpec | None = None) -> AbstractContextManager[ClusterHandle]:
    """Open the cluster a spec asks for, as a context manager that closes what it opened.

    Args:
        spec: None uses this process's current Client, or starts a local cluster where there is none.

    Raises:
        SpecError: The kind's library is missing, or refuses the options (on entering the block).
        ClusterError: The cluster cannot be started or reached (on entering the block).
    """
    if spec is None:
        spec = ClusterSpec(kind="current" if current_client() is not None else "local")
    return _ADAPTERS[spec.kind](spec)


__all__ = ["ClusterHandle", "current_client", "open_cluster", "wait_for_workers", "worker_addresses"]
