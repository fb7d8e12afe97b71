"""``cuda``: one worker process a GPU of this machine (dask-cuda)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from eopipe.engine.cluster import protocol
from eopipe.engine.cluster.local import started_here

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.spec import ClusterSpec


@contextlib.contextmanager
def open_cuda(spec: ClusterSpec) -> Iterator[protocol.ClusterHandle]:
    """Start a worker on each GPU, or on the first ``workers``; ``memory`` is a worker's host memory."""
    module = protocol.library("dask_cuda", "cuda", "cuda")
    # Dask-cuda's own store spills device results to the host and to disk; a tile leaves none, so a dict will do.
    defaults: dict[str, Any] = {"threads_per_worker": 1, "memory_limit": spec.memory or "auto", "data": dict}
    if spec.workers is not None:
        defaults["n_workers"] = spec.workers
    with started_here("cuda", module.LocalCUDACluster, protocol.merged(defaults, spec.options)) as handle:
        yield handle
