from __future__ import annotations

import numpy as np
import pytest
import torch

from eopipe.models.registry import DYNAMIC_WORLD
from eopipe.models.weights import load_arrays


@pytest.fixture(scope="session")
def arrays():
    return load_arrays(DYNAMIC_WORLD.weights)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def scene(height, width, seed=0):
    """Smooth fields with noise, from water-dark to cloud-bright, in reflectance * 10000."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(y / rng.uniform(3, 30) + rng.uniform(0, 6)) * np.cos(x / rng.uniform(3, 30)) for _ in range(9)]
    dn = np.exp(7 + 1.2 * np.array(waves) + rng.normal(0, 0.3, (9, height, width)))
    return np.rint(dn).astype(np.float32)


@pytest.fixture(name="scene", scope="session")
def scene_maker():
    return scene
