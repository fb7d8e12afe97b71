"""Matrix products with fixed weights: packed by oneDNN on a CPU, plain elsewhere.

PyTorch's own float32 product on a CPU is MKL's, which on processors of other makers runs at less than half of what
oneDNN reaches with weights laid out for it once. Which form is used depends on what the build and the processor
offer, never on a timing, so that every worker of one kind computes the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

Activation = Literal["none", "silu", "gelu"]

_FUSED: dict[Activation, tuple[str, str]] = {"none": ("none", ""), "silu": ("swish", ""), "gelu": ("gelu", "none")}


def can_pack(dtype: torch.dtype, device: torch.device) -> bool:
    """Whether oneDNN's packed products can be had for weights of this type on this device."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    names = ["_reorder_linear_weight", "_linear_pointwise"]
    if dtype == torch.bfloat16:
        names.append("_is_mkldnn_bf16_supported")
    if not all(hasattr(torch.ops.mkldnn, name) for name in names):
        return False
    return dtype == torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001  (no public name)


class Product:
    """``activation(x @ weight.T + bias)``, then maybe ``+ residual``.

    Args:
        weight: ``[out, in]``, float32; rounded to ``dtype`` here.
        bias: ``[out]`` or None.
        activation: ``silu`` is x times sigmoid(x), ``gelu`` the exact one (by erf).
        dtype: Of weights and inputs: float32 or bfloat16.
        device: Where it runs.
        packed: Use oneDNN's packed form; None: where `can_pack` says so.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None = None,
        *,
        activation: Activation = "none",
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
        packed: bool | None = None,
    ) -> None:
        device = device or torch.device("cpu")
        self.packed = can_pack(dtype, device) if packed is None else packed
        self.activation: Activation = activation
        dense = weight.detach().to(device=device, dtype=dtype).contiguous()
        self.bias = None if bias is None else bias.detach().to(device=device, dtype=dtype).contiguous()
        # the layout must not depend on the number of rows: rows come and go with the batch, the weights stay
        self.weight = torch.ops.mkldnn._reorder_linear_weight(dense, None) if self.packed else dense  # noqa: SLF001

    def __call__(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Apply to ``[..., in]``; ``residual`` is ``[..., out]`` of the same type, and left as it was."""
        if not self.packed:
            return self._plain(x, residual)
        if residual is not None and self.activation == "none":
            return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")  # type: ignore[no-any-return]  # noqa: SLF001
        name, algorithm = _FUSED[self.activation]
        out: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, name, [], algorithm)  # noqa: SLF001
        return out if residual is None else out.add_(residual)

    def _plain(self, x: Tensor, residual: Tensor | None) -> Tensor:
        out = functional.linear(x, self.weight, self.bias)
        if self.activation == "silu":
            out = functional.silu(out, inplace=True)
        elif self.activation == "gelu":
            out = functional.gelu(out)
        return out if residual is None else out.add_(residual)
