"""``current`` and ``address``: clusters that run already; they stay open, and only our connection is ours."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from distributed import Client, Security

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


@contextlib.contextmanager
def open_address(spec: ClusterSpec) -> Iterator[protocol.ClusterHandle]:
    """Connect to ``cluster.address``; options are those of ``distributed.Client``.

    ``options.security`` may be a mapping of :class:`distributed.Security`'s arguments
    (``tls_ca_file``, ``tls_client_cert``, ``tls_client_key``), since a spec is text.
    """
    address = spec.address
    if address is None:  # the spec's own validation sees to it for YAML; Python may skip validation
        raise SpecError("cluster.address is missing; give one such as tcp://scheduler:8786")
    options = {"timeout": protocol.CONNECT_SECONDS, "set_as_default": False, **spec.options}
    with protocol.starting("address"):
        if isinstance(options.get("security"), dict):
            options["security"] = Security(**options["security"])
        try:
            client = Client(address, **options)
        except (OSError, TimeoutError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {address} within {options['timeout']} s ({type(error).__name__}); "
                f"check cluster.address, that the scheduler runs and that its port can be reached from here"
            ) from error
    with protocol.closing_client(client):
        yield protocol.ClusterHandle(client, "address", owned=False, workers=spec.workers)
