"""Vectors of a kernel that finds objects, as GeoParquet: the columns, and how a file holds them.

A tile's file holds the objects that belong to the tile, in the order of their places. An object's **place** is its
first pixel in row order that the area holds: no two tiles share one, so the ``id``, which is made of it, names an
object whatever the tiles. Objects with the same place are numbered, in the order of their pixels and values.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from pyproj import CRS

from eopipe.mosaic.class_areas import pixel_m2
from eopipe.mosaic.polygons import chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from eopipe.grid import Grid
    from eopipe.kernelinfo import ObjectColumn, ObjectSpec
    from eopipe.kernels.objects import FoundObjects

SIDES = ("xmin", "ymin", "xmax", "ymax")
_BBOX = pa.struct([(side, pa.float64()) for side in SIDES])

AREA_DIGITS = 4
"""Digits after the point of an area in square metres."""

_ID = re.compile(r"^r(-?\d+)c(-?\d+)(?:n(\d+))?$")


@dataclass(frozen=True)
class ObjectLayout:
    """Columns and grid of a file of objects.

    Args:
        spec: The kernel's.
        grid: Whose pixels they are.
    """

    spec: ObjectSpec
    grid: Grid

    @property
    def schema(self) -> pa.Schema:
        """Of a tile's file; the run's whole file has dates too, before ``seam``.

        ``id``; ``geometry``, WKB in the grid's CRS; ``pixels``; ``area_m2``, on the ellipsoid; the kernel's columns,
        codes of a class table as names, null where it has none; ``seam``, whether the object reached the edge of what
        its window decides; and ``bbox``, by which a reader finds a region without reading all.
        """
        fields = [("id", pa.string()), ("geometry", pa.binary()), ("pixels", pa.int64()), ("area_m2", pa.float64())]
        fields += [pa.field(column.name, _kind(column), metadata=_described(column)) for column in self.spec.columns]
        fields += [("seam", pa.bool_()), ("bbox", _BBOX)]
        return pa.schema(fields, metadata={"geo": json.dumps(self._geo)})

    @property
    def _geo(self) -> dict[str, Any]:
        column = {
            "encoding": "WKB",
            "geometry_types": ["Polygon", "MultiPolygon"],
            "crs": CRS.from_user_input(self.grid.crs).to_json_dict(),
            "edges": "planar",
            "orientation": "counterclockwise",
            "covering": {"bbox": {side: ["bbox", side] for side in SIDES}},
        }
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def table_of(objects: FoundObjects, places: NDArray[np.int64], layout: ObjectLayout) -> pa.Table:
    """Objects as a table, by place.

    Args:
        objects: All that have any of these places.
        places: int64 ``[N, 2]``: row and column of each object's first pixel that the area holds.
        layout: Of the file.
    """
    order, numbers = _ordered(objects, places)
    pixels, areas = _sizes(objects, layout.grid)
    geometry, bbox = _drawn(objects, layout.grid)
    columns: dict[str, Any] = {
        "id": [
            identifier(row, col, number) for (row, col), number in zip(places[order].tolist(), numbers, strict=True)
        ],
        "geometry": geometry.take(pa.array(order)),
        "pixels": pixels[order],
        "area_m2": pa.array(areas[order], from_pandas=True),  # null where the CRS has no place on Earth
        "seam": objects.seam[order],
        "bbox": bbox.take(pa.array(order)),
    }
    for column in layout.spec.columns:
        columns[column.name] = _values(column, objects.columns[column.name][order])
    return pa.table({name: columns[name] for name in layout.schema.names}, schema=layout.schema)


def encode(table: pa.Table) -> bytes:
    """A table as a parquet file: the same bytes for the same table and library."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", row_group_size=max(len(table), 1))
    return sink.getvalue()


def decode(data: bytes, layout: ObjectLayout) -> pa.Table:
    """A table from :func:`encode`'s bytes.

    Raises:
        ValueError: It is none, or holds other columns.
    """
    table = pq.ParquetFile(io.BytesIO(data)).read()
    if not table.schema.equals(layout.schema):
        raise ValueError(f"it has the columns {', '.join(table.schema.names)} of another kernel or version")
    return table


