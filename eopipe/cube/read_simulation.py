"""GDAL's reads of a run, simulated: which blocks, in which requests, through which caches.

What GDAL makes of a window was measured (3.10, tests/cube/test_estimate.py): blocks that it still holds are not
requested; runs of neighbouring blocks become one request each; a single run is rounded to 16 kB and goes through a
small cache, which also holds headers.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.cube.cell_coordinates import Geometry
from eopipe.cube.file_layout import refs_of
from eopipe.cube.gdal_settings import HEADER_BYTES, REGIONS
from eopipe.cube.reader import columns
from eopipe.cube.windows import pieces, use_of, windows
from eopipe.grid import PixelBox

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.cube.asset_file import Facts
    from eopipe.cube.file_layout import FileLayout
    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import AssetRef, Scene
    from eopipe.cube.windows import Use

_LEADER = 8
"""Bytes that a COG keeps around each block: 4 before, 4 behind."""

CHUNK = 16384
"""Bytes of a region: GDAL rounds its requests to whole ones."""


class Regions:
    """GDAL's cache of network regions: 16 kB chunks, least recently used goes first.

    Args:
        size: Bytes that it holds.
    """

    def __init__(self, size: int) -> None:
        self._most = max(1, size // CHUNK)
        self._chunks: dict[tuple[str, int], bool] = {}

    def read(self, href: str, start: int, stop: int) -> tuple[int, int]:
        """Read a range through the cache: (requests, bytes)."""
        first, last = start // CHUNK, (stop - 1) // CHUNK
        missing = [n for n in range(first, last + 1) if not self._touch(href, n)]
        if not missing:
            return 0, 0
        requests = 1 + sum(b != a + 1 for a, b in pairwise(missing))
        return requests, len(missing) * CHUNK

    def _touch(self, href: str, chunk: int) -> bool:
        """Make a chunk the most recently used; whether it was in the cache."""
        key = (href, chunk)
        cached = self._chunks.pop(key, False)
        self._chunks[key] = True
        if len(self._chunks) > self._most:
            del self._chunks[next(iter(self._chunks))]
        return cached


class ReadSimulation:
    """Simulates the reads of all workers, tile after tile; each worker has its own cache of regions.

    Args:
        settings: As the run will read.
        layouts: Of the files, by address.
        strip: Rows that the engine reads at a time.
        block_cache: Bytes of GDAL's block cache.
        workers: Processes.
    """

    def __init__(
        self, settings: ReadSettings, layouts: Mapping[str, FileLayout], *, strip: int, block_cache: int, workers: int
    ) -> None:
        self.bytes = 0
        self.requests = 0
        self._settings = settings
        self._layouts = layouts
        self._strip = strip
        self._block_cache = block_cache
        self._geometry = Geometry(settings.grid, keep=4096)
        self._caches = [Regions(REGIONS) for _ in range(workers)]
        self._regions = self._caches[0]
        self._blocks: dict[Any, list[tuple[int, NDArray[np.int64]]]] = {}
        self._opened: set[str] = set()
        self._held: dict[str, set[tuple[int, int]]] = defaultdict(set)

    def tile(self, box: PixelBox, scenes: Sequence[Scene], *, of: int, worker: int, counted: bool) -> None:
        """Do the reads of some of a tile's scenes (there are ``of``) by a worker (from 0); add them if they count."""
        for cache in (self._blocks, self._opened, self._held):
            cache.clear()
        self._regions = self._caches[worker]
        before = self.bytes, self.requests
        files = [pair for scene in scenes for pair in refs_of(scene) if pair[0].href in self._layouts]
        fits = self._shared_bytes(files, box) * of <= self._block_cache * len(scenes)
        for strip in self._strips(box):
            for column in columns(strip, of, self._settings):
                for ref, is_mask in files:
                    self._window(ref, is_mask, column)
            if not fits:
                self._held.clear()
        if not counted:
            self.bytes, self.requests = before

    def _strips(self, box: PixelBox) -> list[PixelBox]:
        # The first strip reads its halo above and below; each further one reads on from there.
        height = box.shape[0]
        first = min(height, self._strip + height % self._strip)
        edges = [box.row0, *range(box.row0 + first, box.row1, self._strip), box.row1]
        return [PixelBox(a, box.col0, b, box.col1) for a, b in pairwise(edges)]

    def _shared_bytes(self, files: Sequence[tuple[AssetRef, bool]], box: PixelBox) -> int:
        """Bytes of decoded blocks that two strips have in common, over all files."""
        return sum(
            facts.block[0] * (box.shape[1] + facts.block[1]) * np.dtype(facts.dtype).itemsize
            for facts in (self._layouts[ref.href].facts for ref, _ in files)
        )

    def _window(self, ref: AssetRef, is_mask: bool, box: PixelBox) -> None:
        layout, held = self._layouts[ref.href], self._held[ref.href]
        if ref.href not in self._opened:
            self._opened.add(ref.href)
            self._count(*(self._regions.read(ref.href, 0, HEADER_BYTES) if layout.remote else (0, HEADER_BYTES)))
        for level, blocks in self._needed(layout.facts, use_of(ref, is_mask=is_mask), box):
            sizes = layout.sizes[level]
            fresh = [int(n) for n in blocks if (level, int(n)) not in held and sizes.flat[n] > 0]
            held.update((level, n) for n in fresh)
            self._fetch(ref.href, layout, level, fresh)

    def _count(self, requests: int, size: int) -> None:
        self.requests += requests
        self.bytes += size

    def _needed(self, facts: Facts, use: Use, box: PixelBox) -> list[tuple[int, NDArray[np.int64]]]:
        """Blocks that a box needs, by level, in file order; shared by all files on the same raster."""
        key = (facts.georeference, facts.factors, facts.block, use, box)
        if key not in self._blocks:
            mask = self._settings.mask
            padded = box.pad(mask.dilate) if use == "nearest" and mask else box
            reads = windows(pieces(facts, self._geometry, padded, use), use)
            self._blocks[key] = [(level, _blocks(facts, level, window)) for level, window, _ in reads]
        return self._blocks[key]

    def _fetch(self, href: str, layout: FileLayout, level: int, blocks: Sequence[int]) -> None:
        if not blocks:
            return
        sizes = layout.sizes[level].ravel()
        if not layout.remote:
            self.bytes += int(sizes[list(blocks)].sum())
            return
        offsets = HEADER_BYTES + np.concatenate(([0], np.cumsum(sizes + _LEADER)))
        # Levels lie one behind the other in the file; what matters is that they do not overlap.
        offsets = offsets + (level + 1) * 2**40
        ranges = [(int(offsets[first]), int(offsets[last] + sizes[last])) for first, last in _runs(blocks)]
        if len(ranges) == 1:
            self._count(*self._regions.read(href, *ranges[0]))
        else:
            self._count(len(ranges), sum(stop - start for start, stop in ranges))


def _blocks(facts: Facts, level: int, window: PixelBox) -> NDArray[np.int64]:
    """Numbers of the blocks that a window touches, in file order."""
    touched = [[np.array(numbers) for numbers in facts.blocks(part)] for part in facts.sections(window, level)]
    across = facts.block_counts(level)[1]
    numbers = [(rows[:, None] * across + cols[None, :]).ravel() for rows, cols in touched]
    return numbers[0] if len(numbers) == 1 else np.unique(np.concatenate(numbers))


def _runs(blocks: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of neighbours as (first, last)."""
    runs: list[tuple[int, int]] = []
    for block in sorted(blocks):
        first = runs.pop()[0] if runs and block == runs[-1][1] + 1 else block
        runs.append((first, block))
    return runs
