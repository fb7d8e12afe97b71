"""What an upsampler is to the kernel that uses it; and the published path without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn import functional

from eopipe.errors import PlanError

if TYPE_CHECKING:
    from torch import Tensor

NORM_FLOOR = 1e-12
"""The least length a feature is divided by: a feature of zeros scores 0, not NaN."""


class Upsampler(Protocol):
    """Turns a window's patch features into cosines at every pixel.

    The published methods compute a map of features at window resolution, make them unit length and multiply them
    by the text matrix. A kernel needs the products only, so the interface returns those; whether the features are
    ever computed is up to the upsampler.

    Attributes:
        name: ``bilinear``, ``jbu_one``, ``jbu_stack`` or ``anyup``.
    """

    name: str

    def score(self, patches: Tensor, guidance: Tensor, text: Tensor) -> Tensor:
        """Cosines between every pixel's upsampled feature and every query.

        A window's scores depend on that window alone: batching changes no window's values.

        Args:
            patches: [B, C, h, w] float32, the encoder's patch features, not normalised.
            guidance: [B, 3, H, W] float32, the windows as the encoder saw them: RGB less CLIP's mean, divided by
                its standard deviation; invalid pixels are 0.
            text: [Q, C] float32, rows of unit length.

        Returns:
            [B, H, W, Q] float32, contiguous.

        Raises:
            PlanError: The shapes do not fit this upsampler: its channels, or the ratio of window to patches.
        """

    def memory(self, windows: int, side: int, channels: int, queries: int) -> int:
        """Peak bytes of `score` beside its inputs and its output.

        Args:
            windows: B.
            side: H = W, pixels.
            channels: C.
            queries: Q.
        """


def patch_side(patches: Tensor, guidance: Tensor) -> int:
    """Pixels of a patch's side.

    Raises:
        PlanError: The picture is no whole multiple of its patches.
    """
    (h, w), (height, width) = patches.shape[2:], guidance.shape[2:]
    if height % h or height * w != width * h:
        raise PlanError(f"a window of {height} x {width} is no multiple of its {h} x {w} patches")
    return int(height // h)


def for_other_channels(upsampler: str, channels: int, given: int) -> PlanError:
    """What to raise where an upsampler gets the features of another encoder."""
    return PlanError(
        f"upsampler {upsampler} is for features of {channels} channels, and the encoder gives {given}; "
        f"take an upsampler trained for this encoder, or bilinear or anyup"
    )


def cosines(features: Tensor, text: Tensor) -> Tensor:
    """Cosines of features, pixel-major, to unit text rows.

    Args:
        features: [..., C].
        text: [..., Q, C], or one [Q, C] for all.

    Returns:
        [..., Q]; 0 where a feature is 0.
    """
    length = torch.linalg.vector_norm(features, dim=-1, keepdim=True).clamp_min(NORM_FLOOR)
    products: Tensor = features @ text.transpose(-1, -2)
    return products.div_(length)


class Bilinear:
    """Cosines of the patch grid, resized to the window (SegEarth-OV's path without SimFeatUp, arXiv 2410.01768).

    Of the guidance only the size is used.
    """

    name = "bilinear"

    @torch.no_grad()
    def score(self, patches: Tensor, guidance: Tensor, text: Tensor) -> Tensor:
        """As `Upsampler.score`: the pixel's score is interpolated between patches, not its feature's cosine."""
        grid = cosines(patches.movedim(1, -1), text).movedim(-1, 1)  # channels last, and it stays so
        size = (guidance.shape[-2], guidance.shape[-1])
        resized = functional.interpolate(grid, size=size, mode="bilinear", align_corners=False)
        return resized.movedim(1, -1).contiguous()

    def memory(self, windows: int, side: int, channels: int, queries: int) -> int:
        """As `Upsampler.memory`."""
        patches = (side // 8) ** 2  # no encoder has finer patches
        return 4 * windows * (patches * (channels + 2 * queries) + side * side * queries)
