"""Above which score a pixel has changed: from histograms that add up over blocks.

Otsu's threshold (Otsu 1979) alone parts any picture in two, also one where nothing changed; six robust standard
deviations above the median alone are too many where much did. Their geometric mean serves both, and a floor, below
which no score is a change, lets the map say that nothing changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.otsu import otsu_of_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOWEST, HIGHEST, BINS = 1e-4, 100.0, 1200
"""Range of the histogram and its bins, spaced by their logarithms: 1.2 % each."""

DEVIATIONS = 6 * 1.4826
"""Of the median absolute deviation: six standard deviations of a Gaussian."""

FLOOR = 0.2
"""The least threshold, in the score's own units (spreads of the wider area). A real scene against itself, with noise
of 1 % and a shift of 0.3 pixels, stays below half of it; labelled pairs of dates have thresholds above 0.5."""

_EDGES = np.geomspace(LOWEST, HIGHEST, BINS + 1)
_CENTRES = np.sqrt(_EDGES[:-1] * _EDGES[1:])


def counts_of(scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Histogram ``[BINS]`` of scores; those beyond its range count in its outermost bins."""
    inside = np.clip(scores.astype(np.float64), LOWEST, HIGHEST)
    return np.histogram(inside, _EDGES)[0].astype(np.float64)


def threshold_of(counts: NDArray[np.float64]) -> float:
    """The score from which on a pixel counts as changed.

    Args:
        counts: Sum of histograms, with at least one pixel.
    """
    median = _median(_CENTRES, counts)
    order = np.argsort(np.abs(_CENTRES - median), kind="stable")
    deviation = _median(np.abs(_CENTRES - median)[order], counts[order])
    found = float(np.sqrt(otsu_of_counts(counts, _CENTRES) * (median + DEVIATIONS * deviation)))
    return max(found, FLOOR)


def _median(values: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Of values in ascending order."""
    below = np.cumsum(counts)
    return float(values[np.searchsorted(below, below[-1] / 2)])
