"""STAC out: a Collection with one Item a tile, and their stac-geoparquet table (DESIGN §5).

Everything is relative, so that a run's folder can be moved; nothing links to itself. The
Collection is written last: where it stands, the rest is complete. A tile that failed has no Item,
and the Collection says so. STAC 1.1, since its ``bands`` hold in one place what 1.0 needed two
extensions for, and its schemas come with pystac and rustac.

An area that one tile holds has one Item; there is no other form for small areas, so that a
reader needs to know only one.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.area.footprint import tile_footprints
from eopipe.run_folder import COLLECTION, ITEMS_TABLE
from eopipe.stac.collection import collection
from eopipe.stac.item import ITEM, item, moved
from eopipe.stac.items_parquet import ItemTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eopipe.stac.publish_input import PublishInfo, TileOutput
    from eopipe.storage import Storage

_CHUNK = 1000
_WRITERS = 16
"""An object store answers one request in 20-50 ms; twenty thousand Items one by one take a quarter of an hour."""


@dataclass(frozen=True)
class Published:
    """What was written: the Collection's path in the run's folder, and the number of Items."""

    collection: str
    items: int


def publish(storage: Storage, info: PublishInfo, outputs: Iterable[TileOutput]) -> Published:
    """Write the Items, their table, and last the Collection; documents of an earlier publishing are replaced.

    Args:
        storage: The run's folder.
        info: The run.
        outputs: Tiles that were produced; failed ones are named in ``info.failed`` only.

    Raises:
        OutputError: The folder cannot be written.
    """
    tiles = sorted(outputs, key=lambda output: output.tile)
    storage.delete(COLLECTION)
    _write_items(storage, info, tiles)
    kept = {run_folder.item(output.tile) for output in tiles}
    for path in [path for path in storage.list(run_folder.ITEMS) if path not in kept]:
        storage.delete(path)
    storage.put(COLLECTION, _dump(collection(info, tiles), indent=2))
    return Published(COLLECTION, len(tiles))


def _write_items(storage: Storage, info: PublishInfo, tiles: list[TileOutput]) -> None:
    def put(document: tuple[str, dict[str, Any]]) -> None:
        storage.put(document[0], _dump(document[1]))

    tiles = _typical_first(tiles)
    with ItemTable(len({_form(output) for output in tiles})) as table, ThreadPoolExecutor(_WRITERS) as pool:
        for start in range(0, len(tiles), _CHUNK):
            chunk = tiles[start : start + _CHUNK]
            footprints = tile_footprints(info.region, [output.tile for output in chunk], info.tile_size)
            documents = [item(info, output, shape) for output, shape in zip(chunk, footprints, strict=True)]
            table.add(moved(document, ITEM, ITEMS_TABLE) for document in documents)
            list(pool.map(put, zip((run_folder.item(output.tile) for output in chunk), documents, strict=True)))
        if tiles:
            table.save(storage, ITEMS_TABLE)
        else:
            storage.delete(ITEMS_TABLE)


def _typical_first(tiles: list[TileOutput]) -> list[TileOutput]:
    """One tile of each form in front: from these alone the table's columns are known."""
    first = {_form(output): output for output in reversed(tiles)}
    front = list(first.values())
    seen = {output.tile for output in front}
    return front + [output for output in tiles if output.tile not in seen]


def _form(output: TileOutput) -> tuple[object, ...]:
    """What decides which fields of an Item hold a value."""
    linked = any(scene.href is not None for scene in output.scenes)
    return (frozenset(output.files), bool(output.scenes), linked, bool(output.histogram))


def _dump(document: dict[str, Any], indent: int | None = None) -> bytes:
    # Indenting is five times slower: worth it for the one document that people open.
    return json.dumps(document, indent=indent, ensure_ascii=False, allow_nan=False).encode()
