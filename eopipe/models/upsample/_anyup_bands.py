"""A net of 1x1 convolutions and group norms over bands of pixels, as `eopipe.models.upsample.anyup` is made of them.

A group norm needs the whole map before any pixel can go on, so a map is walked once for each norm. Walked as one
array, it would go through memory a dozen times a layer; in bands of rows, pixel-major, everything between two norms
happens in the cache, and each layer is one product with packed weights.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from eopipe.models.clip.packed_linear import Product

T = TypeVar("T")

WIDTH = 128
"""Channels of every layer."""
GROUPS = 8
EPSILON = 1e-5
"""Of the group norms."""
SMALL = 1024
"""Pixels of a band up to which sums are taken in float64: a map of patches may hardly vary around its mean."""


class GroupNorm(NamedTuple):
    """A group norm's weights, [C] each."""

    weight: Tensor
    bias: Tensor


class ConvBlock(NamedTuple):
    """``x + last(SiLU(norm2(first(SiLU(norm1(x))))))``."""

    norm1: GroupNorm
    first: Product
    norm2: GroupNorm
    last: Product


class BandWorkers:
    """Calls a function for each band, on the calling thread or on a pool of threads with one core each.

    Threads of torch's own would meet at the end of every operation, hundreds of times a window, and wait for the
    slowest; these meet where a norm needs the whole map. A band's values do not depend on its thread.

    Args:
        threads: How many bands are worked on at once.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._inference = torch.is_inference_mode_enabled()

    def __enter__(self) -> Self:
        self._before = torch.get_num_threads()
        self._pool = (
            ThreadPoolExecutor(self._threads, initializer=torch.set_num_threads, initargs=(1,))
            if self._threads > 1
            else None
        )
        return self

    def __exit__(self, *reason: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()
            # the number is each thread's own, but new threads take the last one set
            torch.set_num_threads(self._before)

    def map(self, function: Callable[[int], T], count: int) -> list[T]:
        """The function's values for 0 to ``count - 1``, in order."""
        if self._pool is None:
            return [function(n) for n in range(count)]

        def call(n: int) -> T:
            with torch.inference_mode(self._inference), torch.no_grad():  # both are each thread's own
                return function(n)

        return list(self._pool.map(call, range(count)))


class PixelBands:
    """A map as bands of whole rows, each [pixels, C], with the sums that a norm over all of them needs.

    Args:
        workers: Compute the bands.
        make: Computes the band of a number.
        count: Number of bands.
    """

    def __init__(self, workers: BandWorkers, make: Callable[[int], Tensor], count: int) -> None:
        def both(n: int) -> tuple[Tensor, Tensor, int]:
            band = make(n)
            exact = band.double() if len(band) <= SMALL else band
            return band, torch.stack([exact.sum(0), exact.square().sum(0)]).double(), len(band)

        bands, sums, pixels = zip(*workers.map(both, count), strict=True)
        self.bands: list[Tensor] = list(bands)
        self._sums, self._pixels = torch.stack(list(sums)).sum(0), sum(pixels)

    def affine(self, norm: GroupNorm) -> tuple[Tensor, Tensor]:
        """The group norm of this map as a factor and a summand for each channel."""
        size = WIDTH // GROUPS
        mean, square = self._sums.view(2, GROUPS, size).sum(2) / (size * self._pixels)
        scale = (square - mean.square()).clamp_min(0).add(EPSILON).rsqrt()
        factor = norm.weight.double() * scale.repeat_interleave(size)
        summand = norm.bias.double() - mean.repeat_interleave(size) * factor
        return factor.float(), summand.float()

    def take(self, n: int) -> Tensor:
        """A band, which is dropped from this map."""
        band = self.bands[n]
        self.bands[n] = band.new_empty(0)
        return band


def run(block: ConvBlock, source: PixelBands, workers: BandWorkers) -> PixelBands:
    """A block over a map; ``source`` is used up."""
    hidden = _first(block, source, workers)
    affine = hidden.affine(block.norm2)
    return PixelBands(
        workers, lambda n: block.last(_activated(hidden.take(n), affine), source.take(n)), len(source.bands)
    )


def run_pooled(block: ConvBlock, source: PixelBands, workers: BandWorkers, width: int, patch: int) -> Tensor:
    """A block over a map and the mean over each patch; ``source`` is used up.

    The mean and the block's last product commute, so the product is done for patches.

    Args:
        block: The block.
        source: PixelBands of whole rows of patches.
        workers: Compute the bands.
        width: Pixels of a row.
        patch: Pixels of a patch's side.

    Returns:
        [patches, C], row by row.
    """
    hidden = _first(block, source, workers)
    affine = hidden.affine(block.norm2)

    def pooled(n: int) -> tuple[Tensor, Tensor]:
        activated = _activated(hidden.take(n), affine)
        return patch_means(activated, width, patch), patch_means(source.take(n), width, patch)

    means = workers.map(pooled, len(source.bands))
    return block.last(torch.cat([mean for mean, _ in means]), torch.cat([skipped for _, skipped in means]))


def patch_means(band: Tensor, width: int, patch: int) -> Tensor:
    """Means over patches: [rows * width, C] to [patches, C]."""
    return band.view(-1, patch, width // patch, patch, WIDTH).mean((1, 3)).flatten(0, 1)


def _first(block: ConvBlock, source: PixelBands, workers: BandWorkers) -> PixelBands:
    affine = source.affine(block.norm1)
    return PixelBands(workers, lambda n: block.first(_activated(source.bands[n], affine)), len(source.bands))


def _activated(band: Tensor, affine: tuple[Tensor, Tensor]) -> Tensor:
    return functional.silu(torch.addcmul(affine[1], band, affine[0]), inplace=True)
