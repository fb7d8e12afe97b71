"""Scores by a joint bilateral upsampler in its exact low-rank form, in torch: what runs on CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from eopipe.models.upsample import lowrank
from eopipe.models.upsample.jbu import RADIUS, Pointwise
from eopipe.models.upsample.protocol import cosines

if TYPE_CHECKING:
    from torch import Tensor

    from eopipe.models.upsample.jbu import JBU


class JBUTorch:
    """Scores with a JBU's weights in the low-rank form: CUDA's upsampler, and the CPU's reference of it.

    Filtering treats all channels alike, so it commutes with the last convolution and with a change of basis: the
    window's features span at most h*w + 1 dimensions, and only those are upsampled (spec 01 §4.4; `lowrank.factor`).

    Args:
        model: The upsampler, on its device; put into evaluation mode.
    """

    def __init__(self, model: JBU) -> None:
        self.name = model.name
        self.model = model.eval()

    @torch.no_grad()
    def score(self, patches: Tensor, guidance: Tensor, text: Tensor) -> Tensor:
        """As `Upsampler.score`, window by window, since one takes hundreds of megabytes."""
        stages = self.model.stages(self.model.ratio(patches, guidance))
        last = self.model.fixup_proj[1]
        assert isinstance(last, Pointwise)
        assert last.bias is not None
        batch, _, height, width = guidance.shape
        out = text.new_empty(batch, height, width, text.shape[0])
        for n in range(batch):
            window = slice(n, n + 1)
            source, constant, queries = lowrank.factor(patches[window], last.weight[:, :, 0, 0], last.bias, text)
            for stage in stages:
                source = stage(source, guidance[window])
            pixels = source.flatten(2).transpose(1, 2) + constant[:, None]
            out[window] = cosines(pixels, queries.transpose(1, 2)).view(1, height, width, -1)
        return out

    def memory(self, windows: int, side: int, channels: int, queries: int) -> int:
        """As `Upsampler.memory`: one window's, however many there are."""
        del windows, queries
        taps = (2 * RADIUS[self.name] + 1) ** 2
        kept = min(channels, (side // 16) ** 2 + 1)
        # the last stage's filters, their correction and its input; the source before and after, padded and transposed
        return 4 * side * side * (4 * taps + 4 * kept)
