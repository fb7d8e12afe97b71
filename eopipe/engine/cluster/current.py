"""``current``: the Client that this process already has, such as a notebook's; it stays open."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from distributed import Client

from eopipe.engine.cluster import protocol
from eopipe.errors import ClusterError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.spec import ClusterSpec


def current_client() -> Client | None:
    """The process's current or default Client; None where there is none."""
    try:
        client: Client = Client.current()
    except ValueError:
        return None
    return client


@contextlib.contextmanager
def open_current(spec: ClusterSpec) -> Iterator[protocol.ClusterHandle]:
    """Use the current Client; ``workers`` is how many to wait for."""
    client = current_client()
    if client is None:
        raise SpecError(
            "cluster.kind: 'current' finds no Dask Client in this process; create distributed.Client(...) first, "
            "or use local or address"
        )
    if client.asynchronous:
        raise SpecError("cluster.kind: 'current' is an asynchronous Client; create one with asynchronous=False")
    if client.status != "running":
        raise ClusterError(
            f"the current Client is {client.status} (scheduler gone?); connect a new one and run again to resume"
        )
    yield protocol.ClusterHandle(client, "current", owned=False, workers=spec.workers)
