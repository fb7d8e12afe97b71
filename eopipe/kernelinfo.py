"""What a kernel says of itself: values that the mosaic, STAC and the engine share with the kernels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


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
