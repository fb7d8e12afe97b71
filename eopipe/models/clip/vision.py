"""CLIP's image tower as a dense encoder: another attention in its last blocks, and every token as output.

CLIP's own attention mixes positions; maps need patch tokens that describe their own position. Training-free
segmentation therefore replaces the attention of the last blocks: MaskCLIP (Zhou et al. 2022) by the identity,
SCLIP (Wang et al. 2024) and ClearCLIP (Lan et al. 2024) by self-self attention of queries and keys, SegEarth-OV
(Li et al. 2024, arXiv:2410.01768) by the sum of self-self attentions of queries, keys and values, not averaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from eopipe.models.clip.blocks import Build, LayerNorm, attend, blocks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from eopipe.models.clip.architecture import AttentionKind, AttentionSettings, Gelu, Precision
    from eopipe.models.clip.blocks import ResidualBlock

SELF_ATTENTION: dict[AttentionKind, str] = {"SCLIP": "qk", "ClearCLIP": "q", "SegEarth": "qkv"}
"""Which of query, key and value attend to themselves; their attention matrices are summed."""


@dataclass(frozen=True)
class Features:
    """Features of a batch of windows, in the joint space of pictures and words; not normalised.

    Attributes:
        cls: ``[B, C]`` float32, the class token.
        patches: ``[B, C, h, w]`` float32, contiguous.
    """

    cls: Tensor
    patches: Tensor


class DenseEncoder:
    """CLIP's image tower with another attention in its last blocks.

    Args:
        state: The image tower's tensors, with open_clip's names less ``visual.``.
        heads: Attention heads.
        attention: What the last blocks do.
        gelu: The activation that the weights were trained with.
        precision: Of the matrix products; LayerNorms, sums and the output are float32.
        device: Where it runs.
        packed: oneDNN's packed products: yes, no, or (None) where they can be had.

    Attributes:
        patch: Side of a patch, pixels.
        width: C, channels of the joint space.
        inner: Channels of a token within the tower.
        hidden: Channels within its MLPs.
        layers: Residual blocks.

    Raises:
        ValueError: ``attention.last`` is not within the tower.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        heads: int,
        *,
        attention: AttentionSettings,
        gelu: Gelu,
        precision: Precision = "float32",
        device: str = "cpu",
        packed: bool | None = None,
    ) -> None:
        build = Build(
            heads=heads, gelu=gelu, dtype=getattr(torch, precision), device=torch.device(device), packed=packed
        )
        self.attention = attention
        self.precision = precision
        self.device = build.device
        self.patch = int(state["conv1.weight"].shape[-1])
        self.width = int(state["proj"].shape[1])
        self.inner, self.hidden = int(state["proj"].shape[0]), len(state["transformer.resblocks.0.mlp.c_fc.bias"])
        self._blocks: list[ResidualBlock] = blocks(state, build)
        if not 1 <= attention.last <= len(self._blocks):
            raise ValueError(f"last: {attention.last} of {len(self._blocks)} blocks; choose 1 to {len(self._blocks)}")
        self.layers = len(self._blocks)
        self._pixels = build.product(state["conv1.weight"].float().flatten(1))
        self._class = state["class_embedding"].detach().to(build.device, torch.float32)
        self._table = state["positional_embedding"].detach().to("cpu", torch.float32)
        self._positions: dict[tuple[int, int], Tensor] = {}
        # ln_pre feeds the residual path, not a product
        self._ln_pre = LayerNorm(state, "ln_pre", Build(heads=heads, gelu=gelu, device=build.device))
        self._ln_post = LayerNorm(state, "ln_post", build)
        self._proj = build.product(state["proj"].float().T)

    @torch.no_grad()
    def __call__(self, windows: Tensor) -> Features:
        """Encode windows.

        Args:
            windows: ``[B, 3, H, W]`` float32, normalised by the model's mean and standard deviation; sides are
                multiples of the patch.

        Returns:
            The class token and the patch tokens, float32 whatever the precision.

        Raises:
            ValueError: The windows have another shape.
        """
        rows, columns = self.grid(windows)
        x = self._embed(windows, rows, columns)
        unchanged = len(self._blocks) - self.attention.last
        for block in self._blocks[:unchanged]:
            x = block(x)
        tokens = self._proj(self._ln_post(self._last(x, self._blocks[unchanged:]))).float()
        patches = tokens[:, 1:].transpose(1, 2).reshape(len(tokens), self.width, rows, columns)
        return Features(tokens[:, 0].contiguous(), patches.contiguous())

    def grid(self, windows: Tensor) -> tuple[int, int]:
        """Rows and columns of patches in ``[B, 3, H, W]``.

        Raises:
            ValueError: The windows have another shape.
        """
        sides = windows.shape[2:]
        if windows.ndim != 4 or windows.shape[1] != 3 or any(side % self.patch or not side for side in sides):
            raise ValueError(
                f"windows {tuple(windows.shape)}: expected [B, 3, H, W] with H and W multiples of {self.patch}"
            )
        return sides[0] // self.patch, sides[1] // self.patch

    def positions(self, rows: int, columns: int) -> Tensor:
        """The positional table ``[1 + rows*columns, width]`` for a grid of patches; see `position_table`."""
        if (rows, columns) not in self._positions:
            self._positions[rows, columns] = position_table(self._table, rows, columns).to(self.device)
        return self._positions[rows, columns]

    def _embed(self, windows: Tensor, rows: int, columns: int) -> Tensor:
        """Patches as tokens behind the class token: float32 ``[B, 1 + rows*columns, width]``."""
        batch, patch = len(windows), self.patch
        pixels = windows.to(self.device).reshape(batch, 3, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
        pixels = pixels.reshape(batch, rows * columns, 3 * patch * patch).to(self._ln_post.dtype)
        tokens = self._pixels(pixels).float()
        x = torch.cat([self._class.expand(batch, 1, -1), tokens], dim=1)
        return self._ln_pre(x.add_(self.positions(rows, columns)))

    def _last(self, x: Tensor, changed: list[ResidualBlock]) -> Tensor:
        """The sum of the changed blocks' outputs; each but the last also feeds the next as an ordinary block."""
        total = None
        for block in changed:
            query, key, value = block.queries_keys_values(x)
            attended = self._attended(query, key, value)
            out = block.output(attended) if self.attention.ignore_residual else block.mlp(block.output(attended, x))
            total = out if total is None else total.add_(out)
            if block is not changed[-1]:
                x = block.mlp(block.output(attend(query, key, value), x))
        assert total is not None
        return total

    def _attended(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.attention.kind == "vanilla":
            return attend(query, key, value)
        if self.attention.kind == "MaskCLIP":
            return value
        matrices = {"q": query, "k": key, "v": value}
        selves = (matrices[name] for name in SELF_ATTENTION[self.attention.kind])
        first, *others = (attend(matrix, matrix, value) for matrix in selves)
        for attended in others:
            first = first.add_(attended)
        return first


def position_table(table: Tensor, rows: int, columns: int) -> Tensor:
    """Fit a positional table to a grid of patches, as the published code of SegEarth-OV does (arXiv 2410.01768).

    A grid with as many patches as the table takes the table unchanged, whatever its shape. Otherwise the class row
    stays and the rest is resized bicubically by the factors (rows + 0.1)/side and (columns + 0.1)/side, which also
    map the coordinates.

    Args:
        table: ``[1 + side*side, width]`` float32.
        rows: Of patches.
        columns: Of patches.

    Returns:
        ``[1 + rows*columns, width]`` float32.
    """
    if rows * columns + 1 == len(table):
        return table
    side = round((len(table) - 1) ** 0.5)
    square = table[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    factors = [(rows + 0.1) / side, (columns + 0.1) / side]
    resized = functional.interpolate(square, scale_factor=factors, mode="bicubic", align_corners=False)
    assert resized.shape[2:] == (rows, columns)
    return torch.cat([table[:1], resized.permute(0, 2, 3, 1).reshape(rows * columns, -1)])
