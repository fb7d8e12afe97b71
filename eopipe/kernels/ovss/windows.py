"""Where a model looks: windows within an image, as the benchmarks lay them, or on the absolute lattice, for maps.

The published protocol anchors windows to the image's corner and shifts the last ones back inside; since each window
adds a bias of its own, the result then depends on how the picture was cut. A mosaic must not, so there the same
windows sit at the multiples of the stride on the lattice and may reach over the edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.grid import PixelBox

if TYPE_CHECKING:
    from collections.abc import Iterator


def lay_windows(box: PixelBox, *, size: int, stride: int, lattice: bool) -> Iterator[PixelBox]:
    """Windows that together cover a box, in row order.

    Args:
        box: What must be covered.
        size: Side of a window, pixels.
        stride: Distance of neighbours.
        lattice: Whether windows sit at multiples of the stride on the absolute lattice, all of those that touch
            the box (maps); else from the box's corner, the last ones shifted back inside, and a window no larger
            than the box (benchmarks; SegEarth-OV's sliding inference).

    Yields:
        Windows ``size x size``; smaller only where a benchmark's image is.
    """
    rows, cols = (
        list(_starts(low, high, size=size, stride=stride, lattice=lattice))
        for low, high in ((box.row0, box.row1), (box.col0, box.col1))
    )
    height, width = (
        side if lattice else min(side, extent) for side, extent in zip((size, size), box.shape, strict=True)
    )
    for row in rows:
        for col in cols:
            yield PixelBox(row, col, row + height, col + width)


def _starts(low: int, high: int, *, size: int, stride: int, lattice: bool) -> Iterator[int]:
    if lattice:
        yield from range((low - size) // stride * stride + stride, high, stride)
        return
    for number in range(max(high - low - size + stride - 1, 0) // stride + 1):
        yield low + max(min(number * stride, high - low - size), 0)
