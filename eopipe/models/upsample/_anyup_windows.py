"""The patches that a pixel sees: the windows of AnyUp's attention (arXiv 2510.12764), laid out patch by patch.

All pixels of one patch see patches of one neighbourhood, a few rows by a few columns around their own; so a patch is
a small dense product of its pixels with that neighbourhood, and patches that a pixel must not see are masked.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

REACH = 0.1
"""Half of a pixel's window, as a share of the image's side."""


class Neighbours(NamedTuple):
    """The neighbourhoods of a grid's patches; n patches, K neighbours, P pixels a patch.

    Attributes:
        patches: [n, K] int64, the neighbours' numbers; where there is none, some patch that the mask hides.
        mask: [n, 1, K, P] float32, 0 where the pixel sees the neighbour, and minus infinity.
    """

    patches: torch.Tensor
    mask: torch.Tensor


def spans(pixels: int, patches: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First patch that each pixel of an axis sees, and one past the last, in float32 as published.

    Args:
        pixels: Of the axis.
        patches: Of the axis.
    """
    centre = (torch.arange(pixels, dtype=torch.float32) + 0.5) / pixels
    first = ((centre - REACH).clamp(0, 1) * patches).floor().long()
    behind = ((centre + REACH).clamp(0, 1) * patches).ceil().long()
    return first, behind


def _axis(patches: int, patch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Neighbours along an axis, [patches, k], and whether a pixel sees them, [patches, k, patch]."""
    first, behind = (values.view(patches, patch) for values in spans(patches * patch, patches))
    centre = torch.arange(patches)[:, None]
    before, after = int((centre - first).max()), int((behind - 1 - centre).max())
    neighbours = centre + torch.arange(-before, after + 1)
    visible = (neighbours[:, :, None] >= first[:, None]) & (neighbours[:, :, None] < behind[:, None])
    return neighbours.clamp(0, patches - 1), visible


def neighbours(height: int, width: int, patch: int) -> Neighbours:
    """Lay out the neighbourhoods of a grid of patches.

    Args:
        height: Patches down.
        width: Patches across.
        patch: Pixels of a patch's side.
    """
    rows, rows_visible = _axis(height, patch)
    columns, columns_visible = _axis(width, patch)
    numbers = rows[:, None, :, None] * width + columns[None, :, None, :]
    visible = rows_visible[:, None, :, None, :, None] & columns_visible[None, :, None, :, None, :]
    mask = torch.zeros(visible.shape).masked_fill_(~visible, float("-inf"))
    return Neighbours(numbers.flatten(2).flatten(0, 1), mask.flatten(4).flatten(2, 3).flatten(0, 1)[:, None])
