"""A kernel of overlapping windows that specs can name."""

import pytest

from eopipe.kernels import registry
from tests.support.kernels import Options, make_overlapping


@pytest.fixture
def overlapping(monkeypatch):
    """``kernel: {name: overlapping}`` is known while a test runs."""
    monkeypatch.setitem(registry._KERNELS, "overlapping", registry._Entry(Options, make_overlapping))
