"""Thresholds of scores: Otsu's, and the one above which a pixel has changed.

Otsu's threshold alone divides any picture in two, also one where nothing changed; six robust standard deviations
above the median alone are too many where much did. Their geometric mean serves both, and a floor, below which no
score is a change, lets the map say that nothing changed. Both come from histograms too, which add up over blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

OTSU_BINS = 256
"""scikit-image's default, which DynamicEarth's released code takes."""

LOWEST, HIGHEST, BINS = 1e-4, 100.0, 1200
"""Range of the histogram of scores and its bins, spaced by their logarithms: 1.2 % each."""

DEVIATIONS = 6 * 1.4826
"""Of the median absolute deviation: six standard deviations of a Gaussian."""

FLOOR = 0.2
"""The least threshold, in the score's own units (spreads of the wider area). A real scene against itself, with noise
of 1 % and a shift of 0.3 pixels, stays below half of it; labelled pairs of dates have thresholds above 0.5."""

_EDGES = np.geomspace(LOWEST, HIGHEST, BINS + 1)
_CENTRES = np.sqrt(_EDGES[:-1] * _EDGES[1:])


def otsu(values: NDArray[Any], *, bins: int = OTSU_BINS) -> float:
    """The value that separates two classes best (Otsu 1979); values above it are the upper class.

    Args:
        values: Of any shape; those that are not finite are left out.
        bins: Of the histogram over their range.

    Returns:
        The middle of a bin, as scikit-image's ``threshold_otsu``; the value itself where all are equal, so that none
        is above it; nan where there is none.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return float("nan")
    least, most = float(finite.min()), float(finite.max())
    if most - least <= bins * np.spacing(max(abs(least), abs(most))):  # equal but for their last digits
        return most
    counts, edges = np.histogram(finite, bins)
    return otsu_of_counts(counts, (edges[:-1] + edges[1:]) / 2)


def otsu_of_counts(counts: NDArray[Any], centres: NDArray[Any]) -> float:
    """The same from a histogram.

    Args:
        counts: ``[B]``.
        centres: ``[B]``, ascending.

    Returns:
        One of the centres, the first of equals; the only one that is filled, or nan where none is.
    """
    full = np.flatnonzero(counts)
    if not full.size:
        return float("nan")
    if full.size == 1:
        return float(centres[full[0]])
    used = slice(full[0], full[-1] + 1)
    weights, middles = np.asarray(counts[used], np.float64), np.asarray(centres[used], np.float64)
    below, moment = np.cumsum(weights)[:-1], np.cumsum(weights * middles)
    above = weights.sum() - below
    between = below * above * (moment[:-1] / below - (moment[-1] - moment[:-1]) / above) ** 2
    return float(middles[np.argmax(between)])


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
    mean = float(np.sqrt(otsu_of_counts(counts, _CENTRES) * (median + DEVIATIONS * deviation)))
    return max(mean, FLOOR)


def _median(values: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Of values in ascending order."""
    below = np.cumsum(counts)
    return float(values[np.searchsorted(below, below[-1] / 2)])
