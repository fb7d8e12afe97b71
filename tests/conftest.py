"""A cluster that the invariants share."""

import dask
import pytest
from distributed import Client, LocalCluster

from eopipe.engine.cluster import protocol


@pytest.fixture(scope="session")
def client():
    """Four worker processes of one thread, of which a test may pause some; the process's default client."""
    with dask.config.set({**protocol.scheduler_settings(), **protocol.worker_settings()}):
        cluster = LocalCluster(
            n_workers=4, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", memory_limit="5GB"
        )
    with cluster:
        client = Client(cluster)  # the process's default, but not this context's: a test can put it aside
        yield client
        client.close()
