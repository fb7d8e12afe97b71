"""The adaptive convolution on CUDA: forward and both gradients as small matrix products on tensor cores.

Written tap by tap, the operation has no matrix product in it: a pixel's filter is its own, and the naive kernel
loads one source value for every multiplication. But take a run of ``BLOCK_X`` pixels of one row, and one row ``i`` of
their filters. Their sums over ``j`` are a product with a banded matrix that all channels share::

    out[c, x] += sum over u of source[c, u] * band[u, x],  band[u, x] = filters[x, i, u - x], 0 off the band

with ``u`` over the run and its k - 1 neighbours. For k = 11 and runs of 16 pixels the band is a 32 x 16 matrix of
which a third is used; tensor cores are more than ten times faster than scalar arithmetic, and a source value is
loaded twice for each of the k rows, not k*k times. The gradient of the source is the same product with the band
transposed; that of the filters is the product of gradient and source over the channels, of which the band is kept.

One program owns a run of pixels and ``BLOCK_C`` channels (of the filters' gradient: all channels, in turns) and adds
up in float32 registers over the k rows, so nothing is written twice and the result does not depend on the order
in which programs run. The band is gathered through the caches straight into registers: a filter row of 16 pixels is
16 runs of k consecutive values, read by every block of channels. Channels come first, as torch's resize and
padding make them: along a row the loads are consecutive.

Products of float32 are three TF32 products each ("tf32x3": the rounding's remainder is multiplied too), which has
float32's accuracy at a third of TF32's speed; those of bfloat16 and float16 are the tensor core's own. Sums are
float32 in all cases.
"""

# ruff: noqa: ANN001, ANN202, N803, PLR0913, PLR0917  (what Triton compiles has its own types, constants and pointers)
# mypy: disable-error-code="untyped-decorator,no-untyped-def"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import triton
from triton import language as tl

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_X = 16
"""Pixels of a run: the smallest side of a tensor core's product, so that the band is as dense as can be."""


def _blocks(channels: int, k: int) -> dict[str, Any]:
    """Sizes that depend on the shapes: channels a program, and the run with its neighbours as a power of two."""
    block_c = max(16, min(64, triton.next_power_of_2(channels)))
    return {"BLOCK_C": block_c, "BLOCK_X": BLOCK_X, "BLOCK_U": triton.next_power_of_2(BLOCK_X + k - 1)}


def forward(source: Tensor, filters: Tensor) -> Tensor:
    """As `adaptive_conv.adaptive_conv`, whose shapes it takes as checked."""
    batch, height, width, k, _ = filters.shape
    channels = source.shape[1]
    source, filters = source.contiguous(), filters.contiguous()
    out = source.new_empty(batch, channels, height, width)
    if out.numel() == 0:
        return out
    blocks = _blocks(channels, k)
    grid = (triton.cdiv(width, BLOCK_X), height, batch * triton.cdiv(channels, blocks["BLOCK_C"]))
    _forward_kernel[grid](source, filters, out, channels, height, width, K=k, **_options(source), **blocks)
    return out


def grad_source(gradient: Tensor, filters: Tensor) -> Tensor:
    """Gradient of the source.

    Args:
        gradient: [B, C, H, W], of the output.
        filters: [B, H, W, k, k].

    Returns:
        [B, C, H + k - 1, W + k - 1] of the gradient's dtype.
    """
    batch, height, width, k, _ = filters.shape
    channels = gradient.shape[1]
    gradient, filters = gradient.contiguous(), filters.contiguous()
    out = gradient.new_empty(batch, channels, height + k - 1, width + k - 1)
    if out.numel() == 0:
        return out
    blocks = _blocks(channels, k)
    grid = (triton.cdiv(width + k - 1, BLOCK_X), height + k - 1, batch * triton.cdiv(channels, blocks["BLOCK_C"]))
    _grad_source_kernel[grid](gradient, filters, out, channels, height, width, K=k, **_options(gradient), **blocks)
    return out


def grad_filters(gradient: Tensor, source: Tensor, k: int) -> Tensor:
    """Gradient of the filters, every tap's.

    Args:
        gradient: [B, C, H, W], of the output.
        source: [B, C, H + k - 1, W + k - 1].
        k: Side of the filters.

    Returns:
        [B, H, W, k, k] of the gradient's dtype.
    """
    batch, channels, height, width = gradient.shape
    gradient, source = gradient.contiguous(), source.contiguous()
    out = gradient.new_empty(batch, height, width, k, k)
    if out.numel() == 0:
        return out
    grid = (triton.cdiv(width, BLOCK_X), height, batch * k)
    blocks = _blocks(channels, k)
    _grad_filters_kernel[grid](gradient, source, out, channels, height, width, K=k, **_options(source), **blocks)
    return out


def _options(tensor: Tensor) -> dict[str, Any]:
    """How to multiply, and how many warps share a program of 64 x 16 sums."""
    precision = "tf32x3" if tensor.dtype == torch.float32 else "ieee"
    return {"PRECISION": precision, "num_warps": 4}


