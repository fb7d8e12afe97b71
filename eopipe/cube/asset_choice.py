"""Which asset of an item holds a band, and which of its addresses is read.

A table of the family's names comes first (:mod:`eopipe.cube.sensors`), then the bands' own names, and a common name
only where it is unique: ``rededge`` is B05, B06 and B07 of Sentinel-2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from eopipe.cube.scenes import AssetRef
from eopipe.errors import ITEM_REMEDY, ItemError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eopipe.cube.sar_sensors import SarSensor
    from eopipe.cube.sensors import Sensor

PAYING_BUCKETS = frozenset({"usgs-landsat", "sentinel-s2-l1c", "sentinel-s2-l2a", "sentinel-s1-l1c", "naip-analytic",
                            "naip-source", "naip-visualization", "sentinel-s2-l2a-zips"})  # fmt: skip
"""Buckets that charge their readers, known by name."""


def choose_asset(item: Mapping[str, Any], sensor: Sensor | SarSensor, band: str) -> tuple[Mapping[str, Any], int]:
    """The asset that holds a band, and the band's number in its file, from 1.

    Raises:
        ItemError: No asset holds it, or several may; the message names the assets that exist.
    """
    assets = item.get("assets", {})
    for name in sensor.assets.get(band, ()):
        key, _, index = name.partition("#")
        if key in assets:
            return assets[key], int(index or 1)
    choices = _by_band_name(assets, band)
    if len(choices) == 1:
        key, number = choices[0]
        return assets[key], number
    problem = f"{len(choices)} assets that call a band {band!r}" if choices else f"no asset for band {band!r}"
    raise ItemError(
        f"item {item.get('id')!r} ({sensor.name}) has {problem}; "
        f"its assets are {', '.join(map(str, assets)) or 'none'}; {ITEM_REMEDY}"
    )


def _by_band_name(assets: Mapping[str, Any], band: str) -> list[tuple[str, int]]:
    """Assets with a data band whose *name* is the canonical one; common names serve where they are unique."""
    named, common = [], []
    for key, asset in assets.items():
        if set(asset.get("roles") or ()) & {"thumbnail", "overview", "visual", "metadata"}:
            continue
        for index, entry in enumerate(_bands(asset), start=1):
            if str(entry.get("name", "")).lower() == band:
                named.append((key, index))
            if band in {entry.get("common_name"), entry.get("eo:common_name")}:
                common.append((key, index))
    return named or common


def _bands(asset: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    # Old items hold indices into a list of the properties here: they name nothing.
    entries = asset.get("bands") or asset.get("eo:bands") or []
    return [entry if isinstance(entry, dict) else {} for entry in entries]


def locate(item: Mapping[str, Any], asset: Mapping[str, Any], index: int) -> AssetRef:
    """Where a band lies, and what the item says of the file; not yet what its numbers mean.

    Raises:
        ItemError: Its href is relative, and the item has no address to resolve it by.
    """
    properties = item.get("properties", {})
    href, pays = _href(item, asset)
    size = asset.get("file:size")
    return AssetRef(
        href=href,
        band_index=index,
        file_size=int(size) if size else None,
        crs=_crs(asset, properties),
        shape=_tuple(asset.get("proj:shape", properties.get("proj:shape")), int, 2),
        transform=_tuple(asset.get("proj:transform", properties.get("proj:transform")), float, 6),
        requester_pays=pays,
    )


def _href(item: Mapping[str, Any], asset: Mapping[str, Any]) -> tuple[str, bool]:
    """Address to read, and whether reading it is charged; a free alternate wins."""
    properties = item.get("properties", {})
    outer = asset.get("storage:requester_pays", properties.get("storage:requester_pays"))
    alternates = [entry for entry in (asset.get("alternate") or {}).values() if isinstance(entry, dict)]
    files = [asset, *(entry for entry in alternates if entry.get("href"))]
    choices = [(str(file["href"]), file.get("storage:requester_pays", outer)) for file in files]
    judged = [(_absolute(item, href), _charged(href, flag)) for href, flag in choices]
    first, *rest = judged
    return next((choice for choice in rest if not choice[1]), first) if first[1] else first


def _charged(href: str, flag: object) -> bool:
    url = urlsplit(href)
    bucket = url.netloc if url.scheme == "s3" else url.netloc.partition(".s3")[0] if ".s3" in url.netloc else ""
    if url.scheme != "s3" and not bucket:
        return False
    # The bucket's name outranks a flag: items copied to a free bucket keep the flag of their source, and
    # Earth Search's -jp2 assets carry none although sentinel-s2-l2a charges.
    return bucket in PAYING_BUCKETS or flag is True


def _absolute(item: Mapping[str, Any], href: str) -> str:
    if urlsplit(href).scheme or href.startswith("/"):
        return href
    base = next((link.get("href") for link in item.get("links", ()) if link.get("rel") == "self"), None)
    if not base:
        raise ItemError(
            f"item {item.get('id')!r}: asset href {href!r} is relative and the item has no self link to resolve it; "
            f"{ITEM_REMEDY}"
        )
    return urljoin(str(base), href)


def _crs(asset: Mapping[str, Any], properties: Mapping[str, Any]) -> str | None:
    for holder in (asset, properties):
        if holder.get("proj:code"):
            return str(holder["proj:code"])
        if holder.get("proj:epsg"):
            return f"EPSG:{holder['proj:epsg']}"
    return None


def _tuple(value: Any, kind: Callable[[Any], Any], length: int) -> Any:
    if not isinstance(value, list | tuple) or len(value) < length:
        return None
    return tuple(kind(entry) for entry in value[:length])
