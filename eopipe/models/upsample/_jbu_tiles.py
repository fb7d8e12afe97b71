"""The register tiles of the fused joint bilateral upsampler: LLVM IR under numba, for whatever vectors the CPU has.

All work on flat float32 arrays with explicit offsets (in elements). "Class" is one of the four output pixels
that a source cell becomes, in the order (0, 0) (0, 1) (1, 0) (1, 1) of (row, column) parity: what four classes of
one cell have in common (the source and the keys around them) is loaded once for all four.
"""

# ruff: noqa: PLR0913, PLR0917  (kernels take flat arrays, offsets and pitches, as BLAS does)

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from eopipe.models._simd_ir import Loop, Vectors, data

CLASSES = 4
EXP_LOW = -80.0  # exp of less would be denormal, or wrong
TINY_SUM = 1e-7  # least sum of the weights that they are divided by (arXiv 2403.10516's code)
CUBIC = (-0.10546875, 0.87890625, 0.26171875, -0.03515625)  # cubic convolution, a = -0.75, a quarter past the second


def half_window(radius: int) -> int:
    """See `_jbu_layout.half_window`."""
    return (radius + 3) // 2


def make_product(
    lanes: int, vectors: int, rows: int, *, a_row: int, a_k: int, pairs: bool, add: bool, gelu: bool
) -> Any:
    """Make the kernel of a tile of ``rows`` by ``lanes*vectors`` values of a product.

    ``C[r, n] = gelu(C[r, n] + sum_s sum_k A[s*a_segment + k*a_k + r*a_row] * B[s*b_segment + k*b_k + n])``.

    Args:
        lanes: float32 in a vector.
        vectors: Vectors side by side.
        rows: Rows of the tile; ``rows*vectors`` accumulators should fit the registers.
        a_row: Step of A from row to row, elements.
        a_k: Step of A along the sum.
        pairs: Whether C's rows come in pairs: row r at ``(r % 2)*c_row + (r // 2)*c_pair``.
        add: Whether C is added to; else it is overwritten.
        gelu: Whether the activation follows.

    Returns:
        A numba intrinsic ``(a, a0, a_segment, b, b0, b_k, b_segment, k, segments, c, c0, c_row, c_pair)``.
    """

    @intrinsic
    def product(
        _context: Any, a: Any, a0: Any, a_segment: Any, b: Any, b0: Any, b_k: Any, b_segment: Any, k: Any,
        segments: Any, c: Any, c0: Any, c_row: Any, c_pair: Any,
    ) -> Any:  # fmt: skip
        del a0, a_segment, b0, b_k, b_segment, k, segments, c0, c_row, c_pair
        i = types.intp
        signature = types.void(a, i, i, b, i, i, i, i, i, c, i, i, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, a0, a_segment, _, b0, b_k, b_segment, k, segments, _, c0, c_row, c_pair = args
            a, b, c = (data(context, builder, signature, args, n) for n in (0, 3, 9))
            v = Vectors(builder, lanes)

            def index(value: int) -> Any:
                return ir.Constant(k.type, value)

            def target(r: int) -> Any:
                row, pair = (r % 2, r // 2) if pairs else (r, 0)
                at = builder.add(builder.mul(c_row, index(row)), builder.mul(c_pair, index(pair)))
                return builder.gep(c, [builder.add(c0, at)])

            if add:
                start = [v.load(target(r), index(n * lanes)) for r in range(rows) for n in range(vectors)]
            else:
                start = [v.constant(0.0)] * (rows * vectors)
            outer = Loop(builder, segments, [builder.gep(a, [a0]), builder.gep(b, [b0]), *start])
            a_start, b_start, *sums = outer.carried
            inner = Loop(builder, k, [a_start, b_start, *sums])
            a_column, b_row, *sums = inner.carried
            b_values = [v.load(b_row, index(n * lanes)) for n in range(vectors)]
            following = []
            for r in range(rows):
                value = v.splat(builder.load(builder.gep(a_column, [index(r * a_row)])))
                following += [v.fma(value, b_values[n], sums[r * vectors + n]) for n in range(vectors)]
            inner.close([builder.gep(a_column, [index(a_k)]), builder.gep(b_row, [b_k]), *following])
            outer.close([builder.gep(a_start, [a_segment]), builder.gep(b_start, [b_segment]), *following])
            for r in range(rows):
                for n in range(vectors):
                    value = following[r * vectors + n]
                    v.store(v.gelu(value) if gelu else value, target(r), index(n * lanes))
            return context.get_dummy_value()

        return signature, generate

    return product


def make_affinity(lanes: int, positions: int) -> Any:
    """Make the kernel of products between the keys of a vector of cells and of pixels around them.

    Keys lie as [row, column parity, channel, cell], so that one parity's pixels of adjacent cells are adjacent.

    Args:
        lanes: float32 in a vector.
        positions: Neighbours side by side, even; ``4*positions`` accumulators should fit the registers.

    Returns:
        A numba intrinsic ``(keys, upper, lower, near, plane, pitch, channels, out, o0)``: offsets of the classes' own
        keys (upper and lower row, even columns) and of the first neighbour (an odd column's), the step from parity
        to parity and from channel to channel; ``out`` at ``o0`` gets [positions, 4 classes, lanes].
    """

    @intrinsic
    def affinity(
        _context: Any, keys: Any, upper: Any, lower: Any, near: Any, plane: Any, pitch: Any, channels: Any,
        out: Any, o0: Any,
    ) -> Any:  # fmt: skip
        del upper, lower, near, plane, pitch, channels, o0
        i = types.intp
        signature = types.void(keys, i, i, i, i, i, i, out, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, upper, lower, near, plane, pitch, channels, _, o0 = args
            keys, out = (data(context, builder, signature, args, n) for n in (0, 7))
            v = Vectors(builder, lanes)

            def index(value: int) -> Any:
                return ir.Constant(pitch.type, value)

            centres_at = [upper, builder.add(upper, plane), lower, builder.add(lower, plane)]
            around = []
            for p in range(positions):
                # neighbours alternate between odd and even columns, and begin with an odd one
                column = builder.add(near, index((1 + p) // 2))
                around.append(builder.add(column, plane) if p % 2 == 0 else column)
            loop = Loop(builder, channels, [keys, *[v.constant(0.0)] * (CLASSES * positions)])
            channel, *sums = loop.carried
            centres = [v.load(channel, at) for at in centres_at]
            following = []
            for p in range(positions):
                neighbour = v.load(channel, around[p])
                following += [v.fma(centres[c], neighbour, sums[p * CLASSES + c]) for c in range(CLASSES)]
            loop.close([builder.gep(channel, [pitch]), *following])
            for n, value in enumerate(following):
                v.store(value, out, builder.add(o0, index(n * lanes)))
            return context.get_dummy_value()

        return signature, generate

    return affinity


def make_weigh(lanes: int) -> Any:
    """Make the kernel from affinities to normalised filter weights, for one vector of pixels of one class.

    ``softmax(s)*g / max(sum(softmax(s)*g), 1e-7)`` over the taps, g being the spatial weights.

    Args:
        lanes: float32 in a vector.

    Returns:
        A numba intrinsic ``(scores, s0, s_row, spatial, p0, side, out, o0)``: taps [side, side] in steps of
        ``4*lanes``, rows of scores in steps of ``s_row``; spatial weights [side, side] at ``p0``; the weights at
        ``o0`` are [side, side] in steps of ``4*lanes``.
    """
    step = CLASSES * lanes

    @intrinsic
    def weigh(
        _context: Any, scores: Any, s0: Any, s_row: Any, spatial: Any, p0: Any, side: Any, out: Any, o0: Any
    ) -> Any:
        del s0, s_row, p0, side, o0
        i = types.intp
        signature = types.void(scores, i, i, spatial, i, i, out, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, s0, s_row, _, p0, side, _, o0 = args
            scores, spatial, out = (data(context, builder, signature, args, n) for n in (0, 3, 6))
            b, v = builder, Vectors(builder, lanes)
            one, pitch = ir.Constant(side.type, 1), ir.Constant(side.type, step)
            first, target = b.gep(scores, [s0]), b.gep(out, [o0])
            zero = v.constant(0.0)

            rows = Loop(b, side, [first, v.constant(-3.0e38)])
            row, highest = rows.carried
            taps = Loop(b, side, [row, highest])
            at, highest = taps.carried
            highest = v.maximum(highest, v.load(at, ir.Constant(side.type, 0)))
            taps.close([b.gep(at, [pitch]), highest])
            rows.close([b.gep(row, [s_row]), highest])

            rows = Loop(b, side, [first, b.gep(spatial, [p0]), target, zero, zero])
            row, weight, to, total, weighted = rows.carried
            taps = Loop(b, side, [row, weight, to, total, weighted])
            at, weight, to, total, weighted = taps.carried
            nought = ir.Constant(side.type, 0)
            e = v.exp(v.maximum(b.fsub(v.load(at, nought), highest), v.constant(EXP_LOW)))
            product = b.fmul(e, v.splat(b.load(weight)))
            v.store(product, to, nought)
            total, weighted = b.fadd(total, e), b.fadd(weighted, product)
            weight, to = b.gep(weight, [one]), b.gep(to, [pitch])
            taps.close([b.gep(at, [pitch]), weight, to, total, weighted])
            rows.close([b.gep(row, [s_row]), weight, to, total, weighted])

            least = v.maximum(weighted, b.fmul(total, v.constant(TINY_SUM)))
            factor = b.fdiv(v.constant(1.0), least)
            loop = Loop(b, b.mul(side, side), [target])
            (to,) = loop.carried
            v.store(b.fmul(v.load(to, nought), factor), to, nought)
            loop.close([b.gep(to, [pitch])])
            return context.get_dummy_value()

        return signature, generate

    return weigh


def make_square(lanes: int) -> Any:
    """Make the kernel of a pixel's squared length.

    Args:
        lanes: float32 in a vector.

    Returns:
        A numba intrinsic ``(x, x0, constant, mask, vectors)``: the sum of the squares of ``(x + constant)*mask`` over
        ``vectors`` vectors of x at ``x0``.
    """

    @intrinsic
    def square(_context: Any, x: Any, x0: Any, constant: Any, mask: Any, vectors: Any) -> Any:
        del x0, vectors
        i = types.intp
        signature = types.float32(x, i, constant, mask, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, x0, _, _, vectors = args
            x, constant, mask = (data(context, builder, signature, args, n) for n in (0, 2, 3))
            v = Vectors(builder, lanes)
            loop = Loop(builder, vectors, [v.constant(0.0)])
            (total,) = loop.carried
            at = builder.mul(loop.index, ir.Constant(vectors.type, lanes))
            value = builder.fadd(v.load(x, builder.add(x0, at)), v.load(constant, at))
            value = builder.fmul(value, v.load(mask, at))
            total = v.fma(value, value, total)
            loop.close([total])
            return v.sum(total)

        return signature, generate

    return square


def make_reflect(lanes: int, vectors: int) -> Any:
    """Make the kernel that applies one of Householder's reflections and sums the products for the next.

    ``a[r, n] -= u[r]*w[n]`` and ``following[n] = sum_r v[r]*a[r, n]``, for ``lanes*vectors`` columns.

    Args:
        lanes: float32 in a vector.
        vectors: Vectors side by side.

    Returns:
        A numba intrinsic ``(a, a0, pitch, rows, u, v, first, w, following, n)``: u, v count from ``first``.
    """

    @intrinsic
    def reflect(
        _context: Any, a: Any, a0: Any, pitch: Any, rows: Any, u: Any, v: Any, first: Any, w: Any, following: Any,
        n: Any,
    ) -> Any:  # fmt: skip
        del a0, pitch, rows, first, n
        i = types.intp
        signature = types.void(a, i, i, i, u, v, i, w, following, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, a0, pitch, rows, _, _, first, _, _, n = args
            a, u, v, w, following = (data(context, builder, signature, args, k) for k in (0, 4, 5, 7, 8))
            vector = Vectors(builder, lanes)

            def column(k: int) -> Any:
                return builder.add(n, ir.Constant(n.type, k * lanes))

            weights = [vector.load(w, column(k)) for k in range(vectors)]
            start = [builder.gep(a, [a0]), *[vector.constant(0.0)] * vectors]
            loop = Loop(builder, rows, start)
            row, *sums = loop.carried
            at = builder.add(first, loop.index)
            owed = vector.splat(builder.fneg(builder.load(builder.gep(u, [at]))))
            next_one = vector.splat(builder.load(builder.gep(v, [at])))
            for k in range(vectors):
                place = ir.Constant(n.type, k * lanes)
                value = vector.fma(owed, weights[k], vector.load(row, place))
                vector.store(value, row, place)
                sums[k] = vector.fma(next_one, value, sums[k])
            loop.close([builder.gep(row, [pitch]), *sums])
            for k in range(vectors):
                vector.store(sums[k], following, column(k))
            return context.get_dummy_value()

        return signature, generate

    return reflect


def make_fold(lanes: int, radius: int, parity: int) -> Any:
    """Make the kernel that turns a line of filter taps on resized pixels into one on source cells.

    Filtering a bicubically doubled source with 2*radius + 1 taps is filtering the source itself with fewer: each
    tap's pixel is four cells, and all taps of a cell's two pixels reach the same ``2*half_window(radius) + 1`` cells.

    Args:
        lanes: float32 in a vector.
        radius: Of the filter, odd.
        parity: Whether the line belongs to the cell's first pixel (0) or second (1).

    Returns:
        A numba intrinsic ``(x, x0, x_step, y, y0, y_step)`` for one vector of pixels.
    """
    half = half_window(radius)
    parts: list[list[tuple[int, float]]] = [[] for _ in range(2 * half + 1)]
    for tap in range(2 * radius + 1):
        pixel = parity + tap - radius
        # an odd pixel lies a quarter past its cell, an even one a quarter before
        first, weights = (pixel // 2 - 1, CUBIC) if pixel % 2 else (pixel // 2 - 2, CUBIC[::-1])
        for n, weight in enumerate(weights):
            parts[first + n + half].append((tap, weight))

    @intrinsic
    def fold(_context: Any, x: Any, x0: Any, x_step: Any, y: Any, y0: Any, y_step: Any) -> Any:
        del x0, x_step, y0, y_step
        i = types.intp
        signature = types.void(x, i, i, y, i, i)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, x0, x_step, _, y0, y_step = args
            x, y = (data(context, builder, signature, args, n) for n in (0, 3))
            v = Vectors(builder, lanes)

            def at(start: Any, step: Any, n: int) -> Any:
                return builder.add(start, builder.mul(step, ir.Constant(step.type, n)))

            taps = [v.load(x, at(x0, x_step, n)) for n in range(2 * radius + 1)]
            for n, part in enumerate(parts):
                tap, weight = part[0]
                total = builder.fmul(taps[tap], v.constant(weight))
                for tap, weight in part[1:]:
                    total = v.fma(taps[tap], v.constant(weight), total)
                v.store(total, y, at(y0, y_step, n))
            return context.get_dummy_value()

        return signature, generate

    return fold
