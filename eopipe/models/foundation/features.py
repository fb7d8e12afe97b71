"""DINO and DINOv2: features of patches, as DynamicEarth's comparer takes them (arXiv 2501.12931).

The picture at its own size, less ImageNet's mean; the last block after the final norm, without CLS. Pixels that
fill no patch on the right and below are left out, as the patches' convolution does.

**Positions.** DINO's own code stretches its table of positions by ``(cells + 0.1) / side``, so that rounding cannot
lose a cell; the library stretches it to exactly the cells. The cells' places differ by up to ``0.1 / cells`` of the
table: at 1024 pixels 0.02 of one of its cells. The paper used DINO's own code, so DINO is computed so; for DINOv2 the
paper used the library, so DINOv2 is computed as there. (Before release 4.46 or so the library had the 0.1 for DINOv2
too; which release the paper used is not stated.) A ``config.json`` converted from DINO may have a
``layer_norm_eps`` of 1e-12 where DINO's code has 1e-6; the folder's is used.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from eopipe.models.foundation.picture import check_picture, normalised
from eopipe.models.foundation.transformers_net import Net, NetModel

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


_NUDGE = 0.1
"""Cells that DINO's code adds to either side before it stretches its table."""


class FeatureModel(NetModel):
    """A vision transformer that gives a picture's patches features.

    Args:
        net: With its weights.
    """

    task = "features"

    def __init__(self, net: Net) -> None:
        super().__init__(net)
        entry = net.model.entry
        assert entry.patch is not None, "of a model of features"
        self._patch = entry.patch
        self._options = {"interpolate_pos_encoding": True} if entry.model_type == "vit" else {}
        if entry.model_type == "vit":
            embeddings = net.module.embeddings
            embeddings.interpolate_pos_encoding = partial(_dino_positions, embeddings, self._patch)

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Encode a picture.

        Args:
            picture: uint8 ``[H, W, 3]``, red, green, blue; at least a patch high and wide.

        Returns:
            ``[C, H // patch, W // patch]``, not normalised.

        Raises:
            ValueError: It is no picture, or is smaller than a patch.
        """
        height, width = check_picture(picture)
        rows, cols = height // self._patch, width // self._patch
        if not rows or not cols:
            raise ValueError(f"a picture of {height} by {width} pixels holds no patch of {self._patch}")
        entry = self._net.model.entry
        with self._net.running():
            pixels = normalised(picture, entry.mean, entry.std, self._net.device)
            tokens = self._net.module(pixels, **self._options).last_hidden_state[0, 1:]
            return np.ascontiguousarray(tokens.T.reshape(-1, rows, cols).cpu().numpy())


def _dino_positions(embeddings: Any, patch: int, tokens: Tensor, height: int, width: int) -> Tensor:
    """DINO's table of positions for a picture, instead of the library's.

    Args:
        embeddings: The net's, with ``position_embeddings`` ``[1, 1 + side^2, C]``.
        patch: Side of a patch.
        tokens: ``[1, 1 + cells, C]``.
        height: Of the picture.
        width: Likewise.

    Returns:
        ``[1, 1 + cells, C]``.
    """
    table: Tensor = embeddings.position_embeddings
    if tokens.shape[1] == table.shape[1] and height == width:
        return table
    side = round((table.shape[1] - 1) ** 0.5)
    grid = table[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    scale = (height // patch + _NUDGE) / side, (width // patch + _NUDGE) / side
    stretched = functional.interpolate(grid, scale_factor=scale, mode="bicubic")
    return torch.cat([table[:, :1], stretched.flatten(2).transpose(1, 2)], dim=1)
