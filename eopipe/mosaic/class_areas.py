"""How much of the map each class covers, on the ground.

A pixel of a grid is not a fixed piece of ground: in degrees it shrinks towards the poles, in Web Mercator it
grows. So areas are geodesic: each row's pixel is measured on the ellipsoid, in the middle of the mosaic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pyproj import Geod, Transformer

from eopipe.mosaic.store import MosaicWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.grid import Grid
    from eopipe.kernelinfo import ArraySpec
    from eopipe.mosaic.layout import Layout
    from eopipe.storage import Storage

_SAMPLE = 2048
_ROWS = 33  # a pixel's ground area is smooth in the row: the rest is interpolated


@dataclass(frozen=True)
class ClassArea:
    """A class's share of the map.

    Args:
        code: Its value.
        name: For people.
        colour: ``#rrggbb``.
        pixels: At full resolution.
        share: Of all pixels that hold a class, 0 to 1.
        km2: On the ground.
    """

    code: int
    name: str
    colour: str
    pixels: int
    share: float
    km2: float


def class_areas(storage: Storage, layout: Layout, *, histogram: Mapping[int, int] | None = None) -> list[ClassArea]:
    """Each class's share and area, in the order of codes; classes that do not occur have none.

    Args:
        storage: The run's folder.
        layout: The mosaic's.
        histogram: Pixels by code at full resolution, summed over the ledger: exact. Where None, they are
            estimated from a level of the pyramid of at most 2,048 pixels a side.

    Raises:
        OutputError: The folder cannot be read.
    """
    spec = map_spec(layout)
    level = next((k for k in range(layout.levels) if max(layout.shape(k)) <= _SAMPLE), layout.levels - 1)
    values = MosaicWriter(storage, layout).read_region(level, spec.name, slice(None), slice(None))
    ground = pixel_km2(layout, level) / 4**level
    rows = {entry.code: np.count_nonzero(values == entry.code, axis=1) for entry in spec.classes}
    pixels = histogram if histogram is not None else {code: int(row.sum()) * 4**level for code, row in rows.items()}
    total = sum(pixels.get(entry.code, 0) for entry in spec.classes)
    areas = []
    for entry in spec.classes:
        count = int(pixels.get(entry.code, 0))
        weights = rows[entry.code] if rows[entry.code].any() else None  # the rows that it lies in weigh its pixels
        km2 = count * float(np.average(ground, weights=weights))
        areas.append(ClassArea(entry.code, entry.name, entry.colour, count, count / total if total else 0.0, km2))
    return areas


def map_spec(layout: Layout) -> ArraySpec:
    """The first array with classes, which is the map."""
    return next(spec for spec in layout.arrays if spec.classes)


def pixel_km2(layout: Layout, level: int) -> NDArray[np.float64]:
    """Ground area of a level's pixels in the mosaic's middle column: square kilometres, one a row."""
    transform, (rows, cols) = layout.transform(level), layout.shape(level)
    at = np.unique(np.linspace(0, rows - 1, min(rows, _ROWS)).round())
    x = transform.c + transform.a * (cols / 2 + np.array([-0.5, 0.5, 0.5, -0.5]))[:, np.newaxis]
    y = transform.f + transform.e * (at + np.array([0, 0, 1, 1])[:, np.newaxis])
    to_degrees = Transformer.from_crs(layout.grid.crs, 4326, always_xy=True)
    xs, ys = np.broadcast_arrays(x, y)
    lon, lat = to_degrees.transform(xs, ys)
    geod = Geod(ellps="WGS84")
    areas = [abs(geod.polygon_area_perimeter(lon[:, k], lat[:, k])[0]) / 1e6 for k in range(len(at))]
    # rows of a tile may reach beyond a pole, where the CRS has no place on Earth: their ground is 0
    return np.interp(np.arange(rows), at, np.nan_to_num(areas, nan=0.0, posinf=0.0))


def pixel_m2(grid: Grid, down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ground area of a grid's pixel at points of the lattice, in square metres.

    On the WGS84 ellipsoid, as if it were flat over the one pixel: exact to the square of the pixel's side in radians.

    Args:
        grid: The lattice.
        down: The pixel's middle, in pixels from the CRS's origin; ``[N]``.
        right: Likewise.

    Returns:
        ``[N]``; NaN where the CRS has no place on Earth.
    """
    sides = np.array([-0.5, 0.5, 0.5, -0.5]), np.array([-0.5, -0.5, 0.5, 0.5])
    x = (right[:, np.newaxis] + sides[0]) * grid.resolution
    y = -(down[:, np.newaxis] + sides[1]) * grid.resolution
    lon, lat = map(np.asarray, Transformer.from_crs(grid.crs, 4326, always_xy=True).transform(x, y))
    on_earth = np.isfinite(lon).all(axis=1) & np.isfinite(lat).all(axis=1)
    lon, lat = np.where(on_earth[:, np.newaxis], (lon, lat), 0.0)
    geod = Geod(ellps="WGS84")
    middle = np.radians(lat.mean(axis=1))
    bend = 1 - geod.es * np.sin(middle) ** 2
    east, north = geod.a / np.sqrt(bend) * np.cos(middle), geod.a * (1 - geod.es) / bend**1.5
    across = np.radians([(lon[:, k + 2] - lon[:, k] + 180) % 360 - 180 for k in (0, 1)])
    up = np.radians([lat[:, k + 2] - lat[:, k] for k in (0, 1)])
    areas: NDArray[np.float64] = np.abs(across[0] * up[1] - across[1] * up[0]) / 2 * east * north
    return np.where(on_earth, areas, np.nan)
