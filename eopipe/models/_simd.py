"""Vector building blocks of the fast convolutional nets: LLVM IR under numba, for whatever CPU this is.

Why not the BLAS: on a CPU whose BLAS is not tuned for it (MKL on AMD, OpenBLAS with old kernels) a float32
product reaches less than half of the machine, and every bias, Mish and depthwise layer is one more trip
through memory. Here a tile of the product stays in registers from the bias to the Mish. numba is already a
dependency, so no compiler is needed on the user's machine, and no thread pool takes part: the same CPU gives
the same bytes whatever torch's or the BLAS's threads are.

Two kernels, both over flat float32 arrays with explicit offsets (in elements):

* `conv_tile`: ``C[r, n] = mish(bias[n] + sum_s sum_k A[r*lda + s*seg + k] * B[s, k, n])``: a pointwise layer
  with one segment, a 3x3 layer with three (``lda`` may be smaller than ``k``: overlapping rows need no copy).
* `depthwise_run`: a 3x3 depthwise layer, Mish and an optional addend along a row, for one vector of channels;
  the window slides in registers.

Mish is ``x*n/(n+2)`` with ``n = e*(e+2)``, ``e = exp(min(x, 20))``, which is ``x*tanh(ln(1+exp(x)))``
(Misra 2019, arXiv:1908.08681) without the two transcendentals; exp is Cephes' expf polynomial (relative error
below 2e-7).
"""

# ruff: noqa: PLR0913, PLR0917  (kernels take flat arrays, offsets and pitches, as BLAS does)

from __future__ import annotations

import hashlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import llvmlite.binding as llvm  # type: ignore[import-untyped]
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from eopipe.models._simd_ir import EXP_POLYNOMIAL, LN2_HIGH, LN2_LOW, LOG2E, Loop, Vectors, data

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_R = TypeVar("_R")

LOG_POLYNOMIAL = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
HALF_ROOT_BITS = 0x3F3504F3  # sqrt(1/2) as float32


OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",  # a check for zero before each division would keep loops scalar
    # and no "reassoc": it would cancel the constants by which exp rounds
    "fastmath": {"contract"},
}


