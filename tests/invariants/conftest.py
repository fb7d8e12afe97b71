"""The seeded catalog that the invariants share."""

import pytest

from tests.support import seeded_scenes


@pytest.fixture(scope="session")
def catalog(tmp_path_factory):
    """Path of the seeded catalog."""
    return seeded_scenes.write_catalog(tmp_path_factory.mktemp("seeded"))
