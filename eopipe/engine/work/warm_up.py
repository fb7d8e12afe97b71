"""Compile the inner loops before the first tile: on a machine's first run they take ten to twenty seconds.

The machine code is cached on disk, so one worker compiles and the others of the machine load; were it left
to the first tiles, every worker would compile the same at once.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import numpy as np
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from eopipe.cube.reader import ReadSettings, TileReader
from eopipe.cube.scenes import AssetRef, Scene
from eopipe.grid import Grid, PixelBox
from eopipe.mosaic.pyramid import histogram, reduce

if TYPE_CHECKING:
    from eopipe.kernelinfo import KernelInfo

SIDE = 64
_GRID = Grid("EPSG:32631", 10.0)
_BOX = PixelBox(-500_040, 50_010, -500_010, 50_040)
_SCENES = {
    "EPSG:32631": Affine(20.0, 0.0, 500_000.0, 0.0, -20.0, 5_000_500.0),
    "EPSG:4326": Affine(0.0002, 0.0, 2.999, 0.0, -0.0002, 45.16),
}
"""A scene on the lattice's own CRS at another resolution, and one that must be reprojected."""


def warm_up(info: KernelInfo) -> None:
    """Read two tiny scenes from memory through the cube, and reduce arrays like the kernel's."""
    for crs, transform in _SCENES.items():
        with MemoryFile(ext=".tif") as file:
            _write(file, crs, transform)
            sar = info.inputs.modality == "sar"
            unit: Literal["reflectance", "amplitude"] = "amplitude" if sar else "reflectance"
            bands = {band: AssetRef(href=file.name, nodata=0, unit=unit) for band in info.inputs.bands}
            scene = Scene(id="warm", collection="", datetime=datetime.now(UTC), level=None, bands=bands)
            for composite in ("median", "first"):
                settings = ReadSettings(grid=_GRID, bands=info.inputs.bands, composite=composite)
                with TileReader([[scene, scene]], settings) as reader:
                    reader.read(_BOX)
    warm_up_arrays(info)


def warm_up_arrays(info: KernelInfo) -> None:
    """Reduce and count arrays like the kernel's: enough for a run that reads no scene."""
    for spec in info.arrays:
        reduce(np.zeros((*spec.planes, SIDE, SIDE), spec.dtype), spec)
    histogram(np.zeros((SIDE, SIDE), np.uint8))


def _write(file: MemoryFile, crs: str, transform: Affine) -> None:
    pixels = np.full((1, SIDE, SIDE), 1000, np.uint16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open(
            driver="GTiff", width=SIDE, height=SIDE, count=1, dtype="uint16", crs=crs, transform=transform
        ) as dataset:
            dataset.write(pixels)
