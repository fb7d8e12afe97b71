"""Writes LLVM IR for numba: float32 vectors of whatever width, and counted loops that carry values in registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils

if TYPE_CHECKING:
    from collections.abc import Sequence

LOG2E = 1.44269504088896341
LN2_HIGH = 0.693359375  # few mantissa bits, so that n * LN2_HIGH is exact
LN2_LOW = -2.12194440e-4
ROUND = 12582912.0  # 1.5 * 2**23: adding it leaves round(x) in the low mantissa bits
EXP_POLYNOMIAL = (
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
)
# erf(x/sqrt(2))/2 = x P(x²)/Q(x²) for |x| <= ERF_END, powers ascending: own minimax fit, |error| < 1e-8 and rounding
ERF_END = 5.6
ERF_NUMERATOR = (0.3989422218, 3.437481996e-2, 4.707156489e-3, 1.738336651e-4, 6.356065555e-6, 2.214427681e-8)
ERF_DENOMINATOR = (1.0, 0.2528306120, 2.893928760e-2, 1.912885969e-3, 7.509452425e-5, 1.180146222e-6)


class Vectors:
    """Writes float32 vector arithmetic at the end of one IR block."""

    def __init__(self, builder: Any, lanes: int) -> None:
        self.builder = builder
        self.lanes = lanes
        self.type = ir.VectorType(ir.FloatType(), lanes)
        self.itype = ir.VectorType(ir.IntType(32), lanes)

    def constant(self, value: float) -> Any:
        return ir.Constant(self.type, [value] * self.lanes)

    def iconstant(self, value: int) -> Any:
        return ir.Constant(self.itype, [value] * self.lanes)

    def _pointer(self, pointer: Any, offset: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(pointer, [offset]), self.type.as_pointer())

    def load(self, pointer: Any, offset: Any) -> Any:
        value = self.builder.load(self._pointer(pointer, offset))
        value.align = 4
        return value

    def store(self, value: Any, pointer: Any, offset: Any) -> None:
        self.builder.store(value, self._pointer(pointer, offset)).align = 4

    def splat(self, scalar: Any) -> Any:
        undefined = ir.Constant(self.type, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        return self.builder.shuffle_vector(first, undefined, self.iconstant(0))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """a*b + c, with one rounding where the CPU can."""
        signature = ir.FunctionType(self.type, [self.type] * 3)
        insert: Any = cgutils.get_or_insert_function
        function = insert(self.builder.module, signature, f"llvm.fmuladd.v{self.lanes}f32")
        return self.builder.call(function, [a, b, c])

    def maximum(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return self.builder.select(self.builder.fcmp_ordered("<", a, b), a, b)

    def sum(self, x: Any) -> Any:
        """Sum of the lanes, by halves: one order, which is fixed."""
        b, width = self.builder, self.lanes
        undefined = ir.Constant(self.type, ir.Undefined)
        while width > 1:
            width //= 2
            upper = [min(n + width, self.lanes - 1) for n in range(self.lanes)]
            order = ir.Constant(self.itype, upper)
            x = b.fadd(x, b.shuffle_vector(x, undefined, order))
        return b.extract_element(x, ir.Constant(ir.IntType(32), 0))

    def exp(self, x: Any) -> Any:
        """Exponential of x within the range of float32's exponents."""
        b = self.builder
        shifted = self.fma(x, self.constant(LOG2E), self.constant(ROUND))
        n = b.fsub(shifted, self.constant(ROUND))
        r = self.fma(n, self.constant(-LN2_HIGH), x)
        r = self.fma(n, self.constant(-LN2_LOW), r)
        p = self.constant(EXP_POLYNOMIAL[0])
        for coefficient in EXP_POLYNOMIAL[1:]:
            p = self.fma(p, r, self.constant(coefficient))
        p = self.fma(p, b.fmul(r, r), b.fadd(r, self.constant(1.0)))
        exponent = b.shl(b.bitcast(shifted, self.itype), self.iconstant(23))
        power = b.bitcast(b.add(exponent, self.iconstant(127 << 23)), self.type)
        return b.fmul(p, power)

    def polynomial(self, x: Any, coefficients: Sequence[float]) -> Any:
        """Sum of coefficients times powers of x, by Horner's rule; the constant comes first."""
        total = self.constant(coefficients[-1])
        for coefficient in coefficients[-2::-1]:
            total = self.fma(total, x, self.constant(coefficient))
        return total

    def gelu(self, x: Any) -> Any:
        """Exact GELU, x times the normal distribution function: within 3e-7 for |x| < 2, and 1e-6 for -5 < x < 5."""
        b = self.builder
        x = self.maximum(x, self.constant(-ERF_END))  # below, the distribution's rounding would be multiplied
        t = self.minimum(x, self.constant(ERF_END))
        square = b.fmul(t, t)
        numerator = b.fmul(t, self.polynomial(square, ERF_NUMERATOR))
        erf = b.fdiv(numerator, self.polynomial(square, ERF_DENOMINATOR))
        return b.fmul(x, b.fadd(erf, self.constant(0.5)))


class Loop:
    """One counted IR loop, ``for i in range(count)`` with ``count`` ≥ 1, carrying values from turn to turn."""

    def __init__(self, builder: Any, count: Any, carried: Sequence[Any]) -> None:
        self.builder = builder
        self.count = count
        before = builder.block
        self.body = builder.append_basic_block("body")
        builder.branch(self.body)
        builder.position_at_end(self.body)
        self.index = builder.phi(count.type)
        self.index.add_incoming(ir.Constant(count.type, 0), before)
        self.carried = [builder.phi(value.type) for value in carried]
        for phi, value in zip(self.carried, carried, strict=True):
            phi.add_incoming(value, before)

    def close(self, carried: Sequence[Any]) -> None:
        """End the turn with the values to carry; the builder then stands after the loop."""
        b = self.builder
        following = b.add(self.index, ir.Constant(self.count.type, 1))
        block = b.block
        self.index.add_incoming(following, block)
        for phi, value in zip(self.carried, carried, strict=True):
            phi.add_incoming(value, block)
        after = b.append_basic_block("after")
        b.cbranch(b.icmp_signed("<", following, self.count), self.body, after)
        b.position_at_end(after)


def data(context: Any, builder: Any, signature: Any, args: Any, n: int) -> Any:
    """Pointer to the first element of the n-th argument, an array."""
    return context.make_array(signature.args[n])(context, builder, args[n]).data
