"""Snapshot: the index of the items and, lazily, their JSON."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import numpy as np
import pyarrow as pa

from eopipe.canonical_json import digest
from eopipe.errors import DamageError
from eopipe.snapshot.scene_index import SceneIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from eopipe.grid import Grid

ITEM_ASSETS = "eopipe:item_assets"
"""Key of an item under which a search writes what its Collection's ``item_assets`` add to the item's assets."""

INDEX_SCHEMA = pa.schema(
    [
        ("row", pa.int32()),
        ("epoch", pa.string()),
        ("collection", pa.string()),
        ("id", pa.string()),
        ("datetime", pa.timestamp("us", tz="UTC")),
        ("hash", pa.string()),
        ("cloud_cover", pa.float64()),
        ("level", pa.string()),
        ("datatake", pa.string()),
        ("mgrs", pa.string()),
        ("baseline", pa.string()),
        ("crs", pa.string()),
        ("x0", pa.float64()),
        ("y0", pa.float64()),
        ("x1", pa.float64()),
        ("y1", pa.float64()),
        ("raster_source", pa.string()),
        ("href", pa.string()),
        ("bbox", pa.struct([(side, pa.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])),
        ("geometry", pa.binary()),
    ]
)
"""Columns of the index; ``geometry`` is WKB in lon/lat, ``bbox`` its GeoParquet covering."""


@dataclass(frozen=True)
class Row:
    """One item of one epoch, described for the index.

    Args:
        epoch: Name of the epoch.
        collection: Id of the collection, ``""`` where neither item nor catalog names one.
        id: Id of the item.
        datetime: Its time in UTC; the start where an item has a range only.
        hash: ``item_hash`` of the item.
        text: The item's JSON.
        crs: CRS of ``bounds``: ``EPSG:n`` or WKT.
        bounds: Raster bounds, left, bottom, right, top, in ``crs``; the union over the assets. In EPSG:4326
            the right edge lies beyond 180 where the raster crosses the antimeridian.
        raster_source: ``proj`` where the bounds come from the item's projection, ``footprint`` where from
            its geometry.
        bbox: Footprint's west, south, east, north in degrees; west > east across the antimeridian.
        geometry: Footprint as WKB in lon/lat, or None.
        href: Address that the item was read from, without credentials; relative asset hrefs start there.
        cloud_cover: Percent, or None.
        level: Processing level, such as ``L1C``, ``L2A``, ``GRD``, or None.
        datatake: Platform and start of the datatake, ``S2B_20250731T131909``, or None.
        mgrs: Five characters, ``07HFE``, or None.
        baseline: Processing baseline, ``05.11``, or None.
    """

    epoch: str
    collection: str
    id: str
    datetime: datetime
    hash: str
    text: str
    crs: str
    bounds: tuple[float, float, float, float]
    raster_source: str
    bbox: tuple[float, float, float, float] | None = None
    geometry: bytes | None = None
    href: str | None = None
    cloud_cover: float | None = None
    level: str | None = None
    datatake: str | None = None
    mgrs: str | None = None
    baseline: str | None = None


@dataclass(frozen=True)
class Snapshot:
    """The STAC items that a run uses, frozen.

    Args:
        hash: sha256 (hex) over the epochs' names and the items' hashes, in order.
        index: One row per epoch and item (``INDEX_SCHEMA``), ordered by epoch (as in the spec), datetime, id;
            ``row`` counts from 0, so smaller rows come first in a composite.
        epochs: Names of the epochs in the order of the spec; one may have no item.
    """

    hash: str
    index: pa.Table
    epochs: tuple[str, ...]
    _texts: Callable[[Sequence[int]], list[str]] = field(repr=False, compare=False)

    @classmethod
    def build(cls, epochs: Sequence[str], rows: Iterable[Row]) -> Snapshot:
        """Freeze described items; sorts them.

        Args:
            epochs: Names in the order of the spec.
            rows: One per epoch and item, in any order.
        """
        order = {name: number for number, name in enumerate(epochs)}
        ordered = sorted(rows, key=lambda row: (order[row.epoch], row.datetime, row.id, row.collection, row.hash))
        names = tuple(epochs)
        return cls(
            hash=snapshot_hash(names, [(row.epoch, row.hash) for row in ordered]),
            index=_index(ordered),
            epochs=names,
            _texts=partial(_in_memory, [row.text for row in ordered]),
        )

    def __len__(self) -> int:
        return int(self.index.num_rows)

    @property
    def epoch_codes(self) -> NDArray[np.int16]:
        """Number of each row's epoch, as ``epochs`` orders them."""
        order = {name: number for number, name in enumerate(self.epochs)}
        return np.asarray([order[name] for name in self.index.column("epoch").to_pylist()], dtype=np.int16)

    def texts(self, rows: Sequence[int]) -> list[str]:
        """The items' JSON as it was received, less signatures."""
        return self._texts(rows)

    def raw_items(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The items as received, less signatures; relative hrefs stay relative.

        What a Collection adds to an item's assets stands beside them, under :data:`ITEM_ASSETS`.

        Raises:
            DamageError: An item's JSON is not the one that its hash was taken of.
        """
        hashes = self.index.column("hash")
        items: list[dict[str, Any]] = [json.loads(text) for text in self.texts(rows)]
        for row, item in zip(rows, items, strict=True):
            if item_hash(item) != hashes[int(row)].as_py():
                raise DamageError(
                    f"snapshot {self.hash[:12]}: the JSON of item {item.get('id')!r} (row {row}) does not have its "
                    "hash; the file was changed, restore it or start a new run"
                )
        return items

    def items(self, rows: Sequence[int]) -> list[dict[str, Any]]:
        """The items for reading pixels: as received, but with absolute hrefs of assets (and alternates).

        A relative href is resolved against the address that the item was read from (``index.href``); links
        stay as they were. An item that names no collection gets the one that the catalog files it under. Only
        the row groups that hold these rows are read.

        Raises:
            DamageError: As `raw_items`.
        """
        bases, collections = self.index.column("href"), self.index.column("collection")
        items = self.raw_items(rows)
        for row, item in zip(rows, items, strict=True):
            if not item.get("collection") and collections[int(row)].as_py():
                item["collection"] = collections[int(row)].as_py()
            make_assets_absolute(item, bases[int(row)].as_py())
        return items

    def scenes(self, grid: Grid) -> SceneIndex:
        """Outlines of the rasters on the grid, from the index alone (no item is parsed)."""
        return SceneIndex.build(self.index, grid)


def _in_memory(lines: Sequence[str], rows: Sequence[int]) -> list[str]:
    return [lines[row] for row in rows]


def snapshot_hash(epochs: Sequence[str], items: Iterable[tuple[str, str]]) -> str:
    """sha256 over the epochs' names and (epoch, item hash) in order."""
    digest = hashlib.sha256(json.dumps(list(epochs)).encode())
    for epoch, item in items:
        digest.update(f"\n{epoch}\t{item}".encode())
    return digest.hexdigest()


def _index(rows: Sequence[Row]) -> pa.Table:
    columns: dict[str, list[Any]] = {
        name: [getattr(row, name) for row in rows]
        for name in INDEX_SCHEMA.names
        if name not in {"row", "x0", "y0", "x1", "y1", "bbox"}
    }
    columns["row"] = list(range(len(rows)))
    for position, name in enumerate(("x0", "y0", "x1", "y1")):
        columns[name] = [row.bounds[position] for row in rows]
    sides = ("xmin", "ymin", "xmax", "ymax")
    columns["bbox"] = [None if row.bbox is None else dict(zip(sides, row.bbox, strict=True)) for row in rows]
    return pa.table(columns, schema=INDEX_SCHEMA)


def item_hash(item: Mapping[str, Any]) -> str:
    """sha256 (hex) of the item's canonical JSON: stable under key order, and under where its folder lies.

    The item is taken as received, relative hrefs and all; signatures must have been removed before.
    """
    return digest(item)


def verbatim_json(item: Mapping[str, Any]) -> str:
    """The item as one line of JSON, keys in the order received."""
    text = json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and UTF-8 cannot
        return json.dumps(item, separators=(",", ":"))
    return text


_ABSOLUTE_HREF = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|file:/|data:|/vsi")


def resolve_href(href: str, base: str | None) -> str:
    """Make an href absolute against the address of the document that holds it.

    Args:
        href: As written in the document; URLs, ``/vsi…`` and other absolute paths are returned as they are.
        base: Address of the document: a URL of any scheme or an absolute local path; None leaves the href.
    """
    if base is None or _ABSOLUTE_HREF.match(href):
        return href
    if base.startswith(("http://", "https://")):
        return urljoin(base, href)
    if href.startswith("/"):
        return href
    scheme, mark, path = base.rpartition("://")
    return f"{scheme}{mark}{posixpath.normpath(posixpath.join(posixpath.dirname(path), href))}"


def make_assets_absolute(item: dict[str, Any], base: str | None) -> None:
    """Make the hrefs of the assets, and of their alternates, absolute; changes the item."""
    for asset in item.get("assets", {}).values():
        alternates = asset.get("alternate")
        for file in (asset, *(alternates.values() if isinstance(alternates, dict) else ())):
            if isinstance(file, dict) and isinstance(file.get("href"), str):
                file["href"] = resolve_href(file["href"], base)
