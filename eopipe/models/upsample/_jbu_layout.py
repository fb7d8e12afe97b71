"""How the fused joint bilateral upsampler lays out its numbers: vectors, weights, maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from eopipe.models._simd import jit, vector_width
from eopipe.models.upsample import _jbu_tiles as tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

f4 = np.float32
LANES = vector_width()
BROAD = LANES == 16  # 32 registers of 16 floats, else at least 16 registers
STEP = tiles.CLASSES * LANES
KEYS = 32
KEY_ROWS = 8
COLOURS = 4  # red, green, blue and a one
LEAST = 3 if BROAD else 2  # vectors of channels that tiles can share


class StageWeights(NamedTuple):
    """A stage's weights for the kernels, all flat.

    Attributes:
        radius: 3 or 5; the filter has side = 2*radius + 1.
        key_hidden: [4, 4, 8]: tiles of 8 of the 32 hidden keys, by colour and 1.
        key: [4, 33, 8], times the root of the range's temperature.
        spatial: [side, side].
        hidden: [side, side² + 4, side]: tiles of ``side`` hidden values, by tap, colour and 1.
        correct: [side, side² + 1, side], times 0.1.
    """

    radius: int
    key_hidden: Floats
    key: Floats
    spatial: Floats
    hidden: Floats
    correct: Floats


class SourceGrid(NamedTuple):
    """A stage's source, [height, width] cells, and how its arrays lie.

    Attributes:
        height: Cells.
        width: Cells.
        pitch: Values from channel to channel of ``colours`` and ``keys``.
        colours: The guidance, [2*height, 2 parities, 4, pitch] of red, green, blue and 1.
        keys: [2*height, 2 parities, 32, pitch]; cell 0 stands at (radius + 1) / 2.
        channels: Values to a pixel of ``source``, whole vectors.
        source: [height + 2*half, width + 2*half, channels], its border repeated.
    """

    height: int
    width: int
    pitch: int
    colours: Floats
    keys: Floats
    channels: int
    source: Floats


def half_window(radius: int) -> int:
    """How far from a cell the source reaches into it, in cells: the filter's radius and the bicubic resize."""
    return tiles.half_window(radius)


half = jit(tiles.half_window)


def whole_channels(channels: int) -> int:
    """Channels as the kernels take them: whole vectors, as many as tiles can share."""
    vectors = max(LEAST, -(-channels // LANES))
    return LANES * (vectors if BROAD else vectors + vectors % 2)


def pitch(width: int, radius: int) -> int:
    """`SourceGrid.pitch` for a width in cells: whole vectors and the reflected border.

    It is an odd number of cache lines: steps of a power of two would put all channels into few sets of the cache.
    """
    lines = -(-(-(-width // LANES) * LANES + radius + 1) // 16)
    return 16 * (lines | 1)


@jit
def aligned(size: int) -> Floats:
    """Uninitialised memory that begins a cache line."""
    memory = np.empty(size + 16, np.float32)
    skip = ((64 - memory.ctypes.data % 64) % 64) // 4
    return memory[skip : skip + size]
