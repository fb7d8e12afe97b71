"""The description of a kernel: values that the mosaic, STAC and the engine share with the kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Inputs:
    """What a kernel reads.

    Args:
        modality: ``optical``: it receives float32 reflectance x 10000; or ``sar``: float32 decibels of backscatter,
            in steps of 1/256 dB. Both hold 0 where invalid, and 0 dB is a bright target: heed ``valid``.
        bands: Canonical band names (``blue``, ``rededge1``, ``nir`` …; of SAR ``vv``, ``vh`` …) in the kernel's
            order.
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
        halo: Pixels around a strip that must be read so that every window which touches it is whole: the
            context around what a window decides where windows lie side by side, ``size - 1`` where they overlap.
    """

    size: int
    stride: int
    halo: int

    @property
    def covers(self) -> int:
        """Side of the square that a window decides: the crop without its context; all of it where windows overlap."""
        return self.size - 2 * self.halo if 2 * self.halo < self.size else self.size

    def touching(self, side: int) -> float:
        """Windows along one axis that take part in a box of this side; the mean over boxes at its multiples."""
        step = math.gcd(side, self.stride)
        return (side + -(-self.covers // step) * step - step) / self.stride


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
        fill: The code of pixels that were not produced.
        nodata: The code of pixels without a valid observation.
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

    @property
    def planes(self) -> tuple[int, ...]:
        """Its shape without rows and columns."""
        return (len(self.bands),) if self.bands else ()


@dataclass(frozen=True)
class FeatureSpec:
    """Features that a kernel gives of each window, so that it can be scored again without its encoder.

    Args:
        tokens: Rows of a window's features.
        channels: Columns.
        reduced: Principal components that the channels are reduced to; None: all channels are stored.
        free: Options of the kernel that do not shape the features: these may change when they are scored again.
    """

    tokens: int
    channels: int
    reduced: int | None = None
    free: tuple[str, ...] = ()

    @property
    def window_bytes(self) -> int:
        """Of one stored window, in 16 bits, before compression."""
        return 2 * self.tokens * (self.reduced or self.channels)


@dataclass(frozen=True)
class ObjectColumn:
    """A column of an object's values, beside its geometry, its pixels and its area.

    Args:
        name: Of the column.
        dtype: NumPy dtype name of the values.
        classes: The class table where the values are codes: the column then holds names, null where it has no such
            code.
        joined: The value of a joined object: the greatest of its parts' values, or that of the largest part.
        long_name: One phrase for people, unit included.
    """

    name: str
    dtype: str
    classes: tuple[ClassInfo, ...] = ()
    joined: Literal["greatest", "largest"] = "greatest"
    long_name: str = ""


@dataclass(frozen=True)
class ObjectSpec:
    """Vectors of a kernel that finds objects.

    A kernel decides on objects in windows of the absolute lattice, so an object that reaches the edge of what its
    window decides may have a counterpart in the next. ``FoundObjects.seam`` marks these; they are compared when all
    tiles are merged.

    Args:
        columns: Of the objects.
        seams: How two at a seam are joined. ``touching``: parts that touch, by sides or corners, are one object.
            ``doubles``: of two that cover each other (intersection over union above ``double``), the one with the
            higher first column stays.
        double: The intersection over union above which two objects are doubles.
    """

    columns: tuple[ObjectColumn, ...]
    seams: Literal["touching", "doubles"]
    double: float = 0.7


@dataclass(frozen=True)
class KernelInfo:
    """What the engine, the store and STAC must know of a kernel before it is loaded.

    Args:
        name: Registry name, such as ``land-cover``.
        version: Changes whenever equal inputs may give other bytes.
        options: The kernel's own options, validated and complete: part of the tile recipe.
        weights: File name to sha256 of all weights: part of the tile recipe.
        places: Options that are paths of files: not in the recipe, which has the sha256 in ``weights``.
        factor: Kernel pixels along a grid pixel's side, where a kernel's GSD is finer than the grid's; the kernel
            averages its probabilities over ``factor x factor`` before it decides.
        features: What it hands over in ``Result.windows``; None where it gives no features.
        provenance: Model name, source, licence: for STAC's mlm extension and run.json.
        objects: What it hands over in ``Result.objects``; None where it gives none.
    """

    name: str
    version: str
    inputs: Inputs
    window: Window
    arrays: tuple[ArraySpec, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    places: tuple[str, ...] = ()
    factor: int = 1
    features: FeatureSpec | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    objects: ObjectSpec | None = None
