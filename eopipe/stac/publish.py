"""STAC out: a Collection with one Item a tile, and their stac-geoparquet table.

See docs/ARCHITECTURE.md, "The mosaic and its files".

Everything is relative, so that a run's folder can be moved; nothing links to itself. The
Collection is written last: it vouches for the rest. A tile that failed has no Item,
and the Collection says so. STAC 1.1, since its ``bands`` hold in one place what 1.0 needed two
extensions for, and its schemas come with pystac and rustac.

An area that one tile holds has one Item; there is no other form for small areas, so that a
reader needs to know only one.
"""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stac_geoparquet.arrow import parse_stac_ndjson_to_parquet

from eopipe import run_folder
from eopipe.area.footprint import tile_footprints
from eopipe.stac.collection import collection
from eopipe.stac.item import item, rebased

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eopipe.stac.publish_input import PublishInfo, TileOutput
    from eopipe.storage import Storage

_CHUNK = 1000
_TABLE_CHUNK = 2000
_WRITERS = 16
"""An object store answers one request in 20-50 ms; twenty thousand Items one by one take a quarter of an hour."""


def publish(storage: Storage, info: PublishInfo, outputs: Iterable[TileOutput]) -> int:
    """Write the Items, their table, and last the Collection; documents of an earlier publishing are replaced.

    Args:
        storage: The run's folder.
        info: The run.
        outputs: Tiles that were produced; failed ones are named in ``info.failed`` only.

    Returns:
        Number of Items.

    Raises:
        OutputError: The folder cannot be written.
    """
    tiles = sorted(outputs, key=lambda output: output.tile)
    storage.delete(run_folder.COLLECTION)
    _write_items(storage, info, _typical_first(tiles))
    current = {run_folder.stac_item(output.tile) for output in tiles}
    for path in [path for path in storage.list(run_folder.STAC_ITEMS) if path not in current]:
        storage.delete(path)
    storage.put(run_folder.COLLECTION, _dump(collection(info, tiles), indent=2))
    return len(tiles)


def _write_items(storage: Storage, info: PublishInfo, tiles: list[TileOutput]) -> None:
    """Items by several threads, and their table by way of a file of lines, so that memory does not grow."""

    def put(output: TileOutput, document: dict[str, Any]) -> None:
        storage.put(run_folder.stac_item(output.tile), _dump(document))

    if not tiles:
        storage.delete(run_folder.STAC_TABLE)
        return
    with tempfile.TemporaryDirectory(prefix="eopipe-stac-") as scratch, ThreadPoolExecutor(_WRITERS) as pool:
        lines, table = Path(scratch) / "items.ndjson", Path(scratch) / "items.parquet"
        with lines.open("w", encoding="utf-8") as file:
            for start in range(0, len(tiles), _CHUNK):
                chunk = tiles[start : start + _CHUNK]
                footprints = tile_footprints(info.region, [output.tile for output in chunk], info.tile_size)
                documents = [item(info, output, shape) for output, shape in zip(chunk, footprints, strict=True)]
                file.writelines(f"{json.dumps(rebased(entry, run_folder.STAC_TABLE))}\n" for entry in documents)
                list(pool.map(put, chunk, documents))
        forms = len(set(map(_form, tiles)))
        parse_stac_ndjson_to_parquet(lines, table, chunk_size=_TABLE_CHUNK, limit=forms, compression="zstd")
        storage.upload(run_folder.STAC_TABLE, table)


def _typical_first(tiles: list[TileOutput]) -> list[TileOutput]:
    """One tile of each form in front: from these alone the table's columns are known."""
    front = {_form(output): output for output in reversed(tiles)}.values()
    first = {output.tile for output in front}
    return [*front, *(output for output in tiles if output.tile not in first)]


def _form(output: TileOutput) -> tuple[object, ...]:
    """What decides which fields of an Item hold a value."""
    linked = any(scene.href is not None for scene in output.scenes)
    return (frozenset(output.files), bool(output.scenes), linked, bool(output.histogram))


def _dump(document: dict[str, Any], indent: int | None = None) -> bytes:
    # Indenting is five times slower: worth it for the one document that people open.
    return json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False).encode()
