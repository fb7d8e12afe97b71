"""``validate``: read everything again and list what does not agree.

Shards and window features against the ledger's checksums, the ledger against the plan, files against their sha256,
STAC against the files. It repairs nothing: each line names what to delete before running again.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.engine.finish.merge_objects import merged_problem
from eopipe.engine.output import run_json
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.layouts import feature_layout, mosaic_layout
from eopipe.engine.plan.open import open_frozen
from eopipe.engine.statistics.store import StatisticsStore
from eopipe.errors import DamageError, EopipeError, one_line
from eopipe.mosaic.features import FeatureStore, tile_checksum
from eopipe.mosaic.features import read_layout as read_feature_layout
from eopipe.mosaic.store import MosaicWriter, checksum, read_layout
from eopipe.run_folder import FEATURES
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from eopipe.engine.output.record import Record
    from eopipe.engine.output.run_json import Frozen
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.grid import Tile
    from eopipe.mosaic.features import FeatureLayout
    from eopipe.mosaic.layout import Layout
    from eopipe.run_folder import Key

PROGRESS = 100
"""Tiles between lines of progress."""

_UNREADABLE = (EopipeError, ValueError, RuntimeError, OSError, KeyError)
"""Errors that zarr and its codecs raise for a damaged or missing document or shard."""

_PUBLISH = "run again, which publishes anew"


def validate_run(uri: str, *, progress: Callable[[str], None] | None = None) -> list[str]:
    """Check a run's folder; returns its problems, one line each.

    Args:
        uri: A run's folder or URL.
        progress: Receives a line after every hundred tiles.

    Raises:
        SpecError: There is no run.
    """
    storage = Storage.open(uri)
    before = run_json.require(storage)
    try:
        opened, (tiles, statistics) = open_frozen(storage, before)
    except DamageError as error:
        return [str(error)]
    layout = mosaic_layout(opened.job, before.tile)
    problems = list(_mosaic(storage, layout))
    readable = not problems
    planned = {tile.key: tile for tile in tiles}
    records = {
        record.key: record
        for record in Ledger(storage).load_all(set(planned), damaged=lambda error: problems.append(str(error)))
    }
    if readable:
        problems.extend(_shards(storage, layout, planned, records, progress))
    if (features := feature_layout(opened.job, before.tile)) is not None:
        problems.extend(_features(storage, features, planned, records, before))
    if statistics is not None and records:
        problems.extend(_statistics(storage, statistics))
    problems.extend(problem for record in records.values() for problem in _files(storage, record))
    problems.extend(_stac(storage, records))
    return problems


def _mosaic(storage: Storage, layout: Layout) -> Iterator[str]:
    """Whether the mosaic's own documents exist, and agree with run.json."""
    try:
        stored = read_layout(storage)
    except (EopipeError, ValueError, KeyError, TypeError) as error:
        reason = f"its layout cannot be read ({one_line(error, 200)})"
        yield f"{run_folder.MOSAIC}: {reason}; restore its zarr.json, or start a new output"
        return
    if stored != layout:
        yield f"{run_folder.MOSAIC}: its layout is not that of {run_folder.RUN}; restore it, or start a new output"


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
            yield from _unrecorded(writer, layout, tile.tile)
            continue
        for name, stated in record.checksums.items():
            if name == FEATURES:
                continue
            if (problem := _checksum_problem(writer, tile.tile, name, stated)) is not None:
                yield f"{problem}; delete {run_folder.record(*key)} and run again"


def _unrecorded(writer: MosaicWriter, layout: Layout, tile: Tile) -> Iterator[str]:
    """A tile without a record was not run, or failed: its pixels must hold the fill value."""
    try:
        filled = any((writer.read(tile, spec.name) != spec.fill).any() for spec in layout.arrays)
    except _UNREADABLE as error:
        yield f"tile {tile.name}: it has a broken shard and no ledger record ({one_line(error, 200)}); run again"
        return
    if filled:
        yield f"tile {tile.name}: it has pixels and no ledger record; run again, which writes it anew"


