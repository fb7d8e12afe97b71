"""Objects at the seams of windows joined, or their doubles dropped, once all tiles are done (``ObjectSpec.seams``).

Only objects that reached the edge of what their window decides are compared, and they are held all at once: an object
may extend through many windows. The result depends on them alone, not on how tiles cut them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import shapely

from eopipe.mosaic.objects import AREA_DIGITS, bbox_array, bounds_of, places_of
from eopipe.mosaic.polygons import components, polygons, runs_of, united

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from eopipe.kernelinfo import ObjectColumn
    from eopipe.mosaic.objects import ObjectLayout

_CHUNK = 1 << 14
"""Pairs of objects that are compared at a time."""


def resolve(table: pa.Table, layout: ObjectLayout) -> tuple[NDArray[np.int64], pa.Table]:
    """Join what touches, or drop doubles.

    Args:
        table: All objects of a run that are at seams, in any order.
        layout: Of the file.

    Returns:
        The remaining objects: each one's row of the table (of joined ones that of the first by place), ascending, and
        a table of them in that order.
    """
    table = table.combine_chunks()
    if not len(table):
        return np.zeros(0, np.int64), table
    rank = _ranks(table)
    if layout.spec.seams == "doubles":
        remaining = np.flatnonzero(_undoubled(table, rank, layout))
        return remaining, table.take(pa.array(remaining))
    one, other = (np.concatenate(side) for side in zip(*_touching(table), strict=True))
    return _joined(table, components(len(table), one, other), rank, layout)


def _pairs(table: pa.Table) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Objects whose boxes meet, each pair once, some at a time: geometries weigh more than the table does."""
    boxes = shapely.box(*bounds_of(table).T)
    one, other = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    one, other = one[one < other], other[one < other]
    for start in range(0, max(len(one), 1), _CHUNK):
        yield one[start : start + _CHUNK], other[start : start + _CHUNK]


def _shapes(table: pa.Table, rows: NDArray[np.int64]) -> NDArray[Any]:
    return np.asarray(shapely.from_wkb(table.column("geometry").take(pa.array(rows)).to_numpy()))


def _touching(table: pa.Table) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for one, other in _pairs(table):
        meet = shapely.intersects(_shapes(table, one), _shapes(table, other))
        yield one[meet], other[meet]


def _ranks(table: pa.Table) -> NDArray[np.int64]:
    """Number of each object by place."""
    places = places_of(table.column("id").to_pylist())
    ranks = np.empty(len(places), np.int64)
    ranks[np.lexsort(places.T[::-1])] = np.arange(len(places))
    return ranks


def _undoubled(table: pa.Table, rank: NDArray[np.int64], layout: ObjectLayout) -> NDArray[np.bool_]:
    """From the best down: each drops what it covers; equal ones by place."""
    pixels = table.column("pixels").to_numpy()
    doubles = []
    for one, other in _pairs(table):
        area = shapely.area(shapely.intersection(_shapes(table, one), _shapes(table, other)))
        shared = np.rint(area / layout.grid.resolution**2)
        double = shared > layout.spec.double * (pixels[one] + pixels[other] - shared)
        doubles += [(one[double], other[double]), (other[double], one[double])]
    first, second = (np.concatenate(side) for side in zip(*doubles, strict=True))
    order = np.argsort(first, kind="stable")
    second, bounds = second[order], np.searchsorted(first[order], np.arange(len(table) + 1))
    alive = np.ones(len(table), bool)
    for best in np.lexsort((rank, -_values(table, layout.spec.columns[0]))).tolist():
        if alive[best]:
            alive[second[bounds[best] : bounds[best + 1]]] = False
    return alive


def _joined(
    table: pa.Table, root: NDArray[np.int64], rank: NDArray[np.int64], layout: ObjectLayout
) -> tuple[NDArray[np.int64], pa.Table]:
    """One object of each component."""
    _, member, count = np.unique(root, return_inverse=True, return_counts=True)
    leader = _best(member, -rank.astype(float), rank)
    order = np.argsort(leader)
    leader, member = leader[order], np.argsort(order)[member]
    several = np.flatnonzero(count[order] > 1)
    columns = {name: table.column(name).take(pa.array(leader)) for name in table.schema.names}
    if len(several):
        geometry = columns["geometry"].to_numpy()
        geometry[several] = shapely.to_wkb(_together(table, member, several, layout), byte_order=1)
        columns["geometry"] = pa.array(geometry, pa.binary())
        columns["bbox"] = bbox_array(_around(bounds_of(table), member, len(leader)))
    pixels = table.column("pixels").to_numpy()
    columns["pixels"] = pa.array(np.bincount(member, pixels).astype(np.int64))
    columns["area_m2"] = _summed(table.column("area_m2").to_pylist(), member, len(leader))
    for column in layout.spec.columns:
        value = _values(table, column) if column.joined == "greatest" else pixels.astype(float)
        columns[column.name] = table.column(column.name).take(pa.array(_best(member, value, rank)))
    return leader, pa.table([columns[name] for name in table.schema.names], schema=table.schema)


def _together(
    table: pa.Table, member: NDArray[np.int64], several: NDArray[np.int64], layout: ObjectLayout
) -> NDArray[Any]:
    """Objects of several parts, drawn as if they had never been cut."""
    rows = np.flatnonzero(np.isin(member, several))
    runs, offsets = runs_of(_shapes(table, rows), layout.grid)
    owner = np.searchsorted(several, member[rows])
    return polygons(*united(runs, np.repeat(owner, np.diff(offsets))), layout.grid)


def _around(bounds: NDArray[np.float64], member: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    around = np.tile([math.inf, math.inf, -math.inf, -math.inf], (count, 1))
    np.minimum.at(around[:, :2], member, bounds[:, :2])
    np.maximum.at(around[:, 2:], member, bounds[:, 2:])
    return around


def _best(member: NDArray[np.int64], value: NDArray[np.float64], rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of each group's greatest value; of equal ones the first by place."""
    order = np.lexsort((-rank, value, member))
    last: NDArray[np.int64] = order[np.append(np.diff(member[order]) > 0, True)]
    return last


def _summed(areas: list[float | None], member: NDArray[np.int64], count: int) -> pa.Array:
    """Exact sums, which no order of the areas changes; null where an area is null."""
    groups: list[list[float]] = [[] for _ in range(count)]
    for group, area in zip(member.tolist(), areas, strict=True):
        groups[group].append(math.nan if area is None else area)
    sums = [round(math.fsum(group), AREA_DIGITS) for group in groups]
    return pa.array(sums, pa.float64(), from_pandas=True)


def _values(table: pa.Table, column: ObjectColumn) -> NDArray[np.float64]:
    """What a column is ranked by: its number, or its class's code; nothing ranks lowest."""
    values = table.column(column.name)
    if column.classes:
        codes = {entry.name: entry.code for entry in column.classes}
        return np.array([codes.get(name, -math.inf) for name in values.to_pylist()], float)
    ranked: NDArray[np.float64] = np.nan_to_num(
        values.cast(pa.float64()).to_numpy(), nan=-math.inf, posinf=math.inf, neginf=-math.inf
    )
    return ranked
