"""The CUDA kernels on the CPU: run by Triton's interpreter, and compiled for a GPU that need not be there."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

pytest.importorskip("triton", reason="triton comes with torch for CUDA on Linux")

INTERPRETED = """
import torch
from eopipe.models.upsample import adaptive_conv as plain, adaptive_conv_triton as kernels

def check(batch, channels, height, width, k, dtype, tolerance):
    make = torch.Generator().manual_seed(k)
    source = torch.randn(batch, channels, height + k - 1, width + k - 1, generator=make).to(dtype)
    filters = torch.randn(batch, height, width, k, k, generator=make).to(dtype)
    gradient = torch.randn(batch, channels, height, width, generator=make).to(dtype)
    s, f, g = source.double(), filters.double(), gradient.double()
    for got, expected in (
        (kernels.forward(source, filters), plain._forward(s, f)),
        (kernels.grad_source(gradient, filters), plain._grad_source(g, f)),
        (kernels.grad_filters(gradient, source, k), plain._grad_filters(g, s, k)),
    ):
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), expected, atol=tolerance * 30, rtol=tolerance)

check(2, 5, 4, 19, 3, torch.float32, 1e-6)  # more than one run of pixels, and a part of one
check(1, 18, 3, 6, 7, torch.float32, 1e-6)
check(1, 66, 2, 5, 11, torch.float32, 1e-6)  # two blocks of channels; fewer rows than taps
check(1, 3, 2, 5, 7, torch.float16, 2e-3)  # float16 in and out, sums in float32: one rounding
assert kernels.forward(torch.zeros(0, 3, 5, 5), torch.zeros(0, 3, 3, 3, 3)).shape == (0, 3, 3, 3)
"""

COMPILED = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from eopipe.models.upsample import adaptive_conv_triton as kernels

for kernel in (kernels._forward_kernel, kernels._grad_source_kernel, kernels._grad_filters_kernel):
    constants = {"K": 11, "PRECISION": "tf32x3", "BLOCK_C": 64, "BLOCK_X": 16, "BLOCK_U": 32}
    types = ["*fp32"] * 3 + ["i32"] * 3 + ["constexpr"] * 5
    source = ASTSource(fn=kernel, signature=dict(zip(kernel.arg_names, types)), constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4})
    assert "mma" in made.asm["ptx"]  # the products are the tensor cores'
    assert ".local" not in made.asm["ptx"]  # and nothing spills
"""


def run(code, tmp_path, **environment):
    """In a process of its own: Triton reads the variable once, when it is imported."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), **environment}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_interpreted_kernels_agree_with_the_tap_by_tap_form(tmp_path):
    run(INTERPRETED, tmp_path, TRITON_INTERPRET="1")


@pytest.mark.slow
def test_the_kernels_compile_for_a_gpu(tmp_path):
    run(COMPILED, tmp_path, TRITON_INTERPRET="0")
