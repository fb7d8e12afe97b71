"""What the driver asks of any cluster: wait for workers, compare versions, count them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from eopipe.errors import ClusterError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from distributed import Client

PACKAGES = ("eopipe", "numpy", "torch", "rasterio", "zarr", "xarray", "numba", "openvino", "dask", "distributed")
"""Packages whose versions must be the same everywhere for equal bytes."""

_POLL = 0.2


def worker_addresses(client: Client) -> list[str]:
    """Addresses of the workers that the scheduler knows now, in order."""
    return sorted(client.scheduler_info(n_workers=-1)["workers"])


def wait_for_workers(client: Client, count: int, timeout: float) -> list[str]:
    """Wait until ``count`` workers are there; return their addresses.

    Raises:
        ClusterError: Fewer came in ``timeout`` seconds; says how many.
    """
    end = time.monotonic() + timeout
    while True:
        if client.status in {"closed", "closing"}:
            raise ClusterError("the scheduler is gone while workers were awaited; start it and run again to resume")
        found = worker_addresses(client)
        if len(found) >= count:
            return found
        if time.monotonic() >= end:
            raise ClusterError(
                f"{len(found)} of {count} workers came within {timeout:.0f} s; look at the cluster's own log "
                f"(quota, image, queue), or ask for fewer with cluster.workers"
            )
        time.sleep(_POLL)


def versions_of(client: Client, packages: Sequence[str] = PACKAGES) -> dict[str, dict[str, str]]:
    """Version of Python and of each package, by place: ``client``, and each worker's address; ``-`` if missing."""
    workers = client.run(_versions, tuple(packages))
    return {"client": _versions(tuple(packages)), **dict(sorted(workers.items()))}


def mismatches(versions: Mapping[str, Mapping[str, str]]) -> list[str]:
    """One line for each package of which some place has another version than the client."""
    mine = versions["client"]
    lines = []
    for package, version in mine.items():
        others: dict[str, list[str]] = {}
        for place, found in versions.items():
            if found[package] != version:
                others.setdefault(found[package], []).append(place)
        for other, places in sorted(others.items()):
            more = f" and {len(places) - 1} more" if len(places) > 1 else ""
            lines.append(f"{package} is {version} here and {other} on {places[0]}{more}")
    return lines


def environment_of(client: Client, packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """The client's versions, and the mismatches of the workers' with them."""
    versions = versions_of(client, packages)
    return {"versions": versions["client"], "mismatches": mismatches(versions)}


def _versions(packages: Sequence[str]) -> dict[str, str]:
    # Imported here: the function travels to workers that may lack eopipe, whose lack is to be reported.
    import platform  # noqa: PLC0415
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "-"
    return found
