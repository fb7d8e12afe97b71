"""What reading will cost, before it is done: bytes and HTTP requests of a run.

The windows that each file will be read by are computed by the reader's own code, for the tiles themselves or a
sample of them (:mod:`eopipe.cube.read_simulation`), over blocks whose sizes come from the headers of at most 200
files, and of other files of the same band from ``file:size`` where it is stated (:mod:`eopipe.cube.file_layout`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from eopipe.cube.file_layout import layouts_of, refs_of, spread
from eopipe.cube.gdal_settings import is_remote
from eopipe.cube.read_simulation import ReadSimulation
from eopipe.cube.reader import columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from eopipe.cube.file_layout import FileLayout
    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import Scene
    from eopipe.grid import PixelBox

TILES = 16
"""Least number of tiles that are simulated; more (all, for a run of some hundreds) as long as it takes seconds."""

_WORK = 300_000
"""Windows of files (a strip of a tile of one band of one scene) that are simulated: about 4 s."""

_SCENES = 24
"""Scenes of a tile that are simulated where not all tiles are; the others of the tile are like them."""

STRIP = 512
"""Rows that the engine reads at a time."""


@dataclass(frozen=True)
class ReadEstimate:
    """What the tiles of a run will read, if nothing fails.

    Not counted: the search, the headers that are read for this estimate, the one file that each worker opens in
    the preflight, and reads that are repeated after a fault.

    Args:
        bytes: Body bytes, headers included.
        requests: HTTP requests; local files make none.
        tiles: Tiles whose reads were simulated.
        headers: Files whose headers were read for it.
    """

    bytes: int
    requests: int
    tiles: int = 0
    headers: int = 0


def estimate_reads(
    boxes: Sequence[tuple[PixelBox, Sequence[int]]],
    scenes: Callable[[Sequence[int]], Sequence[Scene]],
    settings: ReadSettings,
    *,
    strip: int = STRIP,
    workers: int = 1,
    block_cache: int = 2**28,
    known: Mapping[str, FileLayout] = MappingProxyType({}),
) -> ReadEstimate:
    """Bytes and requests of a run.

    Args:
        boxes: Each tile's box, halo included, and the snapshot rows of its scenes (all epochs).
        scenes: Resolves rows to scenes.
        settings: As the run will read.
        strip: Rows that the engine reads at a time.
        workers: Processes: tiles go round them, and each has its own caches.
        block_cache: Bytes of GDAL's block cache.
        known: Layouts of files whose headers were read already, by address.

    Returns:
        Totals over all boxes; scaled up where more than ``TILES`` were given.
    """
    covered = [(box, tuple(rows)) for box, rows in boxes if rows]
    chosen = _sample(covered, settings, strip, workers)
    if not chosen:
        return ReadEstimate(0, 0)
    most = max(len(rows) for _, rows in covered) if len(chosen) == len(covered) else _SCENES
    sample = {number: spread(covered[number][1], most) for number, _ in chosen}
    rows = sorted(set().union(*sample.values()))
    by_row = dict(zip(rows, scenes(rows), strict=True))
    layouts, headers = layouts_of(by_row.values(), settings, known)
    run = ReadSimulation(settings, layouts, strip=strip, block_cache=block_cache, workers=workers)
    for number, counted in chosen:
        box, tile_rows = covered[number]
        tile_scenes = [by_row[row] for row in sample[number]]
        run.tile(box, tile_scenes, of=len(tile_rows), worker=number % workers, counted=counted)
    simulated = [len(sample[number]) for number, counted in chosen if counted]
    tiles_of = Counter(row for _, tile_rows in covered for row in tile_rows)
    # Scenes read, not tiles: a tile at the swaths' overlap reads twice as much as its neighbour.
    scale = tiles_of.total() / sum(simulated)
    return ReadEstimate(
        bytes=round(run.bytes * scale),
        requests=round(run.requests * scale + _size_requests(tiles_of, by_row, workers)),
        tiles=len(simulated),
        headers=headers,
    )


def _sample(
    covered: Sequence[tuple[PixelBox, tuple[int, ...]]], settings: ReadSettings, strip: int, workers: int
) -> list[tuple[int, bool]]:
    """Numbers of the tiles to simulate, and whether each counts: all, or some, evenly spaced in the order of reads.

    The tile that a worker did before (tiles go round the workers) leaves headers and blocks in its cache. So before
    each of a sample that one is simulated too, uncounted, since a run of many tiles is hardly ever cold.
    """
    count, bands = len(covered), len(settings.bands)
    work = bands * sum(len(rows) * -(-box.shape[0] // strip) for box, rows in covered)
    if work <= _WORK or count <= TILES:
        return [(number, True) for number in range(count)]
    box, rows = covered[count // 2]
    crowded = len(columns(box, len(rows), settings)) * bands * min(len(rows), _SCENES) * -(-box.shape[0] // strip)
    most = max(TILES, min(_WORK * count // work, _WORK // crowded) // 2)
    counted = np.linspace(min(workers, count - 1), count - 1, most).astype(int).tolist()
    return [(tile, tile == number) for number in counted for tile in (number - workers, number) if tile >= 0]


def _size_requests(tiles_of: Mapping[int, int], scenes: Mapping[int, Scene], workers: int) -> float:
    """Requests for files' sizes: once for each process that reads the file, whatever else it has cached."""
    files = [sum(is_remote(ref.href) for ref, _ in refs_of(scene)) for scene in scenes.values()]
    return float(np.mean(files)) * sum(min(workers, tiles) for tiles in tiles_of.values())
