"""Clusters that tests share: one of processes a session, one of threads a module."""

import dask
import pytest
from distributed import Client, LocalCluster

from eopipe.engine.cluster import protocol
from tests.support.kernels import register


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


@pytest.fixture(scope="module")
def threads():
    """Two workers that are threads of this process: they start at once, and a test can change what they do.

    A session's would remain the default client of the modules that follow.
    """
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def overlapping():
    """``kernel: {name: overlapping}`` is known."""
    register()
