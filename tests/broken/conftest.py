"""A cluster of this folder's own, and a command line that neither calibrates nor waits long between retries."""

import dask
import pytest
from distributed import Client, LocalCluster

from eopipe.cube.gdal import RetryPolicy
from eopipe.engine.cluster import protocol
from eopipe.stac.http import Backoff
from tests.support.runs import CALIBRATION


@pytest.fixture(scope="package", autouse=True)
def quick():
    """Production's retries take up to a minute; what is tested here is how they end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eopipe.engine.run.freeze_precision", lambda opened, *_: (opened, CALIBRATION))
        patch.setattr(RetryPolicy.__init__, "__defaults__", (3, 0.01, 0.1))
        patch.setattr(Backoff.__init__, "__defaults__", (3, 0.01, 0.1, 2))
        yield


@pytest.fixture(scope="package")
def client():
    """Two worker processes; closed with this folder, for other tests ask what happens without a client."""
    with (
        dask.config.set({**protocol.scheduler_settings(), **protocol.worker_settings()}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", memory_limit="5GB"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client
