from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from eopipe.errors import PlanError
from eopipe.models.upsample.jbu import JBU
from eopipe.models.upsample.jbu_torch import JBUTorch
from tests.models.upsample.seeded_inputs import inputs


def plain_scores(model, patches, guidance, text):
    """As the papers write it: all channels upsampled, made unit length, times the text."""
    with torch.no_grad():
        features = functional.normalize(model(patches, guidance), dim=1)
    return torch.einsum("bcyx,qc->byxq", features, text)


@pytest.mark.parametrize(
    ("name", "channels", "grid", "patch"),
    [
        ("jbu_one", 40, (3, 4), 16),  # fewer patches than channels
        ("jbu_one", 8, (3, 4), 16),  # more
        ("jbu_stack", 24, (4, 3), 16),
        ("jbu_one", 24, (3, 3), 32),
    ],
)
def test_the_low_rank_form_gives_the_plain_cosines(name, channels, grid, patch):
    torch.manual_seed(7)
    model = JBU(name, channels)
    patches, guidance, text = inputs(8, 2, channels, grid, patch)
    scores = JBUTorch(model).score(patches, guidance, text)
    assert scores.is_contiguous()
    torch.testing.assert_close(scores, plain_scores(model, patches, guidance, text), atol=1e-5, rtol=0)


def test_a_window_scores_the_same_in_any_batch():
    torch.manual_seed(9)
    upsampler = JBUTorch(JBU("jbu_one", 8))
    patches, guidance, text = inputs(10, 3, 8, (3, 3))
    together = upsampler.score(patches, guidance, text)
    assert torch.equal(together[1:2], upsampler.score(patches[1:2], guidance[1:2], text))


def test_other_channels_are_refused():
    with pytest.raises(PlanError, match="jbu_one is for features of 8 channels, and the encoder gives 9"):
        JBUTorch(JBU("jbu_one", 8)).score(*inputs(11, 1, 9, (3, 3)))
