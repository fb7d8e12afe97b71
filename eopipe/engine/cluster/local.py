"""``local`` and ``cuda``: worker processes on this machine, one thread each; of ``cuda`` one a GPU (dask-cuda)."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

import dask
from dask.system import CPU_COUNT
from distributed import LocalCluster

from eopipe.engine.cluster import protocol
from eopipe.engine.cluster.resources import memory_a_worker

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
    with start_workers("local", LocalCluster, {**defaults, **spec.options}) as handle:
        yield handle


@contextlib.contextmanager
def open_cuda(spec: ClusterSpec) -> Iterator[protocol.ClusterHandle]:
    """Start a worker on each GPU, or on the first ``workers``; ``memory`` is a worker's host memory."""
    module = protocol.library("dask_cuda", "cuda", "cuda")
    # Dask-cuda's own store spills device results to the host and to disk; a tile leaves none, so a dict will do.
    defaults: dict[str, Any] = {"threads_per_worker": 1, "memory_limit": spec.memory or "auto", "data": dict}
    if spec.workers is not None:
        defaults["n_workers"] = spec.workers
    with start_workers("cuda", module.LocalCUDACluster, {**defaults, **spec.options}) as handle:
        yield handle


@contextlib.contextmanager
def start_workers(
    kind: str, make: Callable[..., Any], options: Mapping[str, Any]
) -> Iterator[protocol.ClusterHandle]:
    """Start a LocalCluster, or a class derived from it, and close it with the block.

    Its workers do not receive SIGINT, its ports are on loopback only, its scratch folder is deleted.
    """
    settings = {**protocol.scheduler_settings(), **protocol.worker_settings()}
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="eopipe-", ignore_cleanup_errors=True))
        defaults = {
            "processes": True,
            "dashboard_address": "127.0.0.1:0",  # without bokeh it serves health and metrics only
            "local_directory": scratch,
            "silence_logs": logging.ERROR,  # a slow exit of a worker harms nothing
        }
        with protocol.starting(kind), dask.config.set(settings), sigint_blocked():
            cluster = stack.enter_context(make(**{**defaults, **options}))
        client = stack.enter_context(protocol.client_of(cluster))
        yield protocol.ClusterHandle(
            client, kind, owned=True, workers=len(cluster.worker_spec), stop_now=lambda: _kill(cluster)
        )


@contextlib.contextmanager
def sigint_blocked() -> Iterator[None]:
    """Block SIGINT in this thread and in all threads and processes that it starts meanwhile, so that a run can drain.

    A terminal sends SIGINT to the whole process group, workers included, and a handler installed in a worker comes
    too late: one that is just starting would die in its imports. Threads inherit the *mask*, and so do processes
    through fork and exec: the cluster's event loop, each worker it spawns and each that it starts again later. The
    main thread gets its own mask back and remains the one that receives Ctrl-C.

    A SIGINT that arrives meanwhile is delivered at the end. Does nothing on Windows, which has no masks.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # multiprocessing starts its tracker at the first spawn and then *unblocks* SIGINT in that
    # thread (up to Python 3.11), so the first worker would receive it after all: start it beforehand.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _kill(cluster: Any) -> None:
    """Kill the worker processes; none is started again."""
    for nanny in list(cluster.workers.values()):
        nanny.close_gracefully(reason="stop-now")  # which means: the worker goes away, start no other
        pid = getattr(nanny, "pid", None)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
