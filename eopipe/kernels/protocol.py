"""What a kernel is: pixels in, maps out (DESIGN §5 "Kernel").

A kernel knows nothing of STAC, files or Dask. The engine reads pixels on the absolute
lattice, with the halo the kernel asks for, and hands it one *strip* at a time: a box whose
corners sit on multiples of ``Window.stride``. Equal pixels at an equal absolute place must
give equal bytes, whatever the strip; so a kernel computes fixed groups of windows, always of
the same shape and with the same companions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernelinfo import KernelInfo


@dataclass(frozen=True)
class Result:
    """What a kernel returns for a strip: arrays ``[y, x]`` (or ``[plane, y, x]``) of the strip's shape."""

    arrays: Mapping[str, NDArray[Any]]
    objects: Any = None


class Kernel(Protocol):
    """A loaded or loadable kernel; made by :func:`eopipe.kernels.registry.create`."""

    @property
    def info(self) -> KernelInfo:
        """What it is; known without loading weights into memory."""
        ...

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:
        """Warnings about these inputs, one line each (a processing level, a resolution it was not made for).

        Raises:
            PlanError: The kernel cannot run on them at all.
        """
        ...

    def load(self, *, device: str, threads: int) -> None:
        """Load weights once a worker; a second call with the same arguments does nothing."""
        ...

    def memory(self, shape: tuple[int, int]) -> int:
        """Peak bytes used while a strip of this shape is computed, beyond its pixels and results."""
        ...

    def __call__(
        self,
        pixels: NDArray[np.float32],
        valid: NDArray[np.bool_],
        box: PixelBox,
        statistics: Mapping[str, Any],
    ) -> Result:
        """Map one strip.

        Args:
            pixels: ``[epoch, band, y, x]`` float32 over ``box.pad(window.halo)``; 0 where invalid.
            valid: ``[epoch, y, x]`` over the same pixels.
            box: The strip itself, on the kernel's absolute lattice (the grid's, divided by ``factor``);
                corners at multiples of ``window.stride`` and of ``factor``.
            statistics: What the kernel's statistics stages gave for this place; empty where it declares none.

        Returns:
            Arrays of ``box.shape`` divided by ``factor``.
        """
        ...
