"""What reading will cost, before it is done: bytes and HTTP requests of a run.

The windows that each file will be asked for are computed by the reader's own code, for the tiles
themselves or a sample of them; the compressed size of a block comes from the headers of at
most 200 files, and of other files of the same band from ``file:size`` where it is stated. What GDAL
makes of a window was measured (3.10, tests/cube/test_estimate.py): blocks that it still holds are not asked for;
runs of neighbouring blocks become one request each; a single run is rounded to 16 kB and kept
in a small cache, which also keeps headers; an address is asked for its size once a process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine

from eopipe.cube.asset_file import AssetFile, Facts, ReadStats
from eopipe.cube.cell_coordinates import Geometry, Source
from eopipe.cube.curl_cache import Regions
from eopipe.cube.gdal_settings import HEADER_BYTES, REGIONS, gdal_env, gdal_path, header_settings
from eopipe.cube.reader import columns
from eopipe.cube.windows import pieces, use_of, windows
from eopipe.errors import TileFault
from eopipe.grid import PixelBox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import AssetRef, Scene
    from eopipe.cube.windows import Use

HEADERS = 200
TILES = 16
"""Least number of tiles that are simulated; more (all, for a run of some hundreds) as long as it takes seconds."""

_WORK = 300_000
"""Windows of files (a strip of a tile of one band of one scene) that are simulated: about 4 s."""

_SCENES = 24
"""Scenes of a tile that are simulated where not all tiles are; the others of the tile are like them."""

STRIP = 512
_LEADER = 8
"""Bytes that a COG keeps around each block: 4 before, 4 behind."""

_USUAL_BYTES = 1.3
"""Compressed bytes a pixel of Sentinel-2, where nothing of the file could be learnt."""


@dataclass(frozen=True)
class ReadEstimate:
    """What the tiles of a run will read, if nothing fails.

    Not counted: the search, the headers that are read for this estimate (at most ``HEADERS`` files), the one
    file that each worker opens in the preflight, and what is asked for again after a fault.

    Args:
        bytes: Body bytes, headers included.
        requests: HTTP requests; local files make none.
        tiles: Tiles whose reads were simulated.
        headers: Files whose headers were read for it.
        unread: Files whose headers could not be read, with the reason; their tiles may fail.
    """

    bytes: int
    requests: int
    tiles: int = 0
    headers: int = 0
    unread: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """What is known of one file: what it says, or what its item and its like say.

    Args:
        facts: Georeferencing and blocks.
        sizes: Level to compressed bytes of each block, ``[rows, cols]``.
        remote: Whether it is read by HTTP requests.
    """

    facts: Facts
    sizes: Mapping[int, NDArray[np.int64]]
    remote: bool


@dataclass
class _Group:
    """Files of one collection and band: their like tells of those whose headers are not read."""

    refs: list[AssetRef] = field(default_factory=list)
    known: list[tuple[AssetRef, Layout]] = field(default_factory=list)


def estimate_reads(
    boxes: Sequence[tuple[PixelBox, Sequence[int]]],
    scenes: Callable[[Sequence[int]], Sequence[Scene]],
    settings: ReadSettings,
    *,
    strip: int = STRIP,
    workers: int = 1,
    block_cache: int = 2**28,
) -> ReadEstimate:
    """Bytes and requests of a run.

    Args:
        boxes: Each tile's box, halo included, and the snapshot rows of its scenes (all epochs).
        scenes: Resolves rows to scenes.
        settings: As the run will read.
        strip: Rows that the engine reads at a time.
        workers: Processes: tiles go round them, and each has its own caches.
        block_cache: Bytes of GDAL's block cache.

    Returns:
        Totals over all boxes; scaled up where more than ``TILES`` were given.
    """
    covered = [(box, tuple(rows)) for box, rows in boxes if rows]
    chosen = _sample(covered, settings, strip, workers)
    if not chosen:
        return ReadEstimate(0, 0)
    most = None if len(chosen) == len(covered) else _SCENES
    some = {number: _spread_rows(covered[number][1], most) for number, _ in chosen}
    rows = sorted({row for taken in some.values() for row in taken})
    by_row = dict(zip(rows, scenes(rows), strict=True))
    layouts, headers, unread = _layouts(by_row.values(), settings)
    run = _Run(settings, layouts, strip=strip, block_cache=block_cache, workers=workers)
    for number, counted in chosen:
        box, tile_rows = covered[number]
        taken = [by_row[row] for row in some[number]]
        run.tile(box, taken, of=len(tile_rows), worker=number % workers, counted=counted)
    simulated = [len(some[number]) for number, counted in chosen if counted]
    tiles_of = Counter(row for _, tile_rows in covered for row in tile_rows)
    # Scenes read, not tiles: a tile at the swaths' overlap reads twice as much as its neighbour.
    scale = tiles_of.total() / sum(simulated)
    return ReadEstimate(
        bytes=round(run.bytes * scale),
        requests=round(run.requests * scale + _sizes_asked(tiles_of, by_row, workers)),
        tiles=len(simulated),
        headers=headers,
        unread=tuple(unread),
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
    return [(at, at == number) for number in counted for at in (number - workers, number) if at >= 0]


def _spread_rows(rows: tuple[int, ...], most: int | None) -> tuple[int, ...]:
    if most is None or len(rows) <= most:
        return rows
    return tuple(rows[at] for at in np.linspace(0, len(rows) - 1, most).astype(int))


def _sizes_asked(tiles_of: Mapping[int, int], scenes: Mapping[int, Scene], workers: int) -> float:
    """Requests for files' sizes: once for each process that reads the file, whatever else it has cached."""
    files = [sum(_remote(ref.href) for ref, _ in refs_of(scene)) for scene in scenes.values()]
    return float(np.mean(files)) * sum(min(workers, tiles) for tiles in tiles_of.values())


