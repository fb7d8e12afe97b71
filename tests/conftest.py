"""A cluster that the invariants share."""

import dask
import pytest
from distributed import Client, LocalCluster

from eopipe.engine.cluster import protocol


@pytest.fixture(scope="session")
def client():
    """Four worker processes of one thread, of which a test may pause some."""
    with (
        dask.config.set({**protocol.scheduler_settings(), **protocol.worker_settings()}),
        LocalCluster(
            n_workers=4, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", memory_limit="5GB"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
