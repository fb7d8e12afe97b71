"""``change_score`` as a map stores it, and ``change``, which follows from it.

A score is stored as an integer, in hundredths of the threshold of its place: 100 cuts every place at its own
threshold, and any other number at so many hundredths of it. One number therefore moves the whole map, and no place
against another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

THRESHOLD = 100
"""``change_score`` from which on a pixel counts as changed: the threshold of its place."""

HIGHEST = 250
"""Of ``change_score``: two and a half times the threshold, or more."""

UNOBSERVED = 254
"""In ``change`` and ``change_score``: no valid observation in an epoch."""


def check_threshold(threshold: object) -> int:
    """A threshold in hundredths.

    Raises:
        SpecError: It is no whole number from 1 to `HIGHEST`.
    """
    if isinstance(threshold, int) and not isinstance(threshold, bool) and 1 <= threshold <= HIGHEST:
        return threshold
    raise SpecError(
        f"at: {threshold!r} cannot cut change_score; give a whole number from 1 to {HIGHEST}, in hundredths of the "
        f"threshold of each place ({THRESHOLD} is the threshold itself, less finds more)"
    )


def change_of(score: NDArray[np.uint8], threshold: int) -> NDArray[np.uint8]:
    """``change``: 1 from the threshold on, 0 below; what holds no score (254, 255) stays as it is.

    Args:
        score: ``change_score`` as stored, any shape.
        threshold: 1 to `HIGHEST`.
    """
    return np.where(score <= HIGHEST, score >= threshold, score).astype(np.uint8)


def hundredths(ratio: NDArray[Any]) -> NDArray[np.uint8]:
    """A score over its threshold, of any shape, 0 or more, as it is stored."""
    return np.asarray(np.minimum(np.rint(ratio * THRESHOLD), HIGHEST).astype(np.uint8))


def decided_score(ratio: NDArray[Any], changed: NDArray[np.bool_], eligible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """``change_score`` of objects or pixels after the decision: `THRESHOLD` or more for a change, less for the rest.

    Args:
        ratio: Score over threshold; nan where there was nothing to compare.
        changed: The decision, of the same shape.
        eligible: Whether its classes allow a change, however different it looks; where false the score is 0.
    """
    score = hundredths(np.nan_to_num(ratio, nan=0.0, posinf=HIGHEST))
    rest = np.where(eligible, np.minimum(score, THRESHOLD - 1), 0)
    return np.where(changed, np.maximum(score, THRESHOLD), rest).astype(np.uint8)
