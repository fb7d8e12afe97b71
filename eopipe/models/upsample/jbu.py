"""Learned joint bilateral upsampling: FeatUp's ``jbu_stack`` and SimFeatUp's ``jbu_one``, as published.

Sources: FeatUp (Fu et al., arXiv 2403.10516), SimFeatUp (Li et al., arXiv 2410.01768). A stage
doubles the resolution: it resizes its source bicubically and filters it with weights that every pixel makes for
itself from the guidance image. ``jbu_stack`` has four stages of radius 3 with weights of their own; ``jbu_one``
applies one stage of radius 5 again and again. A 1x1 convolution at full resolution ends both.

These modules are the plain form: what trains, and what the fast forms are held against. With their weights
`eopipe.models.upsample.jbu_torch` scores windows on CUDA, and `eopipe.models.upsample.jbu_cpu` on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from eopipe.errors import PlanError
from eopipe.models.upsample.adaptive_conv import adaptive_conv
from eopipe.models.upsample.protocol import for_other_channels, patch_side

if TYPE_CHECKING:
    from torch import Tensor

KEYS = 32
"""Channels of the map that pixels are compared in."""
RADIUS = {"jbu_one": 5, "jbu_stack": 3}
"""The reach of a stage's filter, pixels of its output."""
MIXING = 0.1
"""How much of the two corrections (of the filter, of the output) is added."""


class Pointwise(nn.Conv2d):
    """A 1x1 convolution as a matrix product: full float32 on CUDA, where a convolution would round to TF32."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W]."""
        assert self.bias is not None
        weight = self.weight[:, :, 0, 0].expand(len(x), -1, -1)
        out = torch.baddbmm(self.bias[:, None], weight, x.flatten(2))
        return out.view(*out.shape[:2], *x.shape[2:])


class JBUStage(nn.Module):
    """One doubling.

    Args:
        radius: Reach of the filter; it has (2*radius + 1)² taps.
    """

    def __init__(self, radius: int) -> None:
        super().__init__()
        taps = (2 * radius + 1) ** 2
        self.radius = radius
        self.range_temp = nn.Parameter(torch.tensor(0.0))
        self.sigma_spatial = nn.Parameter(torch.tensor(1.0))
        self.range_proj = nn.Sequential(Pointwise(3, KEYS), nn.GELU(), nn.Dropout2d(0.1), Pointwise(KEYS, KEYS))
        self.fixup_proj = nn.Sequential(
            Pointwise(taps + 3, taps), nn.GELU(), nn.Dropout2d(0.1), Pointwise(taps, taps)
        )

    def range_weights(self, guidance: Tensor) -> Tensor:
        """Softmax over the taps of how alike a pixel and its neighbours look: [B, 3, H, W] to [B, taps, H, W]."""
        keys = self.range_proj(guidance)
        reach = self.radius
        around = functional.pad(keys, [reach] * 4, mode="reflect")
        height, width = keys.shape[2:]
        rows = [
            (around[:, :, i : i + height, j : j + width] * keys).sum(1)
            for i in range(2 * reach + 1)
            for j in range(2 * reach + 1)
        ]
        sharpness = self.range_temp.exp().clamp(1e-4, 1e4)
        return (sharpness * torch.stack(rows, dim=1)).softmax(1)

    def spatial_weights(self) -> Tensor:
        """A Gaussian over the taps: [1, taps, 1, 1]."""
        t = torch.linspace(-1, 1, 2 * self.radius + 1, device=self.sigma_spatial.device)
        distance = t[:, None].square() + t.square()
        return (-distance / (2 * self.sigma_spatial.square())).exp().reshape(1, -1, 1, 1)

    def normalised(self, guidance: Tensor) -> Tensor:
        """Range times spatial weights, summing to 1: [B, taps, H, W]."""
        product = self.range_weights(guidance) * self.spatial_weights()
        return product / product.sum(1, keepdim=True).clamp_min(1e-7)

    def filters(self, guidance: Tensor) -> Tensor:
        """Every pixel's filter, corrected by the network and not normalised again: [B, taps, H, W].

        Raises:
            PlanError: The guidance is too small to be mirrored at its border.
        """
        if min(guidance.shape[2:]) <= self.radius:
            raise PlanError(
                f"a window of {guidance.shape[2] // 2} x {guidance.shape[3] // 2} patches is too small for an"
                f" upsampler of radius {self.radius}; give one of at least {self.radius // 2 + 1} patches a side"
            )
        weights = self.normalised(guidance)
        correction: Tensor = self.fixup_proj(torch.cat([weights, guidance], dim=1))
        return weights + MIXING * correction

    def forward(self, source: Tensor, image: Tensor) -> Tensor:
        """Double the source's resolution.

        Args:
            source: [B, C, h, w].
            image: [B, 3, H, W], the window at whatever resolution; pooled to the output's.

        Returns:
            [B, C, 2h, 2w].
        """
        size = (2 * source.shape[2], 2 * source.shape[3])
        filters = self.filters(functional.adaptive_avg_pool2d(image, size))
        return self.apply_filters(source, filters)

    def apply_filters(self, source: Tensor, filters: Tensor) -> Tensor:
        """Resize the source bicubically to the filters' size, and filter it: [B, C, 2h, 2w]."""
        batch, _, height, width = filters.shape
        large = functional.interpolate(source, size=(height, width), mode="bicubic", align_corners=False)
        around = functional.pad(large, [self.radius] * 4, mode="reflect")
        side = 2 * self.radius + 1
        return adaptive_conv(around, filters.permute(0, 2, 3, 1).reshape(batch, height, width, side, side))


