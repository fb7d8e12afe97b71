"""SceneIndex: where the rasters of a snapshot lie on a grid.

Scenes are found by the bounds of their rasters, not by their footprints: whether a pixel is valid is for the
reader to say. An outline is the raster's rectangle, densified in its own CRS and projected to the grid's; it
may be a little too large, never too small, since a scene too many costs one read and one too few costs pixels.

An outline that the grid's CRS cannot take (beyond the projection's domain, or torn at its antimeridian) is
compared in lon/lat instead, by boxes, so that no scene is lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import shapely

from eopipe.area.crs import LONLAT, crs_of, is_geographic, same_crs, transformer

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from eopipe.grid import Grid

_PER_EDGE = 16
"""Segments an edge: a chord's error is then 1/256 of the edge's sagitta, less than the slack below."""

_SLACK = 1e-3
"""Share of an outline's longer side by which it grows, for what the chords cut off."""

_MANY_PER_EDGE = 180
_WIDE_DEGREES = 8.0
_CUT_DEGREES = 0.5
_CHUNK = 4096


@dataclass(frozen=True)
class SceneIndex:
    """Outlines of rasters in the grid's CRS, with a tree over the distinct ones.

    Args:
        grid: The grid.
        count: Number of scenes.
        outlines: Distinct outlines in grid CRS (an outline at the antimeridian has several pieces).
        outline_key: For each outline, the number of its distinct raster.
        boxes: lon/lat boxes of the rasters that the grid's CRS cannot take, pieces within ±180.
        box_key: For each box, the number of its distinct raster.
        rows: Snapshot rows, grouped by distinct raster.
        starts: Where each distinct raster's rows start; one longer than there are rasters.
    """

    grid: Grid
    count: int
    outlines: shapely.STRtree
    outline_key: NDArray[np.int64]
    boxes: shapely.STRtree
    box_key: NDArray[np.int64]
    rows: NDArray[np.int32]
    starts: NDArray[np.int64]

    @classmethod
    def build(cls, index: pa.Table, grid: Grid) -> SceneIndex:
        """Project the raster bounds of a snapshot's index: one transform a CRS, each distinct raster once."""
        codes, names, corners, rows = _columns(index)
        key, first = _distinct(codes, corners)
        outlines = [
            _project(names[code], corners[first][group], group, grid.crs)
            for code in np.unique(codes[first])
            for group in [np.flatnonzero(codes[first] == code)]
        ]
        pieces, piece_key, boxes, box_key = _joined(outlines)
        order = np.argsort(key, kind="stable")
        starts = np.searchsorted(key[order], np.arange(len(first) + 1))
        trees = shapely.STRtree(pieces), shapely.STRtree(boxes)
        return cls(grid, len(key), trees[0], piece_key, trees[1], box_key, rows[order], starts)

    def query(self, bounds: NDArray[np.float64]) -> list[NDArray[np.int32]]:
        """Scenes whose raster may touch each box.

        Args:
            bounds: Left, bottom, right, top in grid CRS units; shape [n, 4].

        Returns:
            For each box the snapshot's rows, ascending, which is by epoch, datetime and id. A raster that only
            shares an edge with the box is not in it.
        """
        boxes = np.asarray(bounds, dtype=np.float64).reshape(-1, 4)
        return [part for start in range(0, len(boxes), _CHUNK) for part in self._query(boxes[start : start + _CHUNK])]

    def _query(self, boxes: NDArray[np.float64]) -> list[NDArray[np.int32]]:
        # An edge within a millionth of a pixel counts as shared, as Grid.box_of has it.
        slim = boxes + np.array([1, 1, -1, -1]) * (self.grid.resolution * 1e-6)
        hits = [_hits(self.outlines, shapely.box(*slim.T), self.outline_key)]
        if len(self.box_key):
            hits.append(self._query_lonlat(boxes))
        where, key = (np.concatenate(column) for column in zip(*hits, strict=True))
        counts = self.starts[key + 1] - self.starts[key]
        where = np.repeat(where, counts)
        within = np.arange(len(where)) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = self.rows[np.repeat(self.starts[key], counts) + within]
        # One sort of (box, row) gives every box its rows in order; unique drops a raster found by two pieces.
        pairs = np.unique(where.astype(np.int64) << 32 | rows.astype(np.int64))
        ends = np.searchsorted(pairs >> 32, np.arange(1, len(boxes)))
        return np.split((pairs & 0xFFFFFFFF).astype(np.int32), ends)

    def _query_lonlat(self, boxes: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        spans, known = _spans(*_grid_points(self.grid.crs, boxes, 9))
        pieces, owner = _pieces(spans, np.flatnonzero(known))
        where, key = _hits(self.boxes, pieces, self.box_key)
        return owner[where], key


def off_footprint(index: pa.Table) -> NDArray[np.int32]:
    """Rows whose raster bounds lie nowhere near their footprint: one of the two is wrong.

    Scenes are searched by their projection, so a wrong one would be lost without a warning.
    """
    codes, names, corners, rows = _columns(index)
    bbox = index.column("bbox").combine_chunks()
    sides = [pc.struct_field(bbox, side).to_numpy(zero_copy_only=False) for side in ("xmin", "xmax", "ymin", "ymax")]
    foot = np.stack(sides, axis=1).astype(np.float64)
    foot[:, 1] += np.where(foot[:, 1] < foot[:, 0], 360.0, 0.0)
    off = np.zeros(len(codes), dtype=bool)
    for code in np.unique(codes):
        group = np.flatnonzero(codes == code)
        spans, known = _spans(*_grid_points(names[code], corners[group], 5))
        off[group] = ~known | _apart(spans, foot[group])
    return rows[off & np.isfinite(foot).all(axis=1)]


def _apart(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether boxes (west, east, south, north) are disjoint, whatever multiple of 360 lies between them."""
    gap = (b[:, 0] - a[:, 0]) % 360.0
    beside = (gap > a[:, 1] - a[:, 0]) & (gap + b[:, 1] - b[:, 0] < 360.0)
    apart: NDArray[np.bool_] = beside | (b[:, 2] > a[:, 3]) | (b[:, 3] < a[:, 2])
    return apart


_Outlines = tuple[Any, "NDArray[np.int64]", Any, "NDArray[np.int64]"]


def _columns(
    index: pa.Table,
) -> tuple[NDArray[np.int64], list[str], NDArray[np.float64], NDArray[np.int32]]:
    """Each scene's CRS as a number, the CRS by number, the corners of the rasters ``[n, 4]``, the rows."""
    encoded = index.column("crs").combine_chunks().dictionary_encode()
    if hasattr(encoded, "combine_chunks"):  # an empty column stays chunked
        encoded = encoded.combine_chunks()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    corners = np.stack([index.column(name).to_numpy() for name in ("x0", "y0", "x1", "y1")], axis=1)
    rows = index.column("row").to_numpy().astype(np.int32)
    return codes, encoded.dictionary.to_pylist(), corners.reshape(-1, 4).astype(np.float64), rows


def _distinct(codes: NDArray[np.int64], corners: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of each scene's raster, and the first scene of each raster. Items of one MGRS tile share theirs."""
    if not len(codes):
        return codes, codes
    table = np.column_stack([codes.astype(np.float64), corners])
    _, first, key = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return key.reshape(-1).astype(np.int64), first.astype(np.int64)


def _joined(outlines: list[_Outlines]) -> tuple[Any, NDArray[np.int64], Any, NDArray[np.int64]]:
    none, no_key = np.empty(0, dtype=object), np.empty(0, dtype=np.int64)
    columns = list(zip(*outlines, strict=True)) or [(none,), (no_key,), (none,), (no_key,)]
    pieces, piece_key, boxes, box_key = (np.concatenate(column) for column in columns)
    return pieces, piece_key, boxes, box_key


def _project(crs: str, corners: NDArray[np.float64], key: NDArray[np.int64], target: str) -> _Outlines:
    """Outlines of rasters of one CRS: pieces in the target CRS, and lon/lat boxes of those it cannot take."""
    nothing = (np.empty(0, dtype=object), np.empty(0, dtype=np.int64))
    if same_crs(crs, target):
        if not is_geographic(crs):
            return (shapely.box(*corners.T), key, *nothing)
        pieces, owner = _pieces(corners[:, [0, 2, 1, 3]], np.arange(len(corners)))
        return (pieces, key[owner], *nothing)
    wide = is_geographic(crs) & (np.max(corners[:, 2:] - corners[:, :2], axis=1) > _WIDE_DEGREES)
    outlines, good = np.empty(len(corners), dtype=object), np.zeros(len(corners), dtype=bool)
    for group, edge in ((~wide, _PER_EDGE), (wide, _MANY_PER_EDGE)):
        if group.any():
            outlines[group], good[group] = _warped(crs, corners[group], target, edge)
    pieces, owner = _lonlat(crs, corners[~good])
    return outlines[good], key[good], pieces, key[~good][owner]


def _warped(crs: str, corners: NDArray[np.float64], target: str, edge: int) -> tuple[Any, NDArray[np.bool_]]:
    x, y = _ring(corners, edge)
    lon, _ = transformer(crs, LONLAT).transform(x[:, ::4], y[:, ::4])  # every fourth point shows the cut
    u, v = (np.asarray(part) for part in transformer(crs, target).transform(x, y))
    good = np.isfinite(u).all(axis=1) & np.isfinite(v).all(axis=1)
    good &= ~_near_cut(lon, target)
    good &= ~_torn(np.where(good[:, None], u, 0.0), np.where(good[:, None], v, 0.0), edge)
    outlines = np.empty(len(corners), dtype=object)
    if good.any():
        outlines[good] = shapely.polygons(np.stack(_grown(u[good], v[good]), axis=2))
        broken = good.copy()
        broken[good] = ~shapely.is_valid(outlines[good])
        outlines[broken] = shapely.make_valid(outlines[broken])
    return outlines, good


def _ring(corners: NDArray[np.float64], edge: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points around each rectangle, ``edge`` a side, not closed; arrays [n, 4 · edge]."""
    step = np.arange(edge) / edge
    zero, one = np.zeros(edge), np.ones(edge)
    across = np.concatenate([step, one, 1 - step, zero])
    up = np.concatenate([zero, step, one, 1 - step])
    left, bottom, right, top = (corners[:, side, None] for side in range(4))
    return left + (right - left) * across, bottom + (top - bottom) * up


def _grown(u: NDArray[np.float64], v: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Outlines larger by the slack on every side; both axes by one factor, else a slanting corner would shrink."""
    spans = np.stack([np.ptp(u, axis=1), np.ptp(v, axis=1)])
    factor = 1 + _SLACK * spans.max(axis=0) / np.maximum(spans.min(axis=0) / 2, 1e-12)
    middles = [(part.max(axis=1) + part.min(axis=1)) / 2 for part in (u, v)]
    return [
        middle[:, None] + (part - middle[:, None]) * factor[:, None]
        for part, middle in zip((u, v), middles, strict=True)
    ]


def _near_cut(lon: Any, target: str) -> NDArray[np.bool_]:
    """Whether an outline comes near the meridian where the target CRS is cut open."""
    off = (np.asarray(lon) - _central_meridian(target) + 180.0) % 360.0  # the cut is at 0 and 360
    low, high = off.min(axis=1), off.max(axis=1)
    # An outline from the cut's one side to its other has points near both ends of 0…360.
    near: NDArray[np.bool_] = (low < _CUT_DEGREES) | (high > 360.0 - _CUT_DEGREES) | (high - low > 180.0)
    return near


def _torn(u: NDArray[np.float64], v: NDArray[np.float64], edge: int) -> NDArray[np.bool_]:
    """Whether two neighbours on one edge lie much further apart than the rest of that edge's."""
    ring = np.stack([np.append(part, part[:, :1], axis=1) for part in (u, v)])
    length = np.hypot(*np.diff(ring, axis=2)).reshape(len(u), 4, edge)
    torn: NDArray[np.bool_] = (length.max(axis=2) > 12 * np.median(length, axis=2) + 1e-9).any(axis=1)
    return torn


def _lonlat(crs: str, corners: NDArray[np.float64]) -> tuple[Any, NDArray[np.int64]]:
    """Generous lon/lat boxes of rasters, and which raster each belongs to."""
    if not len(corners):
        return np.empty(0, dtype=object), np.empty(0, dtype=np.int64)
    spans, known = _spans(*_grid_points(crs, corners, 17))
    spans[~known] = (-180.0, 180.0, -90.0, 90.0)  # cannot be placed at all: then it may be anywhere
    return _pieces(spans, np.arange(len(corners)))


def _grid_points(crs: str, boxes: NDArray[np.float64], side: int) -> tuple[Any, Any]:
    """Longitudes and latitudes of ``side`` x ``side`` points over each box; arrays [n, side²]."""
    steps = np.linspace(0.0, 1.0, side)
    across, up = (part.reshape(-1) for part in np.meshgrid(steps, steps))
    x = boxes[:, 0, None] + (boxes[:, 2] - boxes[:, 0])[:, None] * across
    y = boxes[:, 1, None] + (boxes[:, 3] - boxes[:, 1])[:, None] * up
    lon, lat = transformer(crs, LONLAT).transform(x, y)
    return lon, lat


def _spans(lon: Any, lat: Any) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """West, east, south, north that hold each row's points, with slack; and whether any point is finite.

    The west-east span is the complement of the widest gap between the points, so it may pass 180.
    """
    finite = np.isfinite(lon) & np.isfinite(lat)
    known = finite.any(axis=1)
    some = np.argmax(finite, axis=1)[:, None]
    wrapped = (np.asarray(lon) + 180.0) % 360.0 - 180.0
    lon = np.where(finite, wrapped, np.take_along_axis(wrapped, some, axis=1))
    lat = np.where(finite, lat, np.take_along_axis(np.asarray(lat), some, axis=1))
    ring = np.sort(np.where(known[:, None], lon, 0.0), axis=1)
    gaps = np.diff(np.append(ring, ring[:, :1] + 360.0, axis=1), axis=1)
    widest = np.argmax(gaps, axis=1)[:, None]
    east = np.take_along_axis(ring, widest, axis=1)[:, 0]
    width = 360.0 - np.take_along_axis(gaps, widest, axis=1)[:, 0]
    south, north = np.where(known, lat.min(axis=1), 0.0), np.where(known, lat.max(axis=1), 0.0)
    aside, up = 0.01 + 0.1 * width, 0.01 + 0.1 * (north - south)
    spans = np.stack([east - width - aside, east + aside, south - up, north + up], axis=1)
    round_pole = width > 240.0  # the points go round a pole
    spans[round_pole, :2] = (-180.0, 180.0)
    spans[round_pole & (north > 0), 3] = 90.0
    spans[round_pole & (south < 0), 2] = -90.0
    return spans, known


def _pieces(spans: NDArray[np.float64], owners: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """Boxes (west, east, south, north; any longitudes) as pieces within ±180, and each piece's owner."""
    west, east, south, north = spans[owners].T
    full = east - west >= 360.0
    shift = np.where(full, 0.0, np.floor((west + 180.0) / 360.0) * 360.0)
    west, east = np.where(full, -180.0, west - shift), np.where(full, 180.0, east - shift)
    over = east > 180.0
    pieces = shapely.box(
        np.append(west, np.full(over.sum(), -180.0)),
        np.append(south, south[over]),
        np.append(np.minimum(east, 180.0), east[over] - 360.0),
        np.append(north, north[over]),
    )
    return pieces, np.append(owners, owners[over])


def _hits(tree: shapely.STRtree, boxes: Any, key: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    where, hit = tree.query(boxes, predicate="intersects")
    return where, key[hit]


@lru_cache(maxsize=256)
def _central_meridian(crs: str) -> float:
    operation = crs_of(crs).coordinate_operation
    parameters = operation.params if operation is not None else ()
    return next((float(p.value) for p in parameters if p.name.lower().startswith("longitude of")), 0.0)
