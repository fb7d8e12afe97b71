"""A kernel's objects, as it hands them over: runs of pixels on the absolute lattice, and columns.

Runs, not polygons: a kernel knows no geometry. The engine draws them (``eopipe.kernelinfo.ObjectSpec`` states their
columns and how they are joined).
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
    def concatenate(cls, groups: Sequence[FoundObjects]) -> FoundObjects:
        """Objects after one another; none (and no column) where there is no group.

        Raises:
            ValueError: Their columns differ.
        """
        if not groups:
            return cls(np.zeros((0, 3), np.int64), np.zeros(1, np.int64), np.zeros(0, bool))
        names = {tuple(sorted(group.columns)) for group in groups}
        if len(names) != 1:
            raise ValueError(f"objects to put together have the same columns, and these have {sorted(names)}")
        counts = np.concatenate([np.diff(group.offsets) for group in groups])
        return cls(
            np.concatenate([group.runs for group in groups]),
            np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
            np.concatenate([group.seam for group in groups]),
            {name: np.concatenate([group.columns[name] for group in groups]) for name in groups[0].columns},
        )
