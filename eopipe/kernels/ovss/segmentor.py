"""From windows to logits: image tower, upsampler, and the global bias taken off (SegEarth-OV, arXiv 2410.01768).

Windows lie within an image as the benchmarks lay them, or on the absolute lattice, for maps. The published protocol
anchors windows to the image's corner and shifts the last ones back inside; since each window adds a bias of its own,
the result then depends on how the picture was cut. A mosaic must not, so its windows have their corners at the
multiples of the stride on the lattice and may reach over the edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from eopipe.errors import PlanError
from eopipe.grid import PixelBox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from eopipe.models.clip.vision import DenseEncoder, Features
    from eopipe.models.upsample.protocol import Upsampler

WINDOWS_AT_ONCE = 4
"""Windows of an image that share a pass through the tower: enough rows for a product on two cores."""


class Segmentor:
    """A model with its words: windows in, logits out. Stateless, and the same for maps and benchmarks.

    Args:
        encoder: The image tower.
        upsampler: From patches to pixels.
        text: ``[Q, C]`` unit vectors of the queries, on the encoder's device.
        bias: Lambda of the global bias alleviation: what the window's class token is weighed with before it is
            added to every pixel's logits; -0.3 as published, 0 turns it off.
    """

    def __init__(self, encoder: DenseEncoder, upsampler: Upsampler, text: Tensor, *, bias: float) -> None:
        self.encoder = encoder
        self.upsampler = upsampler
        self.text = text
        self.bias = bias

    @torch.inference_mode()
    def __call__(self, windows: Tensor) -> Tensor:
        """Logits of some windows.

        Args:
            windows: ``[B, 3, H, W]`` float32, normalised; sides multiples of the tower's patch.

        Returns:
            ``[B, H, W, Q]`` float32: the pixel's cosine with each query, plus the window's bias; before the scale.
        """
        return self.score(self.encoder(windows), windows)

    @torch.inference_mode()
    def score(self, features: Features, windows: Tensor) -> Tensor:
        """The same from stored features.

        Args:
            features: Of these windows.
            windows: ``[B, 3, H, W]``, which guide the upsampler.
        """
        logits = self.upsampler.score(features.patches, windows, self.text)
        if self.bias:
            logits += (self.bias * functional.normalize(features.cls, dim=-1) @ self.text.T)[:, None, None, :]
        return logits


def lay_windows(box: PixelBox, *, size: int, stride: int, lattice: bool) -> Iterator[PixelBox]:
    """Windows that together cover a box, in row order.

    Args:
        box: What must be covered.
        size: Side of a window, pixels.
        stride: Distance of neighbours.
        lattice: Whether windows sit at multiples of the stride on the absolute lattice, all of those that touch
            the box (maps); else from the box's corner, the last ones shifted back inside, and a window no larger
            than the box (benchmarks; SegEarth-OV's sliding inference).

    Yields:
        Windows ``size x size``; smaller only where a benchmark's image is.
    """
    rows, cols = (
        list(_starts(low, high, size=size, stride=stride, lattice=lattice))
        for low, high in ((box.row0, box.row1), (box.col0, box.col1))
    )
    height, width = (
        side if lattice else min(side, extent) for side, extent in zip((size, size), box.shape, strict=True)
    )
    for row in rows:
        for col in cols:
            yield PixelBox(row, col, row + height, col + width)


def _starts(low: int, high: int, *, size: int, stride: int, lattice: bool) -> Iterator[int]:
    if lattice:
        yield from range((low - size) // stride * stride + stride, high, stride)
        return
    for number in range(max(high - low - size + stride - 1, 0) // stride + 1):
        yield low + max(min(number * stride, high - low - size), 0)


@torch.inference_mode()
def segment_image(
    segmentor: Segmentor,
    image: Tensor,
    *,
    crop: int,
    stride: int,
    size: tuple[int, int],
    batch: int = WINDOWS_AT_ONCE,
) -> Tensor:
    """Logits of a whole picture by the published protocol: sliding windows, their mean, resized.

    Args:
        segmentor: The model with its words.
        image: ``[3, h, w]`` float32, normalised, at the benchmark's size.
        crop: Side of a window; 0 for one pass over the whole picture, whose sides are then multiples of the patch.
        stride: Distance of windows.
        size: Rows and columns of the result, usually the labels'.
        batch: Windows at once.

    Returns:
        ``[Q, *size]`` float32, before the scale.

    Raises:
        PlanError: ``crop`` is 0 and the picture's sides do not suit.
    """
    height, width = image.shape[-2:]
    whole = PixelBox(0, 0, height, width)
    if crop == 0:
        patch = segmentor.encoder.patch
        if height % patch or width % patch:
            raise PlanError(
                f"a picture of {height} x {width} cannot be seen whole by patches of {patch}; set a crop (224)"
            )
        windows = [whole]
    else:
        windows = list(lay_windows(whole, size=crop, stride=stride, lattice=False))
    sums = image.new_zeros(height, width, len(segmentor.text))
    count = image.new_zeros(height, width, 1)
    for start in range(0, len(windows), batch):
        _add(segmentor, image, windows[start : start + batch], sums, count)
    return functional.interpolate((sums / count).permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False)[
        0
    ]


def _add(segmentor: Segmentor, image: Tensor, windows: Sequence[PixelBox], sums: Tensor, count: Tensor) -> None:
    """Score windows of one shape, zero-padded around to whole patches, and add them up in place."""
    whole = PixelBox(0, 0, *image.shape[-2:])
    pixels = [window.slices(whole) for window in windows]
    height, width = windows[0].shape
    down, right = -height % segmentor.encoder.patch, -width % segmentor.encoder.patch
    top, left = down // 2, right // 2
    crops = torch.stack([image[:, rows, cols] for rows, cols in pixels])
    logits = segmentor(functional.pad(crops, (left, right - left, top, down - top)))
    for at, window_logits in zip(pixels, logits, strict=True):
        sums[at] += window_logits[top : top + height, left : left + width]
        count[at] += 1
