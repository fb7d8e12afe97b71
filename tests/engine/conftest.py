"""A kernel of overlapping windows that specs can name, and workers that know it."""

import pytest
from distributed import Client, LocalCluster

from tests.support.kernels import register


@pytest.fixture(scope="module")
def overlapping():
    """``kernel: {name: overlapping}`` is known."""
    register()


@pytest.fixture(scope="module")
def threads():
    """Two workers that are threads of this process: they start at once, and a test can change what they do."""
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        yield client
