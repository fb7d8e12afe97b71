from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.paths import shared

GOLDEN = shared() / "specs" / "golden"


@pytest.fixture(scope="session")
def golden():
    """Reads a golden file as torch tensors by name."""

    def read(name):
        with np.load(GOLDEN / f"{name}.npz") as archive:
            return {key: torch.from_numpy(archive[key]) for key in archive.files}

    return read
