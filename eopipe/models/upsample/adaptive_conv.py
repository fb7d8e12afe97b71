"""The adaptive convolution: every pixel has a filter of its own, shared by all channels.

    out[b, c, y, x] = sum over i, j of filters[b, y, x, i, j] * source[b, c, y + i, x + j]

Source: FeatUp (arXiv 2403.10516), SimFeatUp (arXiv 2410.01768). With the exact gradient of both
inputs; the released CUDA extension left every filter tap at zero whose flat index is no perfect square.

On the CPU the taps are walked one by one over slices of the source, so nothing of the size channels x taps is ever
made (an unfold would take 6 GB for one window). On CUDA it is `adaptive_conv_triton`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor


def adaptive_conv(source: Tensor, filters: Tensor) -> Tensor:
    """Correlate every pixel's neighbourhood with the pixel's own filter.

    Args:
        source: [B, C, H + k - 1, W + k - 1], padded by the caller; float32, float64, and on CUDA also bfloat16 and
            float16, whose sums are taken in float32.
        filters: [B, H, W, k, k], of the source's dtype and device.

    Returns:
        [B, C, H, W] of the source's dtype; differentiable in both arguments.

    Raises:
        ValueError: The shapes, dtypes or devices do not fit together.
    """
    _check(source, filters)
    return cast("Tensor", _AdaptiveConv.apply(source, filters))


def _check(source: Tensor, filters: Tensor) -> None:
    shapes = f"source {tuple(source.shape)}, filters {tuple(filters.shape)}"
    if source.dim() != 4 or filters.dim() != 5 or filters.shape[3] != filters.shape[4]:
        raise ValueError(f"adaptive_conv wants source [B, C, Hp, Wp] and filters [B, H, W, k, k]; given {shapes}")
    batch, height, width, k, _ = filters.shape
    if (source.shape[0], source.shape[2], source.shape[3]) != (batch, height + k - 1, width + k - 1):
        raise ValueError(f"adaptive_conv wants a source padded by k - 1 = {k - 1} in all; given {shapes}")
    if source.dtype != filters.dtype or source.device != filters.device:
        raise ValueError(
            f"adaptive_conv wants one dtype and device; given source {source.dtype} on {source.device},"
            f" filters {filters.dtype} on {filters.device}"
        )


class _AdaptiveConv(torch.autograd.Function):
    """Chooses the device's form, forward and backward."""

    @staticmethod
    def forward(ctx: Any, source: Tensor, filters: Tensor) -> Tensor:
        ctx.save_for_backward(source, filters)
        if source.is_cuda:
            from eopipe.models.upsample import adaptive_conv_triton  # noqa: PLC0415  (triton comes with CUDA only)

            return adaptive_conv_triton.forward(source, filters)
        return _forward(source, filters)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        source, filters = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        if source.is_cuda:
            from eopipe.models.upsample import adaptive_conv_triton as form  # noqa: PLC0415

            grad_source, grad_filters = form.grad_source, form.grad_filters
        else:
            grad_source, grad_filters = _grad_source, _grad_filters
        return (
            grad_source(gradient, filters) if ctx.needs_input_grad[0] else None,
            grad_filters(gradient, source, filters.shape[-1]) if ctx.needs_input_grad[1] else None,
        )


def _taps(k: int) -> Iterator[tuple[int, int]]:
    return ((i, j) for i in range(k) for j in range(k))


def _forward(source: Tensor, filters: Tensor) -> Tensor:
    batch, height, width, k, _ = filters.shape
    planes = filters.permute(3, 4, 0, 1, 2).contiguous()  # a tap's plane is read as one run
    out = source.new_zeros(batch, source.shape[1], height, width)
    for i, j in _taps(k):
        out.addcmul_(source[:, :, i : i + height, j : j + width], planes[i, j, :, None])
    return out


def _grad_source(gradient: Tensor, filters: Tensor) -> Tensor:
    batch, height, width, k, _ = filters.shape
    planes = filters.permute(3, 4, 0, 1, 2).contiguous()
    out = gradient.new_zeros(batch, gradient.shape[1], height + k - 1, width + k - 1)
    for i, j in _taps(k):
        out[:, :, i : i + height, j : j + width].addcmul_(gradient, planes[i, j, :, None])
    return out


def _grad_filters(gradient: Tensor, source: Tensor, k: int) -> Tensor:
    batch, _, height, width = gradient.shape
    out = gradient.new_empty(k, k, batch, height, width)
    for i, j in _taps(k):
        torch.sum(gradient * source[:, :, i : i + height, j : j + width], dim=1, out=out[i, j])
    return out.permute(2, 3, 4, 0, 1).contiguous()
