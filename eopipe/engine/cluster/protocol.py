"""What a cluster adapter gives the engine, and what the adapters share."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client

from eopipe.errors import ClusterError, EopipeError, SpecError, one_line
from eopipe.redact import unsign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


CONNECT_SECONDS = 30.0
"""How long to wait for a scheduler to answer."""

ALLOWED_FAILURES = 3
"""Workers that may die on a tile before the tile is blamed."""

_POLL = 0.2


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class ClusterHandle:
    """A cluster in use; the adapter's ``with`` block closes what it opened, and nothing else.

    Args:
        client: The Client; not made the process's default.
        kind: The adapter's name, ``local`` … ``slurm``.
        owned: Whether eopipe started the cluster and will stop it.
        workers: Number of workers asked for; None where the cluster's owner decides.
        stop_now: Kills workers that run here, for a second signal; does nothing for other kinds.
    """

    client: Client
    kind: str
    owned: bool
    workers: int | None = None
    stop_now: Callable[[], None] = field(default=_nothing, repr=False)

    @property
    def dashboard(self) -> str | None:
        """Address of the dashboard; None where there is none (bokeh is not installed, or the port is closed)."""
        if importlib.util.find_spec("bokeh") is None and self.kind in {"local", "cuda", "slurm"}:
            return None
        with contextlib.suppress(AttributeError, KeyError, ValueError):  # distributed's, while it has no services
            return str(self.client.dashboard_link) if self.client.dashboard_link else None
        return None

    def describe(self) -> dict[str, Any]:
        """For ``sessions/<time>.json``: kind, scheduler, workers as they are now; no password."""
        info = self.client.scheduler_info(n_workers=-1)
        workers = info["workers"].values()
        return {
            "kind": self.kind,
            "owned": self.owned,
            "scheduler": unsign(info["address"]),
            "dashboard": unsign(self.dashboard or "") or None,
            "workers": len(workers),
            "threads": sum(worker["nthreads"] for worker in workers),
            "memory_limits": sorted({worker["memory_limit"] or 0 for worker in workers}),
        }


def library(name: str, extra: str, kind: str) -> ModuleType:
    """Import the library of a kind of cluster.

    Raises:
        SpecError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SpecError(
            f"cluster.kind: {kind!r} needs {name.split('.', maxsplit=1)[0]}, which cannot be imported "
            f"({' '.join(str(error).split())}); pip install 'eopipe[{extra}]'"
        ) from error


@contextlib.contextmanager
def starting(kind: str) -> Iterator[None]:
    """Turn what a library raises while it starts a cluster into one line.

    A TypeError or ValueError is an option it does not take; anything else is a cluster that cannot be had.
    """
    try:
        yield
    except EopipeError:
        raise
    except Exception as error:
        cause = _root(error)
        if isinstance(cause, (TypeError, ValueError)):
            raise SpecError(
                f"cluster.options: {kind} refuses them: {_line(cause)}; correct cluster.options"
            ) from error
        raise ClusterError(
            f"cluster {kind!r} cannot be had: {type(cause).__name__}: {_line(cause)}; "
            f"remove the cause or try later, nothing was computed"
        ) from error


def scheduler_settings() -> dict[str, Any]:
    """Dask settings for a scheduler that eopipe starts in this process."""
    return {
        # One tile a worker: a second one waiting there would only hold its memory promise back from others.
        "distributed.scheduler.worker-saturation": 1.0,
        "distributed.scheduler.allowed-failures": max(
            ALLOWED_FAILURES, dask.config.get("distributed.scheduler.allowed-failures", ALLOWED_FAILURES)
        ),
    }


def scheduler_environment() -> dict[str, str]:
    """The same settings, for a scheduler or worker that starts elsewhere."""
    prefix, memory = "DASK_DISTRIBUTED__", worker_settings()
    return {
        prefix + key.removeprefix("distributed.").upper().replace(".", "__").replace("-", "_"): str(value)
        for key, value in {**scheduler_settings(), **memory}.items()
    }


def worker_settings() -> dict[str, Any]:
    """Dask settings for workers: a tile's memory is no result that could be spilled, so nothing spills or pauses."""
    return {
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        "distributed.worker.memory.terminate": 0.95,
    }


@contextlib.contextmanager
def closing_client(client: Client) -> Iterator[Client]:
    """Close the client at the end, however the block ends."""
    try:
        yield client
    finally:
        client.close()


def client_of(cluster: Any) -> contextlib.AbstractContextManager[Client]:
    """A Client of a cluster object, closed with the block; it does not become the process's default."""
    return closing_client(Client(cluster, set_as_default=False, timeout=CONNECT_SECONDS))


def worker_addresses(client: Client) -> list[str]:
    """Addresses of the workers that the scheduler knows now, in order."""
    return sorted(client.scheduler_info(n_workers=-1)["workers"])


def wait_for_workers(client: Client, count: int, timeout: float) -> list[str]:
    """Wait until ``count`` workers have come; return their addresses.

    Raises:
        ClusterError: Fewer came in ``timeout`` seconds; says how many.
    """
    end = time.monotonic() + timeout
    while True:
        if client.status in {"closed", "closing"}:
            raise ClusterError("the scheduler is gone while workers were awaited; start it and run again to resume")
        addresses = worker_addresses(client)
        if len(addresses) >= count:
            return addresses
        if time.monotonic() >= end:
            raise ClusterError(
                f"{len(addresses)} of {count} workers came within {timeout:.0f} s; look at the cluster's own log "
                f"(quota, image, queue), or ask for fewer with cluster.workers"
            )
        time.sleep(_POLL)


def _root(error: BaseException) -> BaseException:
    """The first cause: a nanny reports only that it failed, and has the reason as its cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _line(error: BaseException) -> str:
    return one_line(error) or type(error).__name__
