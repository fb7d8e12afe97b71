"""Runs of pixels drawn as polygons, and polygons read back as runs.

A boundary is walked by its vertical edges: the left edge of each run goes down, the right edge goes up. On a line
between two rows, an object's edges that end there and those that begin there, sorted along it, belong together two
by two, for between the two of a pair runs a horizontal piece of the boundary. So the next edge of every edge comes
from one sort over all objects, and rings are the cycles.

Where two pixels touch at a corner only, the sort leaves a choice: where they hang together by sides elsewhere, the
boundary goes on along the gap, so that a hole may touch the outside in a point; else each is a polygon of its own. So
every ring is simple, every polygon valid, and what a polygon covers is exactly the pixels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from eopipe.grid import Grid

_CHUNK = 1 << 15
"""Runs that are drawn at a time; more where one object has more."""


def polygons(runs: NDArray[np.int64], offsets: NDArray[np.int64], grid: Grid) -> NDArray[Any]:
    """Objects as polygons in the grid's CRS.

    Args:
        runs: ``[R, 3]``, as in :class:`eopipe.kernels.objects.FoundObjects`.
        offsets: ``[N + 1]``, likewise.
        grid: Whose pixels they are.

    Returns:
        ``[N]``: a Polygon, or a MultiPolygon where an object's parts touch at corners only or not at all. Shells run
        counterclockwise, holes clockwise; corners only, no point between them.
    """
    return np.concatenate([np.empty(0, object), *chunks(runs, offsets, grid)])


def chunks(runs: NDArray[np.int64], offsets: NDArray[np.int64], grid: Grid) -> Iterator[NDArray[Any]]:
    """As :func:`polygons`, some at a time: geometries weigh ten times what their runs do."""
    first, count = 0, len(offsets) - 1
    while first < count:
        last = int(np.searchsorted(offsets, offsets[first] + _CHUNK, side="right")) - 1
        last = max(last, first + 1)
        rows = slice(int(offsets[first]), int(offsets[last]))
        yield _draw(runs[rows], offsets[first : last + 1] - offsets[first], grid.resolution)
        first = last


def runs_of(shapes: NDArray[Any], grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What :func:`polygons` drew: runs and offsets."""
    parts, shape_of = shapely.get_parts(shapes, return_index=True)
    rings, part_of = shapely.get_rings(parts, return_index=True)
    owner_of = shape_of[part_of]
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    cols, lines = np.rint(xy[:, 0] / grid.resolution), np.rint(-xy[:, 1] / grid.resolution)
    upright = np.flatnonzero((ring[:-1] == ring[1:]) & (cols[:-1] == cols[1:]))
    ends = np.sort(np.stack([lines[upright], lines[upright + 1]]).astype(np.int64), axis=0)
    which, rows = _counted(*ends)
    owner, at = owner_of[ring[upright]][which], cols[upright].astype(np.int64)[which]
    order = np.lexsort((at, rows, owner))
    owner, rows, at = owner[order], rows[order], at[order]
    counts = np.bincount(owner[::2], minlength=len(shapes))
    return np.column_stack([rows[::2], at[::2], at[1::2]]), np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def united(runs: NDArray[np.int64], owner: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Runs put together by owner, 0 to its greatest: in row order, those that meet or overlap in a row as one."""
    order = np.lexsort((runs[:, 1], runs[:, 0], owner))
    runs, owner = runs[order], owner[order]
    line = np.concatenate([[0], np.cumsum((np.diff(owner) != 0) | (np.diff(runs[:, 0]) != 0))])
    # one number for a position on a line, and a gap after it
    base, width = runs[:, 1].min(), int(np.ptp(runs[:, 1:])) + 2
    begin, end = line * width + runs[:, 1] - base, line * width + runs[:, 2] - base
    reach = np.maximum.accumulate(end)
    new = np.concatenate([[True], begin[1:] > reach[:-1]])
    starts = np.flatnonzero(new)
    lasts = np.concatenate([starts[1:], [len(runs)]]) - 1
    stops = reach[lasts] - line[starts] * width + base
    joined = np.column_stack([runs[starts, 0], runs[starts, 1], stops])
    return joined, np.concatenate([[0], np.cumsum(np.bincount(owner[starts]), dtype=np.int64)])


def components(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[count]``: the least member of each one's component, where ``one[k]`` and ``other[k]`` belong together."""
    root = np.arange(count)
    while True:
        left, right = root[one], root[other]
        apart = left != right
        if not apart.any():
            return root
        left, right = left[apart], right[apart]
        np.minimum.at(root, np.maximum(left, right), np.minimum(left, right))
        while (shorter := root[root] != root).any():
            root[shorter] = root[root[shorter]]


def _draw(runs: NDArray[np.int64], offsets: NDArray[np.int64], resolution: float) -> NDArray[Any]:
    owner = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    part = _parts(runs, owner)
    follows, straight = _linked(runs, owner, part)
    turns, lengths, first = _rings(follows, straight, len(runs))
    order = np.lexsort((first, part[first]))  # a part's first run begins its shell: that ring comes first
    turns = turns[
        np.concatenate([[0], np.cumsum(lengths)])[:-1][order].repeat(lengths[order]) + _within(lengths[order])
    ]
    coords, ring_ends = _corners(runs, follows, turns, lengths[order], resolution)
    parts, rings = np.unique(part[first], return_counts=True)
    pieces = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, coords, (ring_ends, np.concatenate([[0], np.cumsum(rings)]))
    )
    of = owner[parts]
    drawn = np.empty(len(offsets) - 1, object)
    drawn[of] = pieces
    several = np.flatnonzero(np.bincount(of) > 1)
    members = np.isin(of, several)
    drawn[several] = shapely.multipolygons(pieces[members], indices=np.searchsorted(several, of[members]))
    return drawn


