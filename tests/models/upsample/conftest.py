from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.support.paths import golden as golden_file


@pytest.fixture(scope="session")
def golden():
    """Reads a golden file as torch tensors by name."""

    def read(name):
        with np.load(golden_file(f"{name}.npz")) as archive:
            return {key: torch.from_numpy(archive[key]) for key in archive.files}

    return read
