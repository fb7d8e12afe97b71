from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from eopipe.models.upsample.adaptive_conv import adaptive_conv
from tests.support.paths import needs_shared


def by_unfolding(source, filters):
    """The same by the textbook: every neighbourhood written out."""
    batch, height, width, k, _ = filters.shape
    columns = functional.unfold(source, k).view(batch, source.shape[1], k * k, height, width)
    return torch.einsum("bctyx,byxt->bcyx", columns, filters.flatten(3))


@needs_shared
@pytest.mark.parametrize("k", [3, 7, 11])
def test_forward_and_both_gradients_are_the_golden_ones(golden, k):
    arrays = golden("adaptive_conv")
    source = arrays[f"k{k}_input"].requires_grad_()
    filters = arrays[f"k{k}_filters"].requires_grad_()
    out = adaptive_conv(source, filters)
    out.backward(arrays[f"k{k}_grad_output"])
    close = {"atol": 1e-5, "rtol": 1e-4}
    torch.testing.assert_close(out.detach(), arrays[f"k{k}_output"], **close)
    torch.testing.assert_close(source.grad, arrays[f"k{k}_grad_input"], **close)
    torch.testing.assert_close(filters.grad, arrays[f"k{k}_grad_filters"], **close)
    shipped = arrays[f"k{k}_grad_filters_shipped_cuda"]
    assert not torch.allclose(filters.grad, shipped, atol=1e-3)  # most taps had no gradient there


def test_the_gradient_is_that_of_the_function():
    generator = torch.Generator().manual_seed(1)
    source = torch.randn(2, 3, 6, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    filters = torch.randn(2, 4, 5, 3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(adaptive_conv, (source, filters))
    torch.testing.assert_close(adaptive_conv(source, filters), by_unfolding(source, filters))


def test_strided_inputs_and_gradients_of_one_input_only():
    generator = torch.Generator().manual_seed(2)
    source = torch.randn(1, 6, 8, 5, generator=generator).movedim(-1, 1)  # channels last
    filters = torch.randn(1, 9, 4, 6, generator=generator).permute(0, 2, 3, 1).unflatten(3, (3, 3)).requires_grad_()
    out = adaptive_conv(source, filters)
    torch.testing.assert_close(out, by_unfolding(source, filters))
    out.sum().backward()
    assert filters.grad.shape == filters.shape
    assert source.grad is None


@pytest.mark.parametrize(
    ("source", "filters", "said"),
    [
        ((1, 2, 6, 6), (1, 5, 5, 3, 3), "padded by k - 1 = 2"),
        ((2, 2, 7, 7), (1, 5, 5, 3, 3), "padded by"),
        ((1, 2, 7, 7), (1, 5, 5, 9), r"filters \[B, H, W, k, k\]"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(source, filters, said):
    with pytest.raises(ValueError, match=said):
        adaptive_conv(torch.zeros(source), torch.zeros(filters))


def test_mixed_dtypes_are_refused():
    with pytest.raises(ValueError, match="one dtype and device"):
        adaptive_conv(torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 1, 3, 3, dtype=torch.float64))
