"""The joint bilateral upsamplers in fewer channels, exactly (spec 01 §4.4; the filters are arXiv 2403.10516's).

A stage filters all channels alike, so it commutes with every linear map of the channels. The output is
``up((I + 0.1 W) P) + 0.1 b``: all pixel features of a window lie in the span of its h*w patch columns of
``(I + 0.1 W) P`` and of the constant ``0.1 b``. With the thin QR ``[(I + 0.1 W) P , 0.1 b] = Qm Rm`` it is enough to
upsample Rm's first h*w columns and to add its last: lengths are unchanged (``Qm`` is orthonormal), and a cosine's
numerator is ``z · Qmᵀ T_q``. Nothing is cut off, and no rank is assumed: equal patches, or a window of zeros, only
leave zeros in Rm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from eopipe.models.upsample.jbu import MIXING

if TYPE_CHECKING:
    from torch import Tensor


class LowRank(NamedTuple):
    """A batch of windows in a basis of their own; r = min(h*w + 1, C).

    Attributes:
        source: [B, r, h, w], to upsample in the patches' stead.
        constant: [B, r], to add to every upsampled pixel.
        queries: [B, r, Q], the text in the window's basis.
    """

    source: Tensor
    constant: Tensor
    queries: Tensor


def mixed(patches: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The last convolution, done first: the columns ``(I + 0.1 W) P`` and behind them ``0.1 b``.

    Args:
        patches: P [B, C, h, w].
        weight: W [C, C].
        bias: b [C].

    Returns:
        [B, C, h*w + 1].
    """
    columns = patches.flatten(2)
    columns = torch.baddbmm(columns, weight.expand(len(columns), -1, -1), columns, alpha=MIXING)
    return torch.cat([columns, (MIXING * bias)[None, :, None].expand(len(columns), -1, -1)], dim=2)


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
    basis, rest = torch.linalg.qr(mixed(patches, weight, bias), mode="reduced")
    source = rest[:, :, :-1].unflatten(2, patches.shape[2:]).contiguous()
    return LowRank(source, rest[:, :, -1], basis.transpose(1, 2) @ text.T)
