from __future__ import annotations

import pytest
import torch

from tests.models.foundation import tiny


@pytest.fixture(scope="session", autouse=True)
def _quiet_library():
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


@pytest.fixture(scope="session")
def nets():
    """Each net as the library made it, the oracle of what is loaded of its folder."""
    return {
        "vit": tiny.vit(),
        "dinov2": tiny.dinov2(),
        "sam": tiny.sam(),
        "sam2": tiny.sam2(),
        "sam2_video": tiny.sam2_video(),
        "grounding": tiny.grounding(mm=False),
        "mm-grounding": tiny.grounding(mm=True),
    }


@pytest.fixture(scope="session")
def names(nets, tmp_path_factory):
    """The name of each net's folder."""
    root = tmp_path_factory.mktemp("models")
    return {name: tiny.save(net, root / name, detector="grounding" in name) for name, net in nets.items()}


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield
