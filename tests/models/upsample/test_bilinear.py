from __future__ import annotations

import torch
from torch.nn import functional

from eopipe.models.upsample.protocol import Bilinear


def test_cosines_of_patches_are_resized():
    generator = torch.Generator().manual_seed(6)
    patches = torch.randn(2, 8, 3, 4, generator=generator)
    text = functional.normalize(torch.randn(5, 8, generator=generator), dim=1)
    scores = Bilinear().score(patches, torch.zeros(2, 3, 48, 64), text)
    grid = torch.einsum("bcyx,qc->bqyx", patches / patches.norm(dim=1, keepdim=True), text)
    expected = functional.interpolate(grid, (48, 64), mode="bilinear", align_corners=False)
    assert scores.is_contiguous()
    torch.testing.assert_close(scores, expected.movedim(1, -1))


def test_a_feature_of_zeros_scores_zero():
    text = functional.normalize(torch.ones(2, 4), dim=1)
    assert not Bilinear().score(torch.zeros(1, 4, 2, 2), torch.zeros(1, 3, 16, 16), text).any()
