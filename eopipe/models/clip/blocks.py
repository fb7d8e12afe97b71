"""CLIP's residual block, as both towers have it, over plain tensors with open_clip's names.

``z = x + attention(ln_1(x)); y = z + mlp(ln_2(z))`` (Radford et al. 2021). LayerNorms and the sums along the
residual path stay in float32 whatever the precision of the products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

from eopipe.models.clip.packed_linear import Product

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from eopipe.models.clip.architecture import Gelu

CPU = torch.device("cpu")
QUICK = 1.702
"""QuickGELU is x times sigmoid(1.702 x)."""
EPSILON = 1e-5
"""Of every LayerNorm in CLIP."""


@dataclass(frozen=True, kw_only=True)
class Build:
    """How a tower's tensors are laid out.

    Attributes:
        heads: Attention heads of each block.
        gelu: ``quick`` (OpenAI, MetaCLIP, DFN) or ``exact`` (most of LAION).
        dtype: Of the products.
        device: Where it runs.
        packed: oneDNN's packed products: yes, no, or (None) where they can be had.
    """

    heads: int
    gelu: Gelu
    dtype: torch.dtype = torch.float32
    device: torch.device = CPU
    packed: bool | None = None

    def product(
        self, weight: Tensor, bias: Tensor | None = None, *, activation: Literal["none", "silu", "gelu"] = "none"
    ) -> Product:
        """A product with these weights."""
        return Product(weight, bias, activation=activation, dtype=self.dtype, device=self.device, packed=self.packed)


class LayerNorm:
    """LayerNorm in float32; its output has the products' type."""

    def __init__(self, state: Mapping[str, Tensor], name: str, build: Build) -> None:
        self.weight = state[f"{name}.weight"].detach().to(build.device, torch.float32)
        self.bias = state[f"{name}.bias"].detach().to(build.device, torch.float32)
        self.dtype = build.dtype

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise the last axis of a float32 tensor."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, EPSILON).to(self.dtype)


class ResidualBlock:
    """One residual block.

    Args:
        state: The tower's tensors, float32.
        name: Of the block, such as ``transformer.resblocks.0``.
        build: Heads, activation, precision, device.
    """

    def __init__(self, state: Mapping[str, Tensor], name: str, build: Build) -> None:
        def tensor(suffix: str) -> Tensor:
            return state[f"{name}.{suffix}"].float()

        self.heads = build.heads
        self.ln_1 = LayerNorm(state, f"{name}.ln_1", build)
        self.ln_2 = LayerNorm(state, f"{name}.ln_2", build)
        self.in_proj = build.product(tensor("attn.in_proj_weight"), tensor("attn.in_proj_bias"))
        self.out_proj = build.product(tensor("attn.out_proj.weight"), tensor("attn.out_proj.bias"))
        # QuickGELU(x) = silu(1.702 x) / 1.702: with both factors inside the weights it costs one fused silu
        quick = build.gelu == "quick"
        scale = QUICK if quick else 1.0
        self.fc = build.product(
            tensor("mlp.c_fc.weight") * scale, tensor("mlp.c_fc.bias") * scale, activation="silu" if quick else "gelu"
        )
        self.proj = build.product(tensor("mlp.c_proj.weight") / scale, tensor("mlp.c_proj.bias"))

    def queries_keys_values(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split ``in_proj(ln_1(x))`` of ``[B, N, width]`` into three ``[B, heads, N, d]``."""
        batch, tokens, width = x.shape
        both = self.in_proj(self.ln_1(x)).view(batch, tokens, 3, self.heads, width // self.heads)
        query, key, value = both.permute(2, 0, 3, 1, 4).unbind(0)
        return query, key, value

    def output(self, attended: Tensor, x: Tensor | None = None) -> Tensor:
        """Heads ``[B, heads, N, d]`` together, the out-projection, plus ``x``: float32 ``[B, N, width]``."""
        batch, heads, tokens, depth = attended.shape
        rows = attended.transpose(1, 2).reshape(batch, tokens, heads * depth)
        return _add(self.out_proj, rows, x)

    def mlp(self, z: Tensor) -> Tensor:
        """Add to ``z`` the MLP of its norm; float32."""
        return _add(self.proj, self.fc(self.ln_2(z)), z)

    def __call__(self, x: Tensor, *, causal: bool = False) -> Tensor:
        """The whole block on float32 ``[B, N, width]``; ``causal``: a token sees those before it only."""
        query, key, value = self.queries_keys_values(x)
        return self.mlp(self.output(attend(query, key, value, causal=causal), x))


def attend(query: Tensor, key: Tensor, value: Tensor, *, causal: bool = False) -> Tensor:
    """``softmax(query keyᵀ / sqrt(d)) value`` by head; ``[B, heads, N, d]`` in and out."""
    return functional.scaled_dot_product_attention(query, key, value, is_causal=causal)


def blocks(state: Mapping[str, Tensor], build: Build) -> list[ResidualBlock]:
    """Every block of a tower, first to last."""
    count = sum(name.endswith(".attn.in_proj_weight") for name in state)
    return [ResidualBlock(state, f"transformer.resblocks.{index}", build) for index in range(count)]


def _add(product: Product, x: Tensor, residual: Tensor | None) -> Tensor:
    if residual is None:
        return product(x).float()
    if x.dtype == residual.dtype:
        return product(x, residual)
    return product(x).float().add_(residual)
