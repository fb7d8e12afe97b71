"""``local``: worker processes on this machine, one thread each."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
from typing import TYPE_CHECKING, Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster

from eopipe.engine.cluster import protocol
from eopipe.engine.cluster.resources import memory_a_worker
from eopipe.engine.cluster.signals import sigint_blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from eopipe.spec import ClusterSpec


@contextlib.contextmanager
def open_local(spec: ClusterSpec) -> Iterator[protocol.ClusterHandle]:
    """Start worker processes here; ``workers`` defaults to the cores that this process may use."""
    workers = spec.workers or CPU_COUNT
    defaults = {
        "n_workers": workers,
        "threads_per_worker": 1,
        "memory_limit": spec.memory or memory_a_worker(workers),
    }
    with started_here("local", LocalCluster, protocol.merged(defaults, spec.options)) as handle:
        yield handle


@contextlib.contextmanager
def started_here(kind: str, make: Callable[..., Any], options: Mapping[str, Any]) -> Iterator[protocol.ClusterHandle]:
    """Start a LocalCluster, or a class derived from it, and close it with the block.

    Its workers do not hear SIGINT, its ports are on loopback only, its scratch folder is deleted.
    """
    settings = {**protocol.scheduler_settings(), **protocol.worker_settings()}
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="eopipe-", ignore_cleanup_errors=True))
        defaults = {
            "processes": True,
            "dashboard_address": "127.0.0.1:0",  # without bokeh it serves health and metrics only
            "local_directory": scratch,
            "silence_logs": logging.ERROR,  # a slow exit of a worker is no news; a tile that suffers says so itself
        }
        with protocol.starting(kind), dask.config.set(settings), sigint_blocked():
            cluster = stack.enter_context(make(**protocol.merged(defaults, options)))
        client = stack.enter_context(
            protocol.closing_client(Client(cluster, set_as_default=False, timeout=protocol.CONNECT_SECONDS))
        )
        yield protocol.ClusterHandle(
            client, kind, owned=True, workers=len(cluster.worker_spec), stop_now=lambda: _kill(cluster)
        )


def _kill(cluster: Any) -> None:
    """Kill the worker processes and see to it that none is started again."""
    for nanny in list(cluster.workers.values()):
        nanny.close_gracefully(reason="stop-now")  # which means: the worker goes away, start no other
        pid = getattr(nanny, "pid", None)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