def _parts(runs: NDArray[np.int64], owner: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[R]``: the first run of each run's part, where pixels of one object hang together by sides."""
    below = np.diff(runs[:, 0])
    step = np.where((np.diff(owner) == 0) & (below <= 1), below, 2)  # a line is skipped where there is none below
    line = np.concatenate([[0], np.cumsum(step)])
    base, width = runs[:, 1].min(), int(np.ptp(runs[:, 1:])) + 1
    begin, end = line * width + runs[:, 1] - base, line * width + runs[:, 2] - base
    low = np.searchsorted(end, begin + width, side="right")
    high = np.searchsorted(begin, end + width, side="left")
    upper, lower = _counted(low, np.maximum(low, high))
    return components(len(runs), upper, lower)


def _linked(
    runs: NDArray[np.int64], owner: NDArray[np.int64], part: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Of each vertical edge (left ones, then right ones): which follows, and whether straight on."""
    count, (row, start, stop) = len(runs), runs.T
    number = np.arange(count)
    edge = np.concatenate([number, number, number + count, number + count])
    line = np.concatenate([row, row + 1, row + 1, row])
    at = np.concatenate([start, start, stop, stop])
    departs = np.repeat([True, False, True, False], count)
    order = np.lexsort((edge < count, at, line, np.tile(owner, 4)))
    line, at, run = line[order], at[order], edge[order] % count
    # a corner where two pixels touch: as sorted each keeps to itself; those of one part change partners
    odd = np.arange(1, len(order) - 1, 2)
    meet = (at[odd] == at[odd + 1]) & (line[odd] == line[odd + 1]) & (part[run[odd]] == part[run[odd + 1]])
    left = odd[meet]
    order[left], order[left + 1] = order[left + 1], order[left]
    first, second = order[0::2], order[1::2]
    arriving, departing = np.where(departs[first], second, first), np.where(departs[first], first, second)
    follows, straight = np.empty(2 * count, np.int64), np.empty(2 * count, bool)
    follows[edge[arriving]] = edge[departing]
    straight[edge[arriving]] = at[0::2] == at[1::2]
    return follows, straight


def _rings(
    follows: NDArray[np.int64], straight: NDArray[np.bool_], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The edges after which the boundary turns, ring after ring; how many of each ring; and each ring's first run."""
    after, onward, visited = follows.tolist(), straight.tolist(), bytearray(len(follows))
    turns: list[int] = []
    ends, first = [0], []
    for edge in range(count):  # every ring has a left edge
        if visited[edge]:
            continue
        first.append(edge)
        at = edge
        while not visited[at]:
            visited[at] = 1
            if not onward[at]:
                turns.append(at)
            at = after[at]
        ends.append(len(turns))
    return np.asarray(turns), np.diff(ends), np.asarray(first)


def _corners(
    runs: NDArray[np.int64],
    follows: NDArray[np.int64],
    turns: NDArray[np.int64],
    lengths: NDArray[np.int64],
    resolution: float,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Coordinates of closed rings, two corners a turn; and where each ring ends, from 0."""
    count = len(runs)

    def column(edges: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.asarray(runs[edges % count, np.where(edges < count, 1, 2)])

    line = runs[turns % count, 0] + (turns < count)
    corners = np.empty((len(turns), 2, 2))
    corners[:, 0, 0], corners[:, 1, 0] = column(turns), column(follows[turns])
    corners[:, :, 1] = -line[:, np.newaxis]
    ends = np.concatenate([[0], np.cumsum(2 * lengths)])
    index = np.arange(2 * len(turns) + len(lengths)) - np.repeat(np.arange(len(lengths)), 2 * lengths + 1)
    closed = ends + np.arange(len(ends))
    index[closed[1:] - 1] = ends[:-1]
    return corners.reshape(-1, 2)[index] * resolution, closed


def _counted(low: NDArray[np.int64], high: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each k as often as ``low[k] .. high[k]`` counts, and those counts."""
    many = high - low
    return np.repeat(np.arange(len(low)), many), np.repeat(low, many) + _within(many)


def _within(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, … within each group of these lengths."""
    return np.asarray(np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths))
