"""Scores as a map holds them: integers, in hundredths of the threshold, from which ``change`` follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.kernels.change.cut import AT, HIGHEST

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.stages.protocols import Compared


def hundredths(ratio: NDArray[Any]) -> NDArray[np.uint8]:
    """A score over its threshold, of any shape, 0 or more."""
    found: NDArray[np.uint8] = np.minimum(np.rint(ratio * AT), HIGHEST).astype(np.uint8)
    return found


def judged(compared: Compared, kept: NDArray[np.bool_], eligible: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """What was decided, as integers that say the same: 100 or more for what was kept, less for the rest.

    Args:
        compared: Objects or pixels.
        kept: What changed, of the same shape.
        eligible: What would have changed, had it looked different enough; what is not has 0.
    """
    found = hundredths(np.nan_to_num(compared.ratio, nan=0.0, posinf=HIGHEST))
    rest = np.where(eligible, np.minimum(found, AT - 1), 0)
    return np.where(kept, np.maximum(found, AT), rest).astype(np.uint8)
