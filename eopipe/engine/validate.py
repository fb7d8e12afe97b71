"""``validate``: read the store again and say what does not agree.

Shards against the ledger's checksums, the ledger against the plan, files against their sha256, STAC
against the files. It repairs nothing: a damaged tile's record names what to delete and run again.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from eopipe.engine import folder, frozen
from eopipe.engine.ledger import Ledger, Record
from eopipe.engine.products import mosaic_layout
from eopipe.engine.run import open_frozen
from eopipe.errors import DamageError, EopipeError, SpecError
from eopipe.mosaic.store import MosaicWriter, checksum, read_layout
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eopipe.engine.folder import Key
    from eopipe.engine.tiles import PlannedTile
    from eopipe.grid import Tile
    from eopipe.mosaic.store import Layout

PROGRESS = 100
"""Tiles between lines of progress."""


def validate_run(uri: str, *, progress: Callable[[str], None] | None = None) -> list[str]:
    """Check a run's folder; returns its problems, one line each.

    Args:
        uri: A run's folder or URL.
        progress: Told now and then how far it is.

    Raises:
        SpecError: There is no run.
    """
    storage = Storage.open(uri)
    before = frozen.load(storage)
    if before is None:
        raise SpecError(f"{storage.url()} holds no run ({folder.RUN} is missing); give the output of eopipe run")
    try:
        opened, tiles = open_frozen(storage, before)
    except DamageError as error:
        return [str(error)]
    problems: list[str] = []
    layout = mosaic_layout(opened.job, before.tile)
    if read_layout(storage) != layout:
        problems.append("mosaic.zarr: its layout is not run.json's")
    planned = {tile.key: tile for tile in tiles}
    records = {
        record.key: record
        for record in Ledger(storage).load_all(set(planned), damaged=lambda error: problems.append(str(error)))
    }
    problems.extend(_shards(storage, layout, planned, records, progress))
    problems.extend(problem for record in records.values() for problem in _files(storage, record))
    problems.extend(_stac(storage, records))
    return problems


def _shards(
    storage: Storage,
    layout: Layout,
    planned: dict[Key, PlannedTile],
    records: dict[Key, Record],
    progress: Callable[[str], None] | None,
) -> Iterator[str]:
    writer = MosaicWriter(storage, layout)
    for number, (key, tile) in enumerate(planned.items()):
        if progress and number % PROGRESS == 0:
            progress(f"{number} of {len(planned)} tiles checked")
        record = records.get(key)
        if record is None:
            if any((writer.read(tile.tile, spec.name) != spec.fill).any() for spec in layout.arrays):
                yield f"tile {key.tile}: it has pixels and no ledger record; run again, which writes it anew"
            continue
        for name, stated in record.checksums.items():
            if (problem := _checksum_problem(writer, tile.tile, name, stated)) is not None:
                yield f"{problem}; delete {folder.record(*key)} and run again"


def _checksum_problem(writer: MosaicWriter, tile: Tile, name: str, stated: str) -> str | None:
    array, _, level = name.partition("/")
    try:
        found = checksum(writer.read(tile, array, int(level or 0)))
    except (EopipeError, ValueError, RuntimeError, OSError) as error:
        return f"tile {tile.name}: {name} cannot be read ({' '.join(str(error).split())[:200]})"
    return None if found == stated else f"tile {tile.name}: {name} does not have its recorded checksum"


def _files(storage: Storage, record: Record) -> Iterator[str]:
    for asset, file in record.files.items():
        try:
            data = storage.get(file.path)
        except FileNotFoundError:
            yield f"tile {record.tile}: its {asset} {file.path} is missing; delete its record and run again"
            continue
        if len(data) != file.size or hashlib.sha256(data).hexdigest() != file.sha256:
            yield f"tile {record.tile}: its {asset} {file.path} was changed; delete its record and run again"


def _stac(storage: Storage, records: dict[Key, Record]) -> Iterator[str]:
    """Every item names a recorded tile and files that exist; a published run has its Collection."""
    items = [path for path in storage.list(f"{folder.STAC}/") if path.endswith(".json")]
    if not items:
        return
    if folder.COLLECTION not in items:
        yield f"{folder.COLLECTION} is missing, though there are items; run again, which publishes anew"
    done = {record.tile for record in records.values()}
    for path in items:
        try:
            document = json.loads(storage.get(path))
        except ValueError:
            yield f"{path} is no JSON; run again, which publishes anew"
            continue
        if document.get("type") != "Feature":
            continue
        tile = document["properties"].get("eopipe:tile")
        if tile is not None and tile not in done:
            yield f"{path}: item {document['id']} is of tile {tile}, which has no ledger record"
        yield from _assets(storage, path, document)


def _assets(storage: Storage, path: str, document: dict[str, dict[str, dict[str, str]]]) -> Iterator[str]:
    base = path.split("/")[:-1]
    for name, asset in document["assets"].items():
        href = asset["href"]
        if "://" in href or href.startswith("/"):
            continue
        parts = list(base)
        for part in href.split("/"):
            if part == "..":
                parts.pop()
            elif part not in {".", ""}:
                parts.append(part)
        target = "/".join(parts)
        if not storage.exists(target) and not storage.exists(f"{target}/zarr.json"):
            yield f"{path}: asset {name} points to {target}, which is missing"