def identifier(row: int, col: int, number: int) -> str:
    """An object's ``id``: its place on the grid's lattice, and its number where several have one place."""
    return f"r{row}c{col}" + (f"n{number}" if number else "")


def places_of(identifiers: Sequence[str]) -> NDArray[np.int64]:
    """``[N, 3]``: row, column, number.

    Raises:
        ValueError: One is no ``id``.
    """
    matches = [_ID.match(identifier) for identifier in identifiers]
    if None in matches:
        raise ValueError(f"{identifiers[matches.index(None)]!r} is no id of an object")
    numbers = [[int(number or 0) for number in match.groups()] for match in matches if match]
    return np.array(numbers, np.int64).reshape(-1, 3)


def bounds_of(table: pa.Table) -> NDArray[np.float64]:
    """``[N, 4]``: left, bottom, right, top of each object, in the grid's CRS."""
    boxes = table.column("bbox").combine_chunks()
    sides = [boxes.field(side).to_numpy(zero_copy_only=False) for side in SIDES]
    return np.stack(sides, axis=1).astype(np.float64).reshape(-1, 4)


def bbox_array(bounds: NDArray[np.float64]) -> pa.StructArray:
    """Such bounds as GeoParquet's covering."""
    return pa.StructArray.from_arrays([pa.array(np.ascontiguousarray(side)) for side in bounds.T], list(SIDES))


def _drawn(objects: FoundObjects, grid: Grid) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """WKB and covering, in the order of the objects."""
    shapes, boxes = [], []
    for some in chunks(objects.runs, objects.offsets, grid):
        shapes.append(pa.array(shapely.to_wkb(some, byte_order=1), pa.binary()))
        boxes.append(bbox_array(shapely.bounds(some)))
    return pa.chunked_array(shapes, pa.binary()), pa.chunked_array(boxes, _BBOX)


def _kind(column: ObjectColumn) -> pa.DataType:
    return pa.string() if column.classes else pa.from_numpy_dtype(np.dtype(column.dtype))


def _described(column: ObjectColumn) -> dict[str, str] | None:
    return {"long_name": column.long_name} if column.long_name else None


def _values(column: ObjectColumn, values: NDArray[Any]) -> pa.Array:
    """Values as the file has them: names for codes, null where there is none."""
    if not column.classes:
        return pa.array(values.astype(column.dtype, copy=False))
    names = {entry.code: entry.name for entry in column.classes}
    return pa.array([names.get(code) for code in values.tolist()], pa.string())


def _ordered(objects: FoundObjects, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[int]]:
    """Objects by place; those of one place by their pixels and values, so that each has its number in any run."""
    order = np.lexsort((places[:, 1], places[:, 0]))
    same = np.concatenate([[False], (np.diff(places[order], axis=0) == 0).all(axis=1)])
    numbers = [0] * len(order)
    for at in np.flatnonzero(same & ~np.append(same[1:], False)).tolist():  # the last of each group of several
        first = at - int(np.argmin(same[at::-1]))
        group = sorted(order[first : at + 1].tolist(), key=lambda index: _content(objects, index))
        order[first : at + 1], numbers[first : at + 1] = group, range(len(group))
    return order, numbers


def _content(objects: FoundObjects, index: int) -> tuple[Any, ...]:
    runs = objects.runs[objects.offsets[index] : objects.offsets[index + 1]]
    values = [objects.columns[name][index].tobytes() for name in sorted(objects.columns)]
    return (runs.tolist(), bool(objects.seam[index]), values)


def _sizes(objects: FoundObjects, grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pixels, and square metres: a pixel's ground area in the object's middle, as often."""
    row, start, stop = objects.runs.T
    length = stop - start
    begin = objects.offsets[:-1]
    if not len(begin):
        return np.zeros(0, np.int64), np.zeros(0)
    pixels = np.add.reduceat(length, begin)
    down = np.add.reduceat(length * (2 * row + 1), begin) / (2 * pixels)
    right = np.add.reduceat(length * (start + stop), begin) / (2 * pixels)
    return pixels, np.round(pixels * pixel_m2(grid, down, right), AREA_DIGITS)