def jit(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile with numba, as part of an `entry`: no GIL, contraction to fused multiply-add.

    Args:
        function: A function of the numba subset.

    Returns:
        The compiled function, typed as the original.
    """
    return cast("Callable[_P, _R]", numba.njit(**OPTIONS)(function))


def jit_sums(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile as `jit` does, with sums in whatever order suits vectors (one order, decided when compiled).

    Args:
        function: A function of the numba subset that calls no `exp`, `log` or activation.

    Returns:
        The compiled function, typed as the original.
    """
    options = OPTIONS | {"fastmath": {"contract", "reassoc", "nsz"}}
    return cast("Callable[_P, _R]", numba.njit(**options)(function))


def entry(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile as `jit` does, and keep the machine code on disk where a folder can be written.

    numba compares the time of the function's own file only. The functions that it calls lie in the files beside it
    and beside this one, so the hash of them all must match too, or an old kernel would run after an upgrade. An index
    of an older release may name types that are gone; it is emptied.

    Args:
        function: A function of the numba subset, called from Python.

    Returns:
        The compiled function, typed as the original.
    """
    try:
        compiled = numba.njit(cache=True, **OPTIONS)(function)
        index = compiled._cache._cache_file  # noqa: SLF001  (numba has no public way)
        folder = Path(function.__code__.co_filename).parent
        index._source_stamp = (index._source_stamp, _sources(folder))  # noqa: SLF001
        with suppress(OSError):
            _empty_unreadable(index)
    except (RuntimeError, AttributeError):  # no folder to write to, or a numba that keeps it elsewhere
        return jit(function)
    return cast("Callable[_P, _R]", compiled)


def _empty_unreadable(index: Any) -> None:
    try:
        index._load_index()  # noqa: SLF001
    except Exception:  # noqa: BLE001  (what unpickling raises depends on what has changed)
        index.flush()


@cache
def _sources(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted({*Path(__file__).parent.glob("_*.py"), *folder.glob("_*.py")}):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@jit
def exp(x: np.float32) -> np.float32:
    """Exponential, clamped to float32's normal range, relative error below 2e-7; loops over it are vectorised."""
    x = max(min(x, np.float32(88.0)), np.float32(-87.0))
    n = np.floor(x * np.float32(LOG2E) + np.float32(0.5))
    r = (x - n * np.float32(LN2_HIGH)) - n * np.float32(LN2_LOW)
    p = np.float32(EXP_POLYNOMIAL[0])
    for coefficient in EXP_POLYNOMIAL[1:]:
        p = p * r + np.float32(coefficient)
    p = p * r * r + r + np.float32(1.0)
    power: np.float32 = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)
    result: np.float32 = p * power
    return result


@jit
def log(x: np.float32) -> np.float32:
    """Natural logarithm of a normal positive float32 by Cephes' logf, relative error below 2e-7."""
    bits = np.float32(x).view(np.int32)
    # the exponent that leaves a mantissa in [sqrt(1/2), sqrt(2))
    exponent = (bits - np.int32(HALF_ROOT_BITS)) >> np.int32(23)
    m = np.int32(bits - (exponent << np.int32(23))).view(np.float32) - np.float32(1.0)
    n = np.float32(exponent)
    p = np.float32(LOG_POLYNOMIAL[0])
    for coefficient in LOG_POLYNOMIAL[1:]:
        p = p * m + np.float32(coefficient)
    square = m * m
    p = p * m * square + n * np.float32(LN2_LOW) - np.float32(0.5) * square
    return m + p + n * np.float32(LN2_HIGH)


def vector_width() -> int:
    """Return how many float32 fit a vector register of the CPU that numba compiles for."""
    config: Any = numba.config
    if config.CPU_FEATURES is not None:
        features = str(config.CPU_FEATURES)
    elif config.CPU_NAME is not None:
        return 4
    else:
        features = str(llvm.get_host_cpu_features().flatten())
    if "+avx512f" in features and "+avx512vl" in features:
        return 16
    return 8 if "+avx2" in features and "+fma" in features else 4


def make_conv_tile(lanes: int, vectors: int, rows: int, *, mish: bool = True) -> Any:
    """Make the kernel of a tile of ``rows`` by ``lanes*vectors`` values of a product.

    Args:
        lanes: float32 in a vector (`vector_width`).
        vectors: Vectors side by side.
        rows: Rows of the tile; ``rows*vectors`` accumulators should fit the registers.
        mish: Whether the activation follows.

    Returns:
        A numba intrinsic ``(a, a0, lda, seg, segments, b, b0, k, bias, bias0, c, c0, ldc)``: arrays and
        offsets in elements; ``b`` at ``b0`` holds [segments, k, lanes*vectors].
    """

    @intrinsic
    def conv_tile(
        _context: Any, a: Any, a0: Any, lda: Any, seg: Any, segments: Any,
        b: Any, b0: Any, k: Any, bias: Any, bias0: Any, c: Any, c0: Any, ldc: Any,
    ) -> Any:  # fmt: skip
        del a0, lda, seg, segments, b0, k, bias0, c0, ldc
        i = types.intp
        signature = types.void(a, i, i, i, i, b, i, i, bias, i, c, i, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, a0, lda, seg, segments, _, b0, k, _, bias0, _, c0, ldc = args
            a, b, bias, c = (data(context, builder, signature, args, n) for n in (0, 5, 8, 10))
            v = Vectors(builder, lanes)

            def index(value: int) -> Any:
                return ir.Constant(k.type, value)

            start = [v.load(bias, builder.add(bias0, index(n * lanes))) for n in range(vectors)] * rows
            outer = Loop(builder, segments, [builder.gep(a, [a0]), builder.gep(b, [b0]), *start])
            a_segment, b_segment, *sums = outer.carried
            inner = Loop(builder, k, [b_segment, *sums])
            b_row, *sums = inner.carried
            b_values = [v.load(b_row, index(n * lanes)) for n in range(vectors)]
            column = builder.gep(a_segment, [inner.index])
            following = []
            for r in range(rows):
                value = v.splat(builder.load(builder.gep(column, [builder.mul(lda, index(r))])))
                following += [v.fma(value, b_values[n], sums[r * vectors + n]) for n in range(vectors)]
            b_next = builder.gep(b_row, [index(lanes * vectors)])
            inner.close([b_next, *following])
            outer.close([builder.gep(a_segment, [seg]), b_next, *following])
            for r in range(rows):
                for n in range(vectors):
                    value = following[r * vectors + n]
                    at = builder.add(builder.add(c0, builder.mul(ldc, index(r))), index(n * lanes))
                    v.store(v.mish(value) if mish else value, c, at)
            return context.get_dummy_value()

        return signature, generate

    return conv_tile


def make_depthwise_run(lanes: int, *, add: bool) -> Any:
    """Make the kernel of a 3x3 depthwise layer and Mish along a row, for ``lanes`` channels.

    Args:
        lanes: float32 in a vector.
        add: Whether a row is added after the Mish (a block's skip).

    Returns:
        A numba intrinsic ``(x, above, centre, below, ldx, w, w0, ldw, bias, bias0, extra, e0, lde, y, y0, ldy,
        width)``: the three row offsets point at the pixel left of the first; ``width`` ≥ 1.
    """

    @intrinsic
    def depthwise_run(
        _context: Any, x: Any, above: Any, centre: Any, below: Any, ldx: Any, w: Any, w0: Any, ldw: Any,
        bias: Any, bias0: Any, extra: Any, e0: Any, lde: Any, y: Any, y0: Any, ldy: Any, width: Any,
    ) -> Any:  # fmt: skip
        del above, centre, below, ldx, w0, ldw, bias0, e0, lde, y0, ldy, width
        i = types.intp
        signature = types.void(x, i, i, i, i, w, i, i, bias, i, extra, i, i, y, i, i, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, above, centre, below, ldx, _, w0, ldw, _, bias0, _, e0, lde, _, y0, ldy, width = args
            x, w, bias, extra, y = (data(context, builder, signature, args, n) for n in (0, 5, 8, 10, 13))
            v = Vectors(builder, lanes)
            taps = [v.load(w, builder.add(w0, builder.mul(ldw, ir.Constant(ldw.type, n)))) for n in range(9)]
            offset = v.load(bias, bias0)
            rows = [builder.gep(x, [row]) for row in (above, centre, below)]
            left = [v.load(row, ir.Constant(ldx.type, 0)) for row in rows]
            middle = [v.load(row, ldx) for row in rows]
            loop = Loop(builder, width, [*left, *middle])
            columns = [loop.carried[:3], loop.carried[3:]]
            ahead = builder.mul(builder.add(loop.index, ir.Constant(ldx.type, 2)), ldx)
            columns.append([v.load(row, ahead) for row in rows])
            total = offset
            for r in range(3):
                for s in range(3):
                    total = v.fma(taps[3 * r + s], columns[s][r], total)
            value = v.mish(total)
            if add:
                at = builder.add(e0, builder.mul(loop.index, lde))
                value = builder.fadd(value, v.load(extra, at))
            v.store(value, y, builder.add(y0, builder.mul(loop.index, ldy)))
            loop.close([*columns[1], *columns[2]])
            return context.get_dummy_value()

        return signature, generate

    return depthwise_run
