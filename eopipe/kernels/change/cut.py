"""Where ``change_score`` is cut: from which of its values on a pixel counts as changed, and what a map says of it.

A score is stored in hundredths of the threshold of its place, so that 100 cuts every place at its own threshold, and
any other number at that many hundredths of it: one number moves the whole map, and no place against another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT = 100
"""``change_score`` from which on a pixel counts as changed: the threshold of its place."""

HIGHEST = 250
"""Of ``change_score``: two and a half times the threshold, or more."""

NOT_SEEN = 254
"""In ``change`` and ``change_score``: no valid observation in an epoch."""


def checked(at: object) -> int:
    """A threshold in hundredths.

    Raises:
        SpecError: It is no whole number from 1 to `HIGHEST`.
    """
    if isinstance(at, int) and not isinstance(at, bool) and 1 <= at <= HIGHEST:
        return at
    raise SpecError(
        f"at: {at!r} cannot cut change_score; give a whole number from 1 to {HIGHEST}, in hundredths of the "
        f"threshold of each place ({AT} is the threshold itself, less finds more)"
    )


def changed(score: NDArray[np.uint8], at: int) -> NDArray[np.uint8]:
    """``change``: 1 from ``at`` on, 0 below; what holds no score (254, 255) stays as it is.

    Args:
        score: ``change_score`` as stored, any shape.
        at: 1 to `HIGHEST`.
    """
    return np.where(score <= HIGHEST, score >= at, score).astype(np.uint8)


def told(words: str, at: int | None) -> str:
    """A map's name, with its threshold where it was cut anew."""
    return words if at is None else f"{words}, from {at} hundredths of the threshold on"
