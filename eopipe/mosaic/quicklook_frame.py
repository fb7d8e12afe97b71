"""The crop of a mosaic that a picture shows, and its position on Earth."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pyproj import Geod, Transformer

from eopipe.mosaic.pyramid import reduce
from eopipe.mosaic.store import STATUS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.grid import PixelBox
    from eopipe.kernelinfo import ArraySpec
    from eopipe.mosaic.layout import Layout
    from eopipe.mosaic.store import MosaicWriter

_MOST, _LEAST = 1000, 480


@dataclass(frozen=True)
class View:
    """A crop of one level.

    Args:
        values: Codes ``[y, x]``.
        statuses: The tile's status under each pixel.
        level: The pyramid's.
        row: First row of the crop in that level.
        col: First column.
        stretch_x: Screen pixels for a pixel's width, so that a metre east is as long as a metre north.
        stretch_y: And for its height.
    """

    values: NDArray[Any]
    statuses: NDArray[np.uint8]
    level: int
    row: int
    col: int
    stretch_x: float = 1.0
    stretch_y: float = 1.0


def look(writer: MosaicWriter, spec: ArraySpec, statuses: NDArray[np.uint8], extent: PixelBox | None = None) -> View:
    """Crop to what was or should have been mapped, at the finest level that fits 1,000 pixels.

    Args:
        writer: Reads the mosaic.
        spec: Which array; its first plane.
        statuses: ``tile_status``.
        extent: The area's pixels, where tiles stand out beyond it.
    """
    layout = writer.layout
    top, left, bottom, right = _within(layout, _extent(writer, spec, statuses), extent)
    level = 0
    while max(bottom - top, right - left) / 2**level > _MOST and level < layout.levels - 1:
        level += 1
    rows, cols = (slice(a // 2**level, -(-b // 2**level)) for a, b in ((top, bottom), (left, right)))
    values = writer.read_region(level, spec.name, rows, cols)
    values = values[0] if values.ndim == 3 else values
    while max(values.shape) > 2 * _MOST:  # a store whose pyramid ends early
        values, rows, cols, level = reduce(values, spec), _half(rows), _half(cols), level + 1
    step = 2**level
    at_row = np.minimum((np.arange(values.shape[0]) + rows.start) * step // layout.tile, statuses.shape[0] - 1)
    at_col = np.minimum((np.arange(values.shape[1]) + cols.start) * step // layout.tile, statuses.shape[1] - 1)
    return _stretched(layout, View(values, statuses[np.ix_(at_row, at_col)], level, rows.start, cols.start))


def place_names(layout: Layout, view: View) -> str:
    """The crop's corners in degrees, and the CRS it is drawn in."""
    west, south, east, north = _degrees(layout, view)
    high = f"{_degree(south, 'NS')} to {_degree(north, 'NS')}"
    wide = f"{_degree(west, 'EW')} to {_degree(east, 'EW')}"
    return f"{high}, {wide}   {layout.grid.crs if len(layout.grid.crs) <= 20 else 'own CRS'}"


def metres_across(layout: Layout, view: View) -> float:
    """Ground length of the crop's middle row in metres."""
    return _pixel_metres(layout, view)[0] * int(view.values.shape[1])


def _extent(writer: MosaicWriter, spec: ArraySpec, statuses: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Top, left, bottom, right in full-resolution pixels of the mosaic."""
    layout = writer.layout
    level = layout.levels - 1
    values = writer.read_region(level, spec.name, slice(None), slice(None))
    values = values[0] if values.ndim == 3 else values
    shape = layout.shape(0)
    unmapped = np.isin(statuses, [STATUS["failed"], STATUS["not run"]])
    candidates = (_box(values != spec.fill, 2**level), _box(unmapped, layout.tile))
    boxes = [box for box in candidates if box is not None] or [(0, 0, *shape)]
    top, left = (min(box[k] for box in boxes) for k in (0, 1))
    bottom, right = (min(max(box[k] for box in boxes), shape[k - 2]) for k in (2, 3))
    return top, left, bottom, right


def _within(layout: Layout, sides: tuple[int, int, int, int], extent: PixelBox | None) -> tuple[int, int, int, int]:
    """Cut to the extent; unchanged where they do not meet."""
    if extent is None:
        return sides
    row0, col0 = layout.tile_bounds.row0 * layout.tile, layout.tile_bounds.col0 * layout.tile
    top, left = max(sides[0], extent.row0 - row0), max(sides[1], extent.col0 - col0)
    bottom, right = min(sides[2], extent.row1 - row0), min(sides[3], extent.col1 - col0)
    return (top, left, bottom, right) if top < bottom and left < right else sides


def _box(mask: NDArray[np.bool_], step: int) -> tuple[int, int, int, int] | None:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return (int(rows[0]) * step, int(cols[0]) * step, (int(rows[-1]) + 1) * step, (int(cols[-1]) + 1) * step)


def _half(side: slice) -> slice:
    return slice(side.start // 2, -(-side.stop // 2))


def _stretched(layout: Layout, view: View) -> View:
    east, north = _pixel_metres(layout, view)
    rows, cols = view.values.shape
    wide, high = cols * east / max(east, north), rows * north / max(east, north)
    scale = 1.0
    while max(wide, high) * scale < _LEAST:  # a small area, shown larger in whole pixels
        scale += 1
    scale = min(scale, _MOST / max(wide, high)) if scale == 1 else scale
    return replace(view, stretch_x=scale * wide / cols, stretch_y=scale * high / rows)


def _pixel_metres(layout: Layout, view: View) -> tuple[float, float]:
    """Width and height of the crop's middle pixel on the ground."""
    transform = layout.transform(view.level)
    x = transform.c + transform.a * (view.col + view.values.shape[1] / 2)
    y = transform.f + transform.e * (view.row + view.values.shape[0] / 2)
    lon, lat = _transformer(layout).transform([x, x + transform.a, x], [y, y, y + transform.e])
    _, _, metres = Geod(ellps="WGS84").inv([lon[0]] * 2, [lat[0]] * 2, lon[1:], lat[1:])
    return float(metres[0]), float(metres[1])


def _degrees(layout: Layout, view: View) -> tuple[float, float, float, float]:
    transform, (rows, cols) = layout.transform(view.level), view.values.shape
    left, top = transform.c + transform.a * view.col, transform.f + transform.e * view.row
    bounds = (left, top + transform.e * rows, left + transform.a * cols, top)
    west, south, east, north = _transformer(layout).transform_bounds(*bounds)
    return float(west), float(south), float(east), float(north)


def _transformer(layout: Layout) -> Any:
    return Transformer.from_crs(layout.grid.crs, 4326, always_xy=True)


def _degree(value: float, signs: str) -> str:
    return f"{abs(value):.2f}° {signs[0] if value >= 0 else signs[1]}"
