"""A command line that neither calibrates nor waits long between retries."""

import pytest

from eopipe.cube.asset_file import RetryPolicy
from eopipe.stac.http import Backoff
from tests.support.runs import CALIBRATION


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Production's retries take up to a minute; what is tested here is how they end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eopipe.engine.run.freeze_precision", lambda opened, *_: (opened, CALIBRATION))
        patch.setattr(RetryPolicy.__init__, "__defaults__", (3, 0.01, 0.1))
        patch.setattr(Backoff.__init__, "__defaults__", (3, 0.01, 0.1, 2))
        yield
