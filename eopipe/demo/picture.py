"""The scene in true colour, on the map's own pixels: what stands beside the map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from eopipe.mosaic.quicklook import PAPER

if TYPE_CHECKING:
    from pathlib import Path

    from affine import Affine
    from numpy.typing import NDArray

    from eopipe.demo.scenes import Scene
    from eopipe.mosaic.layout import Layout
    from eopipe.mosaic.quicklook_frame import View

WHITE = 99.0
"""Percentile of the brightest band that becomes white; one for all bands, so that colours stay true."""


def true_colour(scene: Scene, folder: Path, layout: Layout, view: View) -> NDArray[np.uint8]:
    """The scene's pixels under a view of the map.

    Args:
        scene: Which.
        folder: Of its collection.
        layout: The mosaic's.
        view: What part of it is shown.

    Returns:
        ``[y, x, 3]``; paper where the scene has no data.
    """
    transform = layout.transform(view.level)
    here = transform * transform.translation(view.col, view.row)
    names = {band.common: f"{band.name}.tif" for band in scene.bands}
    bands = [
        _read(folder / names[colour], layout.grid.crs, here, view.values.shape) for colour in ("red", "green", "blue")
    ]
    values = np.stack([np.ma.getdata(band) for band in bands], axis=-1).astype(np.float32)
    seen = ~np.any([np.ma.getmaskarray(band) for band in bands], axis=0)
    white = float(np.percentile(values[seen], WHITE, axis=0).max()) if seen.any() else 1.0
    found = np.clip(values / max(white, 1.0) * 255, 0, 255).astype(np.uint8)
    return np.where(seen[..., np.newaxis], found, np.array(PAPER, np.uint8))


def _read(path: Path, crs: str, transform: Affine, shape: tuple[int, ...]) -> Any:
    with (
        rasterio.open(path) as source,
        WarpedVRT(
            source, crs=crs, transform=transform, height=shape[0], width=shape[1], resampling=Resampling.bilinear
        ) as warped,
    ):
        return warped.read(1, masked=True)