def _checksum_problem(writer: MosaicWriter, tile: Tile, name: str, stated: str) -> str | None:
    array, _, level = name.partition("/")
    try:
        actual = checksum(writer.read(tile, array, int(level or 0)))
    except _UNREADABLE as error:
        return f"tile {tile.name}: {name} cannot be read ({one_line(error, 200)})"
    return None if actual == stated else f"tile {tile.name}: {name} does not have its recorded checksum"


def _features(
    storage: Storage, layout: FeatureLayout, planned: dict[Key, PlannedTile], records: dict[Key, Record], run: Frozen
) -> Iterator[str]:
    """Every tile's window features, and the basis that reduces them."""
    try:
        if read_feature_layout(storage) != layout:
            yield f"{FEATURES}: its layout is not that of {run_folder.RUN}; restore it, or start a new output"
            return
        store = FeatureStore(storage, layout)
    except _UNREADABLE as error:
        reason = one_line(error, 200)
        yield f"{FEATURES} cannot be read ({reason}); restore its zarr.json and basis, or start a new output"
        return
    if store.basis is not None and {"basis": store.basis.identity} != run.recipe.get("features"):
        yield f"{FEATURES}: its basis is not that of {run_folder.RUN}; restore it, or start a new output"
    tiles = frozenset(tile.tile for tile in planned.values())
    for key, record in records.items():
        repair = f"delete {run_folder.record(*key)} and run again"
        try:
            actual = tile_checksum(store.digests(planned[key].tile, tiles))
        except _UNREADABLE as error:
            yield f"tile {record.tile}: its window features cannot be read ({one_line(error, 200)}); {repair}"
            continue
        if actual != record.checksums.get(FEATURES):
            yield f"tile {record.tile}: its window features do not have their recorded checksum; {repair}"


def _statistics(storage: Storage, plan: StatisticsPlan) -> Iterator[str]:
    """Every block that did not fail has a sound file."""
    store = StatisticsStore(storage)
    failed = {(stage.info.name, *key) for stage in plan.stages for key in store.failed(stage.info.name)}
    for key in sorted(plan.keys):
        try:
            store.get(*key)
        except FileNotFoundError:
            if key not in failed:
                yield f"{run_folder.statistics(*key)} is missing; run again, which measures the block anew"
        except _UNREADABLE as error:
            yield one_line(error)


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
    """Every document is sound, every item names a recorded tile, and the files that they point to exist."""
    paths = [path for path in storage.list(f"{run_folder.STAC}/") if path.endswith(".json")]
    if not paths:
        return
    if run_folder.COLLECTION not in paths:
        yield f"{run_folder.COLLECTION} is missing, though there are items; {_PUBLISH}"
    done = {record.tile for record in records.values()}
    for path in paths:
        try:
            document = json.loads(storage.get(path))
            yield from _document(storage, path, document, done, len(paths) - 1)
            if path == run_folder.COLLECTION and (
                problem := merged_problem(storage, document["assets"], records.values())
            ):
                yield f"{problem}; {_PUBLISH}"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            yield f"{path} is damaged ({type(error).__name__}: {one_line(error, 200)}); {_PUBLISH}"


def _document(storage: Storage, path: str, document: Any, done: set[str], items: int) -> Iterator[str]:
    if path == run_folder.COLLECTION:
        stated = document["eopipe:tiles"] - document["eopipe:failed_tiles"]
        linked = [link["href"] for link in document["links"] if link["rel"] == "item"]
        lost = [target for href in linked if not storage.exists(target := _target(path, href))]
        yield from (f"{path} links to {target}, which is missing; {_PUBLISH}" for target in lost)
        if not lost and stated != items:
            yield f"{path} speaks of {stated} items, and there are {items}; {_PUBLISH}"
    elif (tile := document["properties"].get("eopipe:tile")) is not None and tile not in done:
        yield f"{path}: item {document['id']} is of tile {tile}, which has no ledger record; run again"
    for name, asset in document["assets"].items():
        href = asset["href"]
        if "://" in href or href.startswith("/"):
            continue
        target = _target(path, href)
        if not storage.exists(target) and not storage.exists(f"{target}/zarr.json"):
            yield f"{path}: asset {name} points to {target}, which is missing; {_PUBLISH}"


def _target(path: str, href: str) -> str:
    """Where a document's relative href leads, in the run's folder."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), href))
