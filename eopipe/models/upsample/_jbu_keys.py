"""Keys that pixels are compared by: two 1x1 convolutions of the guidance (FeatUp, arXiv 2403.10516)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.models._simd import entry, jit
from eopipe.models.upsample import _jbu_tiles as tiles
from eopipe.models.upsample._jbu_layout import COLOURS, KEY_ROWS, KEYS, LANES, SourceGrid, StageWeights, aligned, f4

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

_key_hidden = tiles.make_product(LANES, 1, KEY_ROWS, a_row=1, a_k=KEY_ROWS, pairs=False, add=False, gelu=True)
_key = tiles.make_product(LANES, 1, KEY_ROWS, a_row=1, a_k=KEY_ROWS, pairs=False, add=False, gelu=False)


@entry
def keys(low: int, high: int, grid: SourceGrid, stage: StageWeights, image: Floats) -> None:
    """Fill rows ``low`` to ``high`` of the colours and the keys, with the reflected columns of these.

    Args:
        low: First row of pixels.
        high: One past the last.
        grid: The stage's arrays; ``source`` is not looked at.
        stage: The weights.
        image: The guidance at this stage's resolution, [3, 2*height, 2*width].
    """
    width, step, radius = grid.width, grid.pitch, stage.radius
    hidden = aligned((KEYS + 1) * LANES)
    hidden[KEYS * LANES :] = f4(1)
    plane = KEYS * step
    shift = (radius + 1) // 2
    for y in range(low, high):
        for parity in range(2):
            line = 2 * y + parity
            for c in range(3):
                for t in range(width):
                    grid.colours[(line * COLOURS + c) * step + t] = image[c, y, 2 * t + parity]
            for t in range(0, width, LANES):
                at = line * COLOURS * step + t
                for tile in range(0, KEYS, KEY_ROWS):
                    _key_hidden(
                        stage.key_hidden, tile * COLOURS, 0, grid.colours, at, step, 0, COLOURS, 1,
                        hidden, tile * LANES, LANES, 0,
                    )  # fmt: skip
                for tile in range(0, KEYS, KEY_ROWS):
                    to = line * plane + tile * step + t + shift
                    _key(stage.key, tile * (KEYS + 1), 0, hidden, 0, LANES, 0, KEYS + 1, 1, grid.keys, to, step, 0)
        row = grid.keys[2 * y * plane : 2 * (y + 1) * plane]
        for n in range(1, radius + 1):
            # column -n is column n, and beyond the last likewise; columns are counted from -(radius + 1)
            _copy_column(row, plane, step, radius + 1 - n, radius + 1 + n)
            _copy_column(row, plane, step, radius + 2 * width + n, radius + 2 * width - n)


@jit
def _copy_column(row: Floats, plane: int, step: int, to: int, of: int) -> None:
    target, origin = (to % 2) * plane + to // 2, (of % 2) * plane + of // 2
    for c in range(KEYS):
        row[target + c * step] = row[origin + c * step]
