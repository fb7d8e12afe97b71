"""Otsu's threshold, from values or from a histogram (so that blocks' histograms can be added up first)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BINS = 256
"""As DynamicEarth takes scikit-image's default."""


def otsu(values: NDArray[Any], *, bins: int = BINS) -> float:
    """The value that parts two classes best (Otsu 1979); what lies above it is the upper one.

    Args:
        values: Of any shape; those that are not finite are left out.
        bins: Of the histogram over their range.

    Returns:
        The middle of a bin, as scikit-image's ``threshold_otsu``; the value itself where all are equal, so that none
        is above it; nan where there is none.
    """
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan")
    least, most = float(known.min()), float(known.max())
    if most - least <= bins * np.spacing(max(abs(least), abs(most))):  # equal but for their last digits
        return most
    counts, edges = np.histogram(known, bins)
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
