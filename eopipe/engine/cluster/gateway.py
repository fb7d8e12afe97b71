"""``gateway``: a cluster from a Dask Gateway (dask-gateway), as on many JupyterHubs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from eopipe.engine.cluster import protocol
from eopipe.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.spec import ClusterSpec

_SERVER_OPTIONS = ("proxy_address", "public_address", "auth")
_CONNECT = "cluster_name"


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
    server = {name: value for name, value in spec.options.items() if name in _SERVER_OPTIONS}
    with contextlib.ExitStack() as stack:
        with protocol.starting("gateway"):
            gateway = stack.enter_context(module.Gateway(address=spec.address, **server))
            cluster = stack.enter_context(_cluster(gateway, spec))
            if spec.workers is not None:
                cluster.scale(spec.workers)
            client = stack.enter_context(protocol.closing_client(cluster.get_client(set_as_default=False)))
        yield protocol.ClusterHandle(client, "gateway", owned=_CONNECT not in spec.options, workers=spec.workers)


def _cluster(gateway: Any, spec: ClusterSpec) -> Any:
    options = {name: value for name, value in spec.options.items() if name not in _SERVER_OPTIONS}
    name = options.pop(_CONNECT, None)
    if name is None:
        return gateway.new_cluster(shutdown_on_close=True, **options)
    if options:
        raise SpecError(
            f"cluster.options: {', '.join(options)} cannot be given for the existing cluster {name!r}; "
            f"leave them out, or leave out {_CONNECT}"
        )
    return gateway.connect(name, shutdown_on_close=False)
