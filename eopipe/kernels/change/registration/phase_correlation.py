"""How far the second date lies beside the first: phase correlation whose surfaces add (Kuglin and Hines 1975).

Each sampled cell gives a small surface of the correlation of whitened pictures, around no shift. Surfaces of many
cells add up, and the peak of their sum is the shift of all. The spectrum is weighted so that the peak is a Gaussian
of known width: a parabola through the logarithms of its neighbours locates it to hundredths of a pixel.
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
"""Pixels to each side that a surface covers: more than the limit, so that a larger shift is recognised as one."""

WIDTH = 1.0
"""Standard deviation of the peak, pixels: the whitened spectrum's weights are its transform."""

LEAST_PEAK = 8.0
"""A peak must be so many times higher than the surface's own spread: open water and clouds have no texture to
register, and a shift measured from noise would do harm."""


def surface(before: NDArray[np.float32], after: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Correlation of the whitened pictures by shift.

    Args:
        before: ``[y, x]``, of one shape in all calls whose surfaces are added.
        after: Likewise.
        valid: ``[y, x]``: on both dates.

    Returns:
        ``[2 * RANGE + 1, 2 * RANGE + 1]``: for ``after`` so many rows down and columns right of ``before``; 0
        throughout where nothing varies.
    """
    rows, cols = valid.shape
    window = np.outer(np.hanning(rows), np.hanning(cols))
    first, second = (np.fft.rfft2(window * _centred(picture, valid)) for picture in (before, after))
    cross = np.conj(first) * second
    size = np.abs(cross)
    white = np.where(size > 0, cross / np.maximum(size, np.finfo(float).tiny), 0)
    down, right = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(cols)[None]
    whole = np.fft.irfft2(white * np.exp(-2 * (np.pi * WIDTH) ** 2 * (down**2 + right**2)), s=(rows, cols))
    near = np.arange(-RANGE, RANGE + 1)
    return np.asarray(whole[np.ix_(near % rows, near % cols)], np.float64)


def shift_of(total: NDArray[np.float64]) -> Mapping[str, float]:
    """The second date's shift: ``down`` and ``right`` in pixels; 0 where the surface has no peak.

    Args:
        total: A sum of surfaces.

    Raises:
        TileFault: The dates lie more than `LIMIT` pixels apart.
    """
    down, right = find_peak(total) or (0.0, 0.0)
    if max(abs(down), abs(right)) > LIMIT:
        raise TileFault(
            "misregistered",
            f"the dates lie {down:+.1f} rows and {right:+.1f} columns apart, and more than {LIMIT:g} pixels is no "
            f"shift but a wrong place: check the scenes' georeference, or set kernel.registration: false",
        )
    return {"down": down, "right": right}


def find_peak(total: NDArray[np.float64]) -> tuple[float, float] | None:
    """Rows down and columns right of a surface's peak; None where it is not `LEAST_PEAK` times above the spread."""
    row, col = (int(n) for n in np.unravel_index(int(total.argmax()), total.shape))
    spread = float(np.median(np.abs(total - np.median(total)))) * 1.4826
    if total[row, col] <= LEAST_PEAK * spread:
        return None
    return row - RANGE + _vertex(total[:, col], row), col - RANGE + _vertex(total[row], col)


def _centred(picture: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    mean = picture[valid].mean(dtype=np.float64) if valid.any() else 0.0
    return np.where(valid, picture - mean, 0.0)


def _vertex(line: NDArray[np.float64], index: int) -> float:
    """Offset of a Gaussian's peak between its neighbours, -0.5 to 0.5; 0 at the edge, which is beyond the limit."""
    if not 0 < index < len(line) - 1 or min(line[index - 1 : index + 2]) <= 0:
        return 0.0
    left, middle, right = np.log(line[index - 1 : index + 2])
    bend = 2 * middle - left - right
    return float(np.clip((right - left) / (2 * bend), -0.5, 0.5)) if bend > 0 else 0.0
