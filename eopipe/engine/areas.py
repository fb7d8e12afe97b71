"""Ground area of pixels, and the class table that users read first."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from pyproj import CRS, Proj, Transformer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from eopipe.engine.ledger import Record
    from eopipe.grid import Grid
    from eopipe.kernels.protocol import ClassInfo


def pixel_km2(grid: Grid, tiles: Sequence[str], size: int) -> NDArray[np.float64]:
    """Ground area of one pixel in the middle of each tile, km² on the ellipsoid.

    A projection's areal scale changes by less than 0.1 % over a tile, and a UTM pixel of 10 m covers
    99.9 to 100.1 m²; so the middle stands for the tile.

    Args:
        grid: The lattice.
        tiles: Tile names.
        size: Side of a tile.
    """
    from eopipe.grid import Tile  # noqa: PLC0415  (only here)

    crs = CRS.from_user_input(grid.crs)
    middles = []
    for name in tiles:
        left, bottom, right, top = grid.bounds(Tile.parse(name).box(size))
        middles.append(((left + right) / 2, (bottom + top) / 2))
    x, y = np.asarray(middles, np.float64).reshape(-1, 2).T
    if crs.is_geographic:
        return _geographic(y, grid.resolution)
    lon, lat = Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(x, y)
    scale = np.asarray(Proj(crs).get_factors(lon, lat).areal_scale)
    metres = grid.resolution * crs.axis_info[0].unit_conversion_factor
    found: NDArray[np.float64] = metres * metres / scale / 1e6
    return found


def class_table(
    classes: Iterable[ClassInfo], records: Sequence[Record], *, grid: Grid, size: int
) -> list[tuple[str, float, float]]:
    """Name, km² and share of what was seen, of each class that occurs.

    Args:
        classes: The map's class table.
        records: Of the tiles that are done.
        grid: The lattice.
        size: Side of a tile.
    """
    km2: defaultdict[int, float] = defaultdict(float)
    for record, pixel in zip(records, pixel_km2(grid, [record.tile for record in records], size), strict=True):
        for code, count in record.histogram.items():
            km2[code] += count * pixel
    seen = sum(km2[info.code] for info in classes)
    return [
        (info.name, round(float(km2[info.code]), 4), round(float(km2[info.code] / seen), 5))
        for info in classes
        if km2[info.code]
    ]


def _geographic(lat: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    """Area of a cell of WGS 84's ellipsoid: meridian arc times parallel arc."""
    major, squared = 6378.137, 0.00669437999014
    phi = np.radians(lat)
    w = np.sqrt(1 - squared * np.sin(phi) ** 2)
    side = math.radians(degrees)
    return (major * (1 - squared) / w**3 * side) * (major / w * np.cos(phi) * side)