@triton.jit
def _forward_kernel(
    source, filters, out, channels, height, width,
    K: tl.constexpr, PRECISION: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr, BLOCK_U: tl.constexpr,
):  # fmt: skip
    y = tl.program_id(1)
    c_blocks = tl.cdiv(channels, BLOCK_C)
    b = (tl.program_id(2) // c_blocks).to(tl.int64)
    c = (tl.program_id(2) % c_blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    x0 = tl.program_id(0) * BLOCK_X
    x = x0 + tl.arange(0, BLOCK_X)
    u = x0 + tl.arange(0, BLOCK_U)
    wide = width + K - 1
    tall = height + K - 1
    plane = (b * channels + c[:, None]) * tall * wide  # of the source, one for each channel
    source_in = (c[:, None] < channels) & (u[None, :] < wide)
    j = u[:, None] - x[None, :]
    band_in = (j >= 0) & (j < K) & (x[None, :] < width)
    pixel = ((b * height + y) * width + x[None, :]) * (K * K)
    total = tl.zeros((BLOCK_C, BLOCK_X), dtype=tl.float32)
    for i in range(K):
        row = tl.load(source + plane + (y + i) * wide + u[None, :], mask=source_in, other=0.0)
        band = tl.load(filters + pixel + i * K + j, mask=band_in, other=0.0)
        total = tl.dot(row, band, total, input_precision=PRECISION)
    at = ((b * channels + c[:, None]) * height + y) * width + x[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=(c[:, None] < channels) & (x[None, :] < width))


@triton.jit
def _grad_source_kernel(
    gradient, filters, out, channels, height, width,
    K: tl.constexpr, PRECISION: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr, BLOCK_U: tl.constexpr,
):  # fmt: skip
    # out[c, v] = sum over i, x of gradient[c, y - i, x] * filters[y - i, x, i, v - x]: pixels x reach back by K - 1
    y = tl.program_id(1)
    c_blocks = tl.cdiv(channels, BLOCK_C)
    b = (tl.program_id(2) // c_blocks).to(tl.int64)
    c = (tl.program_id(2) % c_blocks) * BLOCK_C + tl.arange(0, BLOCK_C)
    v0 = tl.program_id(0) * BLOCK_X
    v = v0 + tl.arange(0, BLOCK_X)
    x = v0 - (K - 1) + tl.arange(0, BLOCK_U)
    wide = width + K - 1
    tall = height + K - 1
    x_in = (x >= 0) & (x < width)
    j = v[None, :] - x[:, None]
    row_in = (c[:, None] < channels) & x_in[None, :]
    band_in = (j >= 0) & (j < K) & x_in[:, None]
    total = tl.zeros((BLOCK_C, BLOCK_X), dtype=tl.float32)
    for i in range(tl.maximum(y - height + 1, 0), tl.minimum(y + 1, K)):  # the rows y - i that there are
        from_y = y - i
        plane = ((b * channels + c[:, None]) * height + from_y) * width
        row = tl.load(gradient + plane + x[None, :], mask=row_in, other=0.0)
        pixel = ((b * height + from_y) * width + x[:, None]) * (K * K)
        band = tl.load(filters + pixel + i * K + j, mask=band_in, other=0.0)
        total = tl.dot(row, band, total, input_precision=PRECISION)
    at = ((b * channels + c[:, None]) * tall + y) * wide + v[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=(c[:, None] < channels) & (v[None, :] < wide))


@triton.jit
def _grad_filters_kernel(
    gradient, source, out, channels, height, width,
    K: tl.constexpr, PRECISION: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_X: tl.constexpr, BLOCK_U: tl.constexpr,
):  # fmt: skip
    # out[x, i, j] = sum over c of gradient[c, x] * source[c, y + i, x + j]: a product over channels, its band kept
    y = tl.program_id(1)
    b = (tl.program_id(2) // K).to(tl.int64)
    i = tl.program_id(2) % K
    x0 = tl.program_id(0) * BLOCK_X
    x = x0 + tl.arange(0, BLOCK_X)
    u = x0 + tl.arange(0, BLOCK_U)
    wide = width + K - 1
    tall = height + K - 1
    total = tl.zeros((BLOCK_X, BLOCK_U), dtype=tl.float32)
    for c0 in range(0, channels, BLOCK_C):
        c = c0 + tl.arange(0, BLOCK_C)
        left = gradient + ((b * channels + c[None, :]) * height + y) * width + x[:, None]
        right = source + ((b * channels + c[:, None]) * tall + y + i) * wide + u[None, :]
        g = tl.load(left, mask=(c[None, :] < channels) & (x[:, None] < width), other=0.0)
        s = tl.load(right, mask=(c[:, None] < channels) & (u[None, :] < wide), other=0.0)
        total = tl.dot(g, s, total, input_precision=PRECISION)
    j = u[None, :] - x[:, None]
    at = ((b * height + y) * width + x[:, None]) * (K * K) + i * K + j
    tl.store(out + at, total.to(out.dtype.element_ty), mask=(j >= 0) & (j < K) & (x[:, None] < width))
