"""How files are laid out in blocks: from the headers of a sample, and of the others from their items."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from affine import Affine

from eopipe.cube.asset_file import AssetFile, Facts, ReadStats
from eopipe.cube.cell_coordinates import Georeference
from eopipe.cube.gdal_settings import gdal_env, header_settings, is_remote
from eopipe.errors import TileFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import AssetRef, Scene

T = TypeVar("T")

HEADERS = 200
"""Files whose headers are read at most."""

_USUAL_BYTES = 1.3
"""Compressed bytes a pixel of Sentinel-2, where neither header nor item says anything of the file."""


@dataclass(frozen=True)
class FileLayout:
    """What is known of one file: what it says, or what its item and its like say.

    Args:
        facts: Georeference and blocks.
        sizes: Level to compressed bytes of each block, ``[rows, cols]``.
        remote: Whether it is read by HTTP requests.
    """

    facts: Facts
    sizes: Mapping[int, NDArray[np.int64]]
    remote: bool


@dataclass
class _Group:
    """Files of one collection and band: those whose headers were read stand for the others."""

    refs: list[AssetRef] = field(default_factory=list)
    known: list[tuple[AssetRef, FileLayout]] = field(default_factory=list)


def refs_of(scene: Scene) -> list[tuple[AssetRef, bool]]:
    """The files of a scene, each once, and whether it is the mask."""
    refs: dict[str, tuple[AssetRef, bool]] = {ref.href: (ref, False) for ref in scene.bands.values()}
    if scene.mask is not None:
        refs.setdefault(scene.mask.href, (scene.mask, True))
    return list(refs.values())


def layouts_of(
    scenes: Iterable[Scene], settings: ReadSettings, known: Mapping[str, FileLayout]
) -> tuple[dict[str, FileLayout], int]:
    """Layouts by address, and the number of headers that were read for them; some may be unreadable.

    Args:
        scenes: Whose files are asked for.
        settings: As the run will read.
        known: Layouts of files whose headers were read already.
    """
    groups: dict[tuple[str, str], _Group] = defaultdict(_Group)
    for scene in scenes:
        names = {ref.href: name for name, ref in scene.bands.items()}
        for ref, _ in refs_of(scene):
            groups[(scene.collection, names.get(ref.href, "mask"))].refs.append(ref)
    share = max(1, HEADERS // max(1, len(groups)))
    sample = [(group, ref) for group in groups.values() for ref in spread(_distinct(group.refs), share)][:HEADERS]
    with ThreadPoolExecutor(8, "headers") as pool:
        looks = pool.map(lambda pair: known.get(pair[1].href) or _read_header(pair[1], settings), sample)
        for (group, ref), layout in zip(sample, looks, strict=True):
            if layout is not None:
                group.known.append((ref, layout))
    layouts = {ref.href: layout for group in groups.values() for ref, layout in group.known}
    for group in groups.values():
        for ref in group.refs:
            if ref.href not in layouts and (guess := _guess(ref, group)) is not None:
                layouts[ref.href] = guess
    return layouts, len(sample)


def read_layouts(scenes: Sequence[Scene], settings: ReadSettings) -> dict[str, FileLayout]:
    """Layouts of all files of some scenes from their headers, by address; unreadable files are left out."""
    refs = _distinct([ref for scene in scenes for ref, _ in refs_of(scene)])
    with ThreadPoolExecutor(8, "headers") as pool:
        looks = pool.map(lambda ref: _read_header(ref, settings), refs)
    return {ref.href: layout for ref, layout in zip(refs, looks, strict=True) if isinstance(layout, FileLayout)}


def _distinct(refs: Sequence[AssetRef]) -> list[AssetRef]:
    return list({ref.href: ref for ref in refs}.values())


def spread(values: Sequence[T], most: int) -> list[T]:
    """All values, or ``most`` of them, evenly spaced."""
    if len(values) <= most:
        return list(values)
    return [values[n] for n in np.linspace(0, len(values) - 1, most).astype(int)]


def facts_of(ref: AssetRef, settings: ReadSettings) -> Facts | None:
    """What a file's header says, read in a process that is no worker; None where it cannot be opened.

    Raises:
        ItemError: Nothing says what its numbers mean.
    """
    with suppress(TileFault), _opened(ref, settings) as file:
        return file.facts(ref)
    return None


def _read_header(ref: AssetRef, settings: ReadSettings) -> FileLayout | None:
    with suppress(TileFault), _opened(ref, settings) as file:  # else its tiles may fail, with the reason
        facts = file.facts(ref)
        sizes = {level: file.block_sizes(ref, level) for level in range(-1, len(facts.factors))}
        return FileLayout(facts, sizes, is_remote(ref.href))
    return None


@contextmanager
def _opened(ref: AssetRef, settings: ReadSettings) -> Iterator[AssetFile]:
    file = AssetFile(
        ref,
        sign=settings.sign,
        requester_pays=settings.requester_pays,
        retry=replace(settings.retry, attempts=min(2, settings.retry.attempts)),
        stats=ReadStats(),
    )
    try:
        with gdal_env(**header_settings()):
            yield file
    finally:
        file.close()


def _guess(ref: AssetRef, group: _Group) -> FileLayout | None:
    """A file's layout from its item, with blocks like those of the group's files whose headers were read."""
    first = group.known[0][1] if group.known else None
    if ref.crs is None or ref.shape is None or ref.transform is None:
        return first
    georeference = Georeference(ref.crs, Affine(*ref.transform), ref.shape)
    if first is not None:
        facts = replace(first.facts, georeference=georeference)
        bytes_a_pixel = float(np.mean([_bytes_a_pixel(known) for _, known in group.known]))
        stated = [other.file_size for other, _ in group.known if other.file_size]
        if ref.file_size and stated:
            bytes_a_pixel *= ref.file_size / float(np.mean(stated))
    else:
        facts = Facts(georeference, (2, 4, 8, 16), "uint16", block=(512, 512))
        # Overviews take about a quarter of a COG.
        pixels = ref.shape[0] * ref.shape[1]
        bytes_a_pixel = 0.75 * ref.file_size / pixels if ref.file_size else _USUAL_BYTES
    size = round(bytes_a_pixel * facts.block[0] * facts.block[1])
    levels = range(-1, len(facts.factors))
    sizes = {level: np.full(facts.block_counts(level), size, np.int64) for level in levels}
    return FileLayout(facts, sizes, is_remote(ref.href))


def _bytes_a_pixel(layout: FileLayout) -> float:
    rows, cols = layout.facts.georeference.shape
    return float(layout.sizes[-1].sum() / (rows * cols))
