"""What a kernel is: pixels in, maps out (DESIGN §5 "Kernel").

A kernel knows nothing of STAC, files or Dask. The engine reads pixels on the absolute
lattice, with the halo the kernel asks for, and hands it one *strip* at a time: a box whose
corners sit on multiples of ``Window.stride``. Equal pixels at an equal absolute place must
give equal bytes, whatever the strip; so a kernel computes fixed groups of windows, always of
the same shape and with the same companions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox


@dataclass(frozen=True)
class Inputs:
    """What a kernel reads.

    Args:
        modality: ``optical`` (reflectance x 10000) or another that the cube knows.
        bands: Canonical band names (``blue``, ``rededge1``, ``nir`` …) in the order the kernel wants.
        gsd: Ground sample distance, in metres, that the kernel was made for.
        epochs: Time slots: 1, or 2 for change.
        levels: Processing levels the kernel was made for, such as ``("L1C",)``; others run with a warning.
    """

    modality: str
    bands: tuple[str, ...]
    gsd: float
    epochs: int = 1
    levels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """The crop a model sees, in pixels of the lattice.

    Args:
        size: Side of the whole crop, halo included.
        stride: Distance of neighbouring windows; windows sit at its multiples on the lattice.
        halo: Pixels around a strip that must be read so that every window which touches it is whole.
    """

    size: int
    stride: int
    halo: int


@dataclass(frozen=True)
class ClassInfo:
    """One code of a categorical array: its value, name and colour (``#rrggbb``)."""

    code: int
    name: str
    colour: str
    prompts: tuple[str, ...] = ()


@dataclass(frozen=True)
class ArraySpec:
    """One output array.

    Args:
        name: Such as ``label``.
        dtype: NumPy dtype name.
        fill: What a pixel holds that was not produced.
        nodata: What a pixel without a valid observation holds.
        classes: The class table where the array is categorical; the pyramid then takes the mode, else the mean.
        losers: Codes that never win over another in the pyramid's mode.
        bands: Names of the planes where the array has a leading axis (class probabilities), else empty.
        long_name: One phrase for people, unit included.
    """

    name: str
    dtype: str
    fill: int
    nodata: int
    classes: tuple[ClassInfo, ...] = ()
    losers: tuple[int, ...] = ()
    bands: tuple[str, ...] = ()
    long_name: str = ""


@dataclass(frozen=True)
class Result:
    """What a kernel returns for a strip: arrays ``[y, x]`` (or ``[plane, y, x]``) of the strip's shape."""

    arrays: Mapping[str, NDArray[Any]]
    objects: Any = None


@dataclass(frozen=True)
class KernelInfo:
    """Everything the engine, the store and STAC must know of a kernel before it is loaded.

    Args:
        name: Registry name, such as ``land-cover``.
        version: Changes whenever equal inputs may give other bytes.
        options: The kernel's own options, validated and complete: part of the tile recipe.
        weights: File name to sha256 of all weights: part of the tile recipe.
        factor: Kernel pixels along a grid pixel's side (DESIGN §3: a kernel's GSD finer than the grid's);
            the kernel averages its probabilities over ``factor x factor`` before it decides.
        provenance: Model name, source, licence: for STAC's mlm extension and run.json.
    """

    name: str
    version: str
    inputs: Inputs
    window: Window
    arrays: tuple[ArraySpec, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    factor: int = 1
    provenance: Mapping[str, Any] = field(default_factory=dict)


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
