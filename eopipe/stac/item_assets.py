"""A Collection's ``item_assets``: what it states once for the assets of all its items.

A search writes what they add to an item's assets into the item, under ``eopipe:item_assets``, before its hash is
taken: so a snapshot is whole by itself, and a tile's key follows what its pixels mean. What an item's asset states
itself is left out, and an item that lacks nothing stays as it was received.

Sources: STAC 1.1 (Collection ``item_assets``), extension item-assets 1.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from eopipe.errors import CatalogError
from eopipe.snapshot import ITEM_ASSETS, resolve_href

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from eopipe.stac.question import CatalogItem

_LISTS = ("raster:bands", "bands", "eo:bands")
_NAMING = ("bands", "eo:bands")
_NUMBERS = ("scale", "offset", "nodata", "unit")
_FILE = ("type", "roles")


class ItemAssets:
    """The ``item_assets`` of a catalog's Collections, by id."""

    def __init__(self) -> None:
        self._by_collection: dict[str, Mapping[str, Any]] = {}
        self._by_address: dict[str, Mapping[str, Any]] = {}

    def add(self, collection: Mapping[str, Any]) -> None:
        """Note those of a Collection."""
        assets = collection.get("item_assets")
        self._by_collection[str(collection.get("id"))] = assets if isinstance(assets, dict) else {}

    def complete(
        self, entry: CatalogItem, read: Callable[[str], Mapping[str, Any]] | None = None, origin: str = ""
    ) -> dict[str, Any]:
        """An item with what its Collection adds to its assets.

        Args:
            entry: The item, as a catalog gave it; it is not changed.
            read: Reads a document, for the Collection that an item links to where the catalog showed none.
            origin: Address of the catalog: a linked Collection is read only from the same server, or the same disk.
        """
        names = [name for name in (entry.collection, entry.item.get("collection")) if name]
        known = next((self._by_collection[name] for name in names if name in self._by_collection), None)
        if known is None:
            known = self._linked(entry, read, origin) if read is not None else {}
        item: dict[str, Any] = entry.item
        assets = item.get("assets")
        if not known or not isinstance(assets, dict):
            return item
        added = {
            key: more
            for key, asset in assets.items()
            if isinstance(asset, dict) and isinstance(known.get(key), dict) and (more := _added(asset, known[key]))
        }
        return {**item, ITEM_ASSETS: added} if added else item

    def _linked(self, entry: CatalogItem, read: Callable[[str], Mapping[str, Any]], origin: str) -> Mapping[str, Any]:
        links = entry.item.get("links")
        hrefs = (
            link.get("href")
            for link in (links if isinstance(links, list) else ())
            if isinstance(link, dict) and link.get("rel") == "collection"
        )
        href = next((href for href in hrefs if isinstance(href, str)), None)
        address = None if href is None else resolve_href(href, entry.href)
        if address is None or not _beside(address, origin):
            return {}
        if address not in self._by_address:
            try:
                assets = read(address).get("item_assets")
            except CatalogError:  # an item that links to no Collection is read as it stands
                assets = None
            self._by_address[address] = assets if isinstance(assets, dict) else {}
        return self._by_address[address]


def _beside(address: str, origin: str) -> bool:
    if "://" not in address:
        return "://" not in origin and Path(address).is_file()
    return urlsplit(address)[:2] == urlsplit(origin)[:2]


def _added(asset: Mapping[str, Any], default: Mapping[str, Any]) -> dict[str, Any]:
    """What a default adds to an asset: numbers that the asset lacks, and its bands where it names none."""
    keys: list[str] = []
    if set(_numbers(default)) - set(_numbers(asset)):
        keys += [key for key in _LISTS if any(name in _NUMBERS for _, name in _in_lists(default, key))]
        keys += [key for name in _NUMBERS for key in (f"raster:{name}", name) if key in default]
    if not any(asset.get(key) for key in _NAMING) and any(default.get(key) for key in _NAMING):
        keys += [key for key in (*_NAMING, *_FILE) if key in default and key not in asset]
    return {key: default[key] for key in dict.fromkeys(keys)}


def _numbers(asset: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Band and name of the numbers that an asset states; those that it states of all bands count for each."""
    bands = max([1, *(len(asset[key]) for key in _LISTS if isinstance(asset.get(key), list))])
    for name in _NUMBERS:
        if any(asset.get(key) is not None for key in (f"raster:{name}", name)):
            yield from ((band, name) for band in range(bands))
    for key in _LISTS:
        yield from _in_lists(asset, key)


def _in_lists(asset: Mapping[str, Any], key: str) -> Iterator[tuple[int, str]]:
    entries = asset.get(key)
    for band, entry in enumerate(entries if isinstance(entries, list) else ()):
        for name in _NUMBERS if isinstance(entry, dict) else ():
            if any(entry.get(written) is not None for written in (f"raster:{name}", name)):
                yield band, name
