"""A net of 1x1 convolutions and group norms over bands of pixels, as `eopipe.models.upsample.anyup` is made of them.

A group norm needs the whole map before any pixel can go on, so a map is walked once for each norm. Walked as one
array, it would go through memory a dozen times a layer; in bands of rows, pixel-major, everything between two norms
happens in the cache, and each layer is one product with packed weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from eopipe.models.clip.products import Product

WIDTH = 128
"""Channels of every layer."""
GROUPS = 8
EPSILON = 1e-5
"""Of the group norms."""
SMALL = 1024
"""Pixels of a band up to which sums are taken in float64: a map of patches may hardly vary around its mean."""


class Norm(NamedTuple):
    """A group norm's weights, [C] each."""

    weight: Tensor
    bias: Tensor


class Block(NamedTuple):
    """``x + last(SiLU(norm2(first(SiLU(norm1(x))))))``."""

    norm1: Norm
    first: Product
    norm2: Norm
    last: Product


class Bands:
    """A map as bands of whole rows, each [pixels, C], with the sums that a norm over all of them needs."""

    def __init__(self) -> None:
        self.bands: list[Tensor] = []
        self._sums: list[Tensor] = []

    def add(self, band: Tensor) -> None:
        """Append a band."""
        self.bands.append(band)
        exact = band.double() if len(band) <= SMALL else band
        self._sums.append(torch.stack([exact.sum(0), exact.square().sum(0)]).double())

    def affine(self, norm: Norm) -> tuple[Tensor, Tensor]:
        """The group norm of this map as a factor and a summand for each channel."""
        size = WIDTH // GROUPS
        pixels = sum(len(band) for band in self.bands)
        mean, square = torch.stack(self._sums).sum(0).view(2, GROUPS, size).sum(2) / (size * pixels)
        scale = (square - mean.square()).clamp_min(0).add(EPSILON).rsqrt()
        factor = norm.weight.double() * scale.repeat_interleave(size)
        summand = norm.bias.double() - mean.repeat_interleave(size) * factor
        return factor.float(), summand.float()


def run(block: Block, source: Bands) -> Bands:
    """A block over a map; ``source`` is used up."""
    hidden = _first(block, source)
    affine = hidden.affine(block.norm2)
    out = Bands()
    while hidden.bands:
        out.add(block.last(_activated(hidden.bands.pop(0), affine), source.bands.pop(0)))
    return out


def run_pooled(block: Block, source: Bands, width: int, patch: int) -> Tensor:
    """A block over a map and the mean over each patch; ``source`` is used up.

    The mean and the block's last product commute, so the product is done for patches.

    Args:
        block: The block.
        source: Bands of whole rows of patches.
        width: Pixels of a row.
        patch: Pixels of a patch's side.

    Returns:
        [patches, C], row by row.
    """
    hidden = _first(block, source)
    affine = hidden.affine(block.norm2)
    activated, skipped = [], []
    while hidden.bands:
        activated.append(patch_means(_activated(hidden.bands.pop(0), affine), width, patch))
        skipped.append(patch_means(source.bands.pop(0), width, patch))
    return block.last(torch.cat(activated), torch.cat(skipped))


def patch_means(band: Tensor, width: int, patch: int) -> Tensor:
    """Means over patches: [rows * width, C] to [patches, C]."""
    return band.view(-1, patch, width // patch, patch, WIDTH).mean((1, 3)).flatten(0, 1)


def _first(block: Block, source: Bands) -> Bands:
    affine = source.affine(block.norm1)
    hidden = Bands()
    for band in source.bands:
        hidden.add(block.first(_activated(band, affine)))
    return hidden


def _activated(band: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    return functional.silu(torch.addcmul(affine[1], band, affine[0]), inplace=True)
