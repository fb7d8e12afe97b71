"""Scores by a joint bilateral upsampler in fewer channels, exactly, in torch: what runs on CUDA.

A stage filters all channels alike (FeatUp, arXiv 2403.10516), so it commutes with every linear map of the channels.
The output is ``up((I + 0.1 W) P) + 0.1 b``: all pixel features of a window lie in the span of its h*w patch columns
of ``(I + 0.1 W) P`` and of the constant ``0.1 b``. With the thin QR ``[(I + 0.1 W) P , 0.1 b] = Qm Rm`` it is enough
to upsample Rm's first h*w columns and to add its last: lengths are unchanged (``Qm`` is orthonormal), and a cosine's
numerator is ``z · Qmᵀ T_q``. Nothing is cut off, and no rank is assumed: equal patches, or a window of zeros, only
leave zeros in Rm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from eopipe.models.upsample.jbu import MIXING, RADIUS, Pointwise
from eopipe.models.upsample.protocol import cosines

if TYPE_CHECKING:
    from torch import Tensor

    from eopipe.models.upsample.jbu import JBU


class JBUTorch:
    """Scores with a JBU's weights in fewer channels: CUDA's upsampler, and the CPU's reference of it.

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
            source, constant, queries = factor(patches[window], last.weight[:, :, 0, 0], last.bias, text)
            for stage in stages:
                source = stage(source, guidance[window])
            pixels = source.flatten(2).transpose(1, 2) + constant[:, None]
            out[window] = cosines(pixels, queries.transpose(1, 2)).view(1, height, width, -1)
        return out

    def memory(self, windows: int, side: int, channels: int, queries: int) -> int:
        """As `Upsampler.memory`: one window's, however many there are."""
        del windows, queries
        taps = (2 * RADIUS[self.name] + 1) ** 2
        rank = min(channels, (side // 16) ** 2 + 1)
        # the last stage's filters, their correction and its input; the source before and after, padded and transposed
        return 4 * side * side * (4 * taps + 4 * rank)


class LowRank(NamedTuple):
    """A batch of windows, each in its own basis; r = min(h*w + 1, C).

    Attributes:
        source: [B, r, h, w], to upsample instead of the patches.
        constant: [B, r], to add to every upsampled pixel.
        queries: [B, r, Q], the text in the window's basis.
    """

    source: Tensor
    constant: Tensor
    queries: Tensor


def factor(patches: Tensor, weight: Tensor, bias: Tensor, text: Tensor) -> LowRank:
    """Express windows in the span of their own patches.

    Args:
        patches: [B, C, h, w], the encoder's features.
        weight: [C, C] of the last 1x1 convolution.
        bias: [C] of it.
        text: [Q, C].

    Returns:
        The windows, the constant and the text in the new basis.
    """
    columns = patches.flatten(2)
    mixed = torch.baddbmm(columns, weight.expand(len(columns), -1, -1), columns, alpha=MIXING)
    constant = (MIXING * bias)[None, :, None].expand(len(columns), -1, -1)
    basis, rest = torch.linalg.qr(torch.cat([mixed, constant], dim=2), mode="reduced")
    source = rest[:, :, :-1].unflatten(2, patches.shape[2:]).contiguous()
    return LowRank(source, rest[:, :, -1], basis.transpose(1, 2) @ text.T)
