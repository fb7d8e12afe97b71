"""How far the second date lies beside the first: phase correlation whose surfaces add (Kuglin and Hines 1975).

Each sampled cell gives a small surface of the correlation of whitened pictures, around no shift. Surfaces of many
cells add up, and the peak of their sum is the shift of all. The spectrum is weighted so that the peak is a Gaussian
of known width: a parabola through the logarithms of its neighbours finds it to hundredths of a pixel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import TileFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

LIMIT = 3.0
"""Pixels of shift beyond which dates are not shifted but wrong: another place, or another projection."""

RANGE = 8
"""Pixels to each side that a surface covers: more than the limit, so that a larger shift is seen as one."""

WIDTH = 1.0
"""Standard deviation of the peak, pixels: the whitened spectrum's weights are its transform."""

SURE = 8.0
"""A peak must stand so many times above the surface's own spread: open water and clouds have nothing to hold on to,
and a shift that is made of noise would do harm."""


def surface(before: NDArray[np.float32], after: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Correlation of the whitened pictures by shift.

    Args:
        before: ``[y, x]``, of one shape in all calls whose surfaces are added.
        after: Likewise.
        valid: ``[y, x]``: in both.

    Returns:
        ``[2 * RANGE + 1, 2 * RANGE + 1]``: where ``after`` lies by so many rows down and columns right; 0 throughout
        where nothing varies.
    """
    rows, cols = valid.shape
    window = np.outer(np.hanning(rows), np.hanning(cols))
    first, second = (np.fft.rfft2(window * _centred(picture, valid)) for picture in (before, after))
    cross = np.conj(first) * second
    size = np.abs(cross)
    white = np.where(size > 0, cross / np.maximum(size, np.finfo(float).tiny), 0)
    down, right = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)[None]
    found = np.fft.irfft2(white * np.exp(-2 * (np.pi * WIDTH) ** 2 * (down**2 + right**2)), s=(rows, cols))
    near = np.arange(-RANGE, RANGE + 1)
    return np.asarray(found[np.ix_(near % rows, near % cols)], np.float64)


def peak(found: NDArray[np.float64]) -> Mapping[str, float]:
    """Where the second date lies: ``down`` and ``right`` in pixels; 0 where the dates have nothing to hold on to.

    Args:
        found: A sum of surfaces.

    Raises:
        TileFault: They lie more than `LIMIT` pixels apart.
    """
    place = find(found)
    if place is None:
        return {"down": 0.0, "right": 0.0}
    down, right = place
    if max(abs(down), abs(right)) > LIMIT:
        raise TileFault(
            "misregistered",
            f"the dates lie {down:+.1f} rows and {right:+.1f} columns apart, and more than {LIMIT:g} pixels is no "
            f"shift but a wrong place: check the scenes' georeference, or set kernel.registration: false",
        )
    return {"down": down, "right": right}


def find(found: NDArray[np.float64]) -> tuple[float, float] | None:
    """Rows down and columns right of a surface's peak; None where it is none that can be trusted."""
    row, col = (int(n) for n in np.unravel_index(int(found.argmax()), found.shape))
    spread = float(np.median(np.abs(found - np.median(found)))) * 1.4826
    if found[row, col] <= SURE * spread:
        return None
    return row - RANGE + _vertex(found[:, col], row), col - RANGE + _vertex(found[row], col)


def _centred(picture: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    mean = picture[valid].mean(dtype=np.float64) if valid.any() else 0.0
    return np.where(valid, picture - mean, 0.0)


def _vertex(line: NDArray[np.float64], at: int) -> float:
    """Where between its neighbours a Gaussian's peak lies, -0.5 to 0.5; 0 at the edge, which is beyond the limit."""
    if not 0 < at < len(line) - 1 or min(line[at - 1 : at + 2]) <= 0:
        return 0.0
    left, middle, right = np.log(line[at - 1 : at + 2])
    bend = 2 * middle - left - right
    return float(np.clip((right - left) / (2 * bend), -0.5, 0.5)) if bend > 0 else 0.0
