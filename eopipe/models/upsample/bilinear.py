"""The published path without an upsampler: cosines of the patches, resized (spec 01 §6; arXiv 2410.01768)."""

from __future__ import annotations

import torch
from torch.nn import functional

from eopipe.models.upsample.protocol import cosines


class Bilinear:
    """Scores the patch grid, and resizes the scores to the window; the guidance is looked at for its size only."""

    name = "bilinear"

    @torch.no_grad()
    def score(self, patches: torch.Tensor, guidance: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """As `Upsampler.score`: the pixel's score is interpolated between patches, not its feature's cosine."""
        grid = cosines(patches.movedim(1, -1), text).movedim(-1, 1)  # channels last, and it stays so
        size = (guidance.shape[-2], guidance.shape[-1])
        resized = functional.interpolate(grid, size=size, mode="bilinear", align_corners=False)
        return resized.movedim(1, -1).contiguous()

    def memory(self, windows: int, side: int, channels: int, queries: int) -> int:
        """As `Upsampler.memory`."""
        patches = (side // 8) ** 2  # no encoder has finer patches
        return 4 * windows * (patches * (channels + 2 * queries) + side * side * queries)
