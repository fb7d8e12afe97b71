"""Patches, a window and words for the upsamplers' tests."""

import torch
from torch.nn import functional


def inputs(seed, batch, channels, grid, patch=16, queries=5):
    generator = torch.Generator().manual_seed(seed)
    patches = torch.randn(batch, channels, *grid, generator=generator)
    guidance = torch.randn(batch, 3, grid[0] * patch, grid[1] * patch, generator=generator)
    text = functional.normalize(torch.randn(queries, channels, generator=generator), dim=1)
    return patches, guidance, text
