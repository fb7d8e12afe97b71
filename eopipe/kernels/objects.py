"""Objects that a kernel found, as it hands them over: runs of pixels at their absolute places, and columns.

Runs, not polygons: a kernel knows no geometry. The engine draws them (``eopipe.kernel_info.ObjectSpec`` says how they
are told and joined).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FoundObjects:
    """N objects; each has a pixel.

    Args:
        runs: int64 ``[R, 3]``: row, first column, column after the last, on the kernel's absolute lattice; of each
            object in row order, no two of an object touching in a row.
        offsets: int64 ``[N + 1]``; object ``i`` has ``runs[offsets[i]:offsets[i + 1]]``.
        seam: bool ``[N]``: whether it reaches the edge of what its window decides, so that it may have a counterpart.
        columns: A value an object, ``[N]``, by the names of ``ObjectSpec.columns``.
    """

    runs: NDArray[np.int64]
    offsets: NDArray[np.int64]
    seam: NDArray[np.bool_]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.offsets) - 1
        lengths = {len(self.seam), *(len(values) for values in self.columns.values())}
        if lengths != {count} or len(self.runs) != self.offsets[-1] or (np.diff(self.offsets) < 1).any():
            raise ValueError(
                f"each of {count} objects has runs, a seam and a value a column; there are {sorted(lengths)} values "
                f"and {len(self.runs)} runs for {self.offsets[-1]}"
            )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def concatenate(cls, parts: Sequence[FoundObjects]) -> FoundObjects:
        """Objects after one another; of no part, none at all (and no column).

        Raises:
            ValueError: Their columns differ.
        """
        if not parts:
            return cls(np.zeros((0, 3), np.int64), np.zeros(1, np.int64), np.zeros(0, bool))
        names = {tuple(sorted(part.columns)) for part in parts}
        if len(names) != 1:
            raise ValueError(f"objects to put together have the same columns, and these have {sorted(names)}")
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        return cls(
            np.concatenate([part.runs for part in parts]),
            np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
            np.concatenate([part.seam for part in parts]),
            {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        )