def refs_of(scene: Scene) -> list[tuple[AssetRef, bool]]:
    """The files of a scene, each once, and whether it is the mask."""
    found: dict[str, tuple[AssetRef, bool]] = {ref.href: (ref, False) for ref in scene.bands.values()}
    if scene.mask is not None:
        found.setdefault(scene.mask.href, (scene.mask, True))
    return list(found.values())


def _layouts(scenes: Iterable[Scene], settings: ReadSettings) -> tuple[dict[str, Layout], int, list[str]]:
    groups: dict[tuple[str, str], _Group] = defaultdict(_Group)
    for scene in scenes:
        names = {ref.href: name for name, ref in scene.bands.items()}
        for ref, _ in refs_of(scene):
            groups[(scene.collection, names.get(ref.href, "mask"))].refs.append(ref)
    each = max(1, HEADERS // max(1, len(groups)))
    asked = [(group, ref) for group in groups.values() for ref in _spread(group.refs, each)][:HEADERS]
    unread: list[str] = []
    with ThreadPoolExecutor(8, "headers") as pool:
        for (group, ref), found in zip(asked, pool.map(lambda pair: _look(pair[1], settings), asked), strict=True):
            if isinstance(found, Layout):
                group.known.append((ref, found))
            else:
                unread.append(f"{found.reason}: {found.detail}")
    layouts = {ref.href: layout for group in groups.values() for ref, layout in group.known}
    for group in groups.values():
        for ref in group.refs:
            if ref.href not in layouts:
                guess = _guess(ref, group)
                if guess is not None:
                    layouts[ref.href] = guess
    return layouts, len(asked), unread


def _spread(refs: Sequence[AssetRef], count: int) -> list[AssetRef]:
    unique = list({ref.href: ref for ref in refs}.values())
    if len(unique) <= count:
        return unique
    return [unique[n] for n in np.linspace(0, len(unique) - 1, count).astype(int)]


def _look(ref: AssetRef, settings: ReadSettings) -> Layout | TileFault:
    file = AssetFile(
        ref,
        sign=settings.sign,
        requester_pays=settings.requester_pays,
        retry=replace(settings.retry, attempts=min(2, settings.retry.attempts)),
        stats=ReadStats(),
    )
    try:
        with gdal_env(**header_settings()):
            facts = file.facts(ref)
            sizes = {level: file.block_sizes(ref, level) for level in range(-1, len(facts.factors))}
            return Layout(facts, sizes, _remote(ref.href))
    except TileFault as fault:
        return fault
    finally:
        file.close()


def _remote(href: str) -> bool:
    return gdal_path(href).startswith("/vsi")


def _guess(ref: AssetRef, group: _Group) -> Layout | None:
    """A file's layout from its item, with blocks like those of the group's files whose headers were read."""
    if ref.crs is None or ref.shape is None or ref.transform is None:
        return group.known[0][1] if group.known else None
    source = Source(ref.crs, Affine(*ref.transform), ref.shape)
    if group.known:
        layout = group.known[0][1]
        facts = replace(layout.facts, source=source)
        bytes_a_pixel = float(np.mean([_bytes_a_pixel(known) for _, known in group.known]))
        stated = [other.file_size for other, _ in group.known if other.file_size]
        if ref.file_size and stated:
            bytes_a_pixel *= ref.file_size / float(np.mean(stated))
    else:
        facts = Facts(source, (2, 4, 8, 16), "uint16", ref.nodata, masked=False, block=(512, 512))
        # Overviews take about a quarter of a COG.
        pixels = ref.shape[0] * ref.shape[1]
        bytes_a_pixel = 0.75 * ref.file_size / pixels if ref.file_size else _USUAL_BYTES
    return Layout(facts, _even(facts, float(bytes_a_pixel)), _remote(ref.href))


def _bytes_a_pixel(layout: Layout) -> float:
    rows, cols = layout.facts.source.shape
    return float(layout.sizes[-1].sum() / (rows * cols))


def _even(facts: Facts, bytes_a_pixel: float) -> dict[int, NDArray[np.int64]]:
    found = {}
    for level in range(-1, len(facts.factors)):
        rows, cols = facts.level_source(level).shape
        size = round(bytes_a_pixel * facts.block[0] * facts.block[1])
        found[level] = np.full((-(-rows // facts.block[0]), -(-cols // facts.block[1])), size, np.int64)
    return found


class _Run:
    """Simulates the reads of all workers, tile after tile; each worker has its own cache of regions."""

    def __init__(
        self, settings: ReadSettings, layouts: Mapping[str, Layout], *, strip: int, block_cache: int, workers: int
    ) -> None:
        self.bytes = 0
        self.requests = 0
        self._settings = settings
        self._layouts = layouts
        self._strip = strip
        self._block_cache = block_cache
        self._geometry = Geometry(settings.grid, keep=4096)
        self._each = [Regions(REGIONS) for _ in range(workers)]
        self._regions = self._each[0]
        self._blocks: dict[Any, list[tuple[int, NDArray[np.int64]]]] = {}

    def tile(self, box: PixelBox, scenes: Sequence[Scene], *, of: int, worker: int, counted: bool) -> None:
        """Do the reads of some of a tile's scenes (there are ``of``) by a worker (from 0); add them if they count."""
        self._blocks.clear()
        self._regions = self._each[worker]
        before = self.bytes, self.requests
        files = [pair for scene in scenes for pair in refs_of(scene) if pair[0].href in self._layouts]
        keeps = self._carried(files, box) * of <= self._block_cache * len(scenes)
        held: dict[str, set[tuple[int, int]]] = defaultdict(set)
        opened: set[str] = set()
        for part in self._strips(box):
            for column in columns(part, of, self._settings):
                for ref, is_mask in files:
                    self._window(ref, is_mask, column, held, opened)
            if not keeps:
                held.clear()
        if not counted:
            self.bytes, self.requests = before

    def _strips(self, box: PixelBox) -> list[PixelBox]:
        # The first strip reads its halo above and below; each further one reads on from there.
        height = box.shape[0]
        first = min(height, self._strip + height % self._strip)
        edges = [box.row0, *range(box.row0 + first, box.row1, self._strip), box.row1]
        return [PixelBox(a, box.col0, b, box.col1) for a, b in pairwise(edges)]

    def _carried(self, files: Sequence[tuple[AssetRef, bool]], box: PixelBox) -> int:
        """Bytes of decoded blocks that two strips have in common, over all files."""
        total = 0
        for ref, _ in files:
            facts = self._layouts[ref.href].facts
            total += facts.block[0] * (box.shape[1] + facts.block[1]) * np.dtype(facts.dtype).itemsize
        return total

    def _window(
        self,
        ref: AssetRef,
        is_mask: bool,
        box: PixelBox,
        held: dict[str, set[tuple[int, int]]],
        opened: set[str],
    ) -> None:
        layout = self._layouts[ref.href]
        if ref.href not in opened:
            opened.add(ref.href)
            self._open(ref.href, layout)
        for level, blocks in self._needed(layout.facts, use_of(ref, is_mask=is_mask), box):
            sizes = layout.sizes[level]
            fresh = [int(n) for n in blocks if (level, int(n)) not in held[ref.href] and sizes.flat[n] > 0]
            held[ref.href].update((level, n) for n in fresh)
            self._fetch(ref.href, layout, level, fresh)

    def _open(self, href: str, layout: Layout) -> None:
        if not layout.remote:
            self.bytes += HEADER_BYTES
            return
        requests, size = self._regions.read(href, 0, HEADER_BYTES)
        self.requests += requests
        self.bytes += size

    def _needed(self, facts: Facts, use: Use, box: PixelBox) -> list[tuple[int, NDArray[np.int64]]]:
        """Blocks that a box needs, by level, in file order; shared by all files on the same raster."""
        key = (facts.source, facts.factors, facts.block, use, box)
        if key not in self._blocks:
            mask = self._settings.mask
            wanted = box.pad(mask.dilate) if use == "nearest" and mask else box
            reads = windows(pieces(facts, self._geometry, wanted, use), use)
            self._blocks[key] = [(level, _blocks(facts, level, window)) for level, window, _ in reads]
        return self._blocks[key]

    def _fetch(self, href: str, layout: Layout, level: int, blocks: Sequence[int]) -> None:
        if not blocks:
            return
        sizes = layout.sizes[level].ravel()
        if not layout.remote:
            self.bytes += int(sizes[list(blocks)].sum())
            return
        offsets = HEADER_BYTES + np.concatenate(([0], np.cumsum(sizes + _LEADER)))
        # Levels lie one behind the other in the file; what matters is that they do not overlap.
        offsets = offsets + (level + 1) * 2**40
        runs = _runs(blocks)
        ranges = [(int(offsets[a]), int(offsets[b] + sizes[b])) for a, b in runs]
        if len(ranges) == 1:
            requests, size = self._regions.read(href, *ranges[0])
        else:
            requests, size = len(ranges), sum(stop - start for start, stop in ranges)
        self.requests += requests
        self.bytes += size


def _blocks(facts: Facts, level: int, window: PixelBox) -> NDArray[np.int64]:
    height, width = facts.block
    across = -(-facts.level_source(level).shape[1] // width)
    rows = np.arange(window.row0 // height, -(-window.row1 // height))
    cols = np.arange(window.col0 // width, -(-window.col1 // width))
    return (rows[:, None] * across + cols[None, :]).ravel()


def _runs(blocks: Sequence[int]) -> list[tuple[int, int]]:
    """Runs of neighbours as (first, last)."""
    found: list[tuple[int, int]] = []
    for block in sorted(blocks):
        if found and block == found[-1][1] + 1:
            found[-1] = (found[-1][0], block)
        else:
            found.append((block, block))
    return found