class JBU(nn.Module):
    """The whole upsampler, with the published checkpoints' state-dict names.

    It is in evaluation mode when made. `train` turns its dropouts on (0.1 on the key channels, 0.1 on the filter's
    hidden channels, 0.2 before the last convolution), for training. Scripts that build the published segmentor
    without its evaluation loop leave them on, with a fresh mask a call.

    Args:
        name: ``jbu_one`` or ``jbu_stack``.
        channels: C of the features; the last convolution's.
    """

    def __init__(self, name: str, channels: int) -> None:
        super().__init__()
        self.name = name
        self.channels = channels
        if name == "jbu_one":
            self.up = JBUStage(RADIUS[name])
        else:
            self.up1, self.up2, self.up3, self.up4 = (JBUStage(RADIUS[name]) for _ in range(4))
        self.fixup_proj = nn.Sequential(nn.Dropout2d(0.2), Pointwise(channels, channels))
        self.eval()

    def stages(self, ratio: int) -> list[JBUStage]:
        """The stages that take a patch to ``ratio`` pixels, in order.

        Args:
            ratio: Pixels of the window a patch, a power of two; 16 for ``jbu_stack``.

        Raises:
            PlanError: This upsampler cannot.
        """
        doublings = ratio.bit_length() - 1
        if ratio < 2 or ratio != 1 << doublings:
            raise PlanError(
                f"upsampler {self.name} doubles, and cannot make {ratio} pixels of a patch; take an encoder with"
                " patches of 16 or 32, or upsampler anyup or bilinear"
            )
        if self.name == "jbu_one":
            return [self.up] * doublings
        if doublings != 4:
            raise PlanError(
                f"upsampler {self.name} has 4 stages and makes 16 pixels of a patch, not {ratio};"
                " take an encoder with patches of 16, or another upsampler"
            )
        return [self.up1, self.up2, self.up3, self.up4]

    def ratio(self, source: Tensor, image: Tensor) -> int:
        """Pixels of the image a patch of the source, checked.

        Raises:
            PlanError: The channels are not this upsampler's, or the image is not one multiple of the grid both ways.
        """
        if source.shape[1] != self.channels:
            raise for_other_channels(self.name, self.channels, source.shape[1])
        return patch_side(source, image)

    def forward(self, source: Tensor, guidance: Tensor) -> Tensor:
        """Upsample features to the guidance's resolution.

        Args:
            source: [B, C, h, w].
            guidance: [B, 3, H, W], the normalised window; H/h = W/w is the patch side.

        Returns:
            [B, C, H, W].

        Raises:
            PlanError: As `ratio` and `stages`.
        """
        for stage in self.stages(self.ratio(source, guidance)):
            source = stage(source, guidance)
        correction: Tensor = self.fixup_proj(source)
        return source + MIXING * correction
