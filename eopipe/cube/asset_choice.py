"""Which asset of an item holds a band, and which of its addresses is read.

What the spec says comes first (``source.bands``), then a table of the family's names (:mod:`eopipe.cube.sensors`),
then the bands' own names, the asset's key, and a common name only where it is unique: ``rededge`` is B05, B06 and
B07 of Sentinel-2. Of several copies of one band (``B04_10m``, ``B04_20m``, ``B04_60m``) the finest is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from eopipe.cube.scenes import AssetRef
from eopipe.errors import ITEM_REMEDY, ItemError
from eopipe.hrefs import canonical_href, decoded_key, host_of
from eopipe.snapshot.snapshot import resolve_href

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from eopipe.cube.sar_sensors import SarSensor
    from eopipe.cube.sensors import Sensor

PAYING_BUCKETS = frozenset({"usgs-landsat", "sentinel-s2-l1c", "sentinel-s2-l2a", "sentinel-s1-l1c", "naip-analytic",
                            "naip-source", "naip-visualization", "sentinel-s2-l2a-zips"})  # fmt: skip
"""Buckets that charge their readers, known by name."""

LOGIN_HOSTS = ("landsatlook.usgs.gov", "earthdata.nasa.gov", "earthdatacloud.nasa.gov", "asf.alaska.edu",
               "zipper.dataspace.copernicus.eu", "download.dataspace.copernicus.eu",
               "catalogue.dataspace.copernicus.eu")  # fmt: skip
"""Hosts, and the domains of hosts, whose files want a login."""

_PROTECTED = "-protected"
"""Ending of the names of NASA's buckets that want temporary credentials."""

_COPY = re.compile(r"^(?P<base>.+?)[-_](?P<metres>\d+)m$")
_SAME_BAND = re.compile(r"[-_](\d+m|jp2|cog|tif)$", re.IGNORECASE)
_NO_DATA_ROLES = frozenset({"thumbnail", "overview", "visual", "metadata"})
_COMMON = {"rededge1": ("rededge071",), "rededge2": ("rededge075",), "rededge3": ("rededge078", "rededge783")}
"""Further common names of a canonical band (STAC's eo extension 2 has these)."""


@dataclass(frozen=True)
class AssetChoice:
    """What the spec says of choosing assets and their addresses.

    Args:
        bands: Band to the keys of assets that may hold it, the first that an item has; ``image#2`` is the second
            band of ``image``.
        alternate: Name of the alternate address that is read where an asset has it.
        requester_pays: Whether files that charge their reader may be read.
    """

    bands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    alternate: str | None = None
    requester_pays: bool = False


FREE = AssetChoice()
"""Nothing is said: the tables and the item decide, and nothing is charged."""


def choose_asset(
    item: Mapping[str, Any], sensor: Sensor | SarSensor, band: str, names: Mapping[str, Sequence[str]]
) -> tuple[Mapping[str, Any], int]:
    """The asset that holds a band, and the band's number in its file, from 1.

    Args:
        item: The item's JSON.
        sensor: Its family.
        band: A canonical band, an asset's key (``B04``, ``image#2``), or a band's own name.
        names: The spec's ``source.bands``.

    Raises:
        ItemError: No asset holds it, or several may; the message names the assets that exist.
    """
    assets = item.get("assets", {})
    if names.get(band):
        return _by_spec(item, band, names[band])
    table = sensor.assets.get(band, ())
    known = _by_key(assets, table) or _by_copy(assets, table)
    if known:
        return assets[known[0][0]], known[0][1]
    several: list[tuple[str, int]] = []
    for choose in (_by_own_name, _by_asset_key, _by_common_name):
        choices = _finest(assets, choose(assets, band))
        if len(choices) == 1:
            key, number = choices[0]
            return assets[key], number
        several = several or choices
    raise ItemError(
        f"item {item.get('id')!r} ({sensor.name}) has {_problem(assets, band, several)}; its assets are "
        f"{_keys(assets)}; name the one that holds it, source.bands: {{{band}: KEY}}, or {ITEM_REMEDY}"
    )


def _problem(assets: Mapping[str, Any], band: str, several: list[tuple[str, int]]) -> str:
    if several:
        return f"{len(several)} assets that call a band {band!r} ({', '.join(key for key, _ in several)})"
    if band in assets:
        count = len(_band_entries(assets[band]))
        return f"an asset {band!r} of {count} bands; say which, from {band}#1 to {band}#{count}"
    return f"no asset for band {band!r}"


def _by_spec(item: Mapping[str, Any], band: str, keys: Sequence[str]) -> tuple[Mapping[str, Any], int]:
    assets = item.get("assets", {})
    choices = _by_key(assets, keys)
    if not choices:
        raise ItemError(
            f"item {item.get('id')!r}: source.bands.{band} is {' or '.join(map(repr, keys))}, and its assets are "
            f"{_keys(assets)}; give one of these, or {ITEM_REMEDY}"
        )
    key, number = choices[0]
    return assets[key], number


def _keys(assets: Mapping[str, Any]) -> str:
    return ", ".join(map(str, assets)) or "none"


def _by_key(assets: Mapping[str, Any], names: Iterable[str]) -> list[tuple[str, int]]:
    """The first of some names that is an asset's key, its band's number or name behind a ``#``."""
    return next((choice for name in names if (choice := _keyed(assets, name))), [])


def _keyed(assets: Mapping[str, Any], name: str) -> list[tuple[str, int]]:
    if name in assets:
        return [(name, 1)]
    key, mark, band = name.rpartition("#")
    if not mark or key not in assets:
        return []
    if band.isdigit() and int(band) > 0:
        return [(key, int(band))]
    return [(key, index) for index, entry in _band_entries(assets[key]) if _is_called(entry, band)]


def _by_copy(assets: Mapping[str, Any], names: Iterable[str]) -> list[tuple[str, int]]:
    """The finest of the assets whose keys are one of some names and a resolution, such as ``B04_10m``."""
    copies = [match for key in assets if (match := _COPY.match(str(key)))]
    for name in names:
        fits = [match for match in copies if match["base"] == name]
        if fits:
            return [(min(fits, key=lambda match: int(match["metres"])).string, 1)]
    return []


def _data_assets(assets: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((key, asset) for key, asset in assets.items() if not set(asset.get("roles") or ()) & _NO_DATA_ROLES)


def _by_own_name(assets: Mapping[str, Any], band: str) -> list[tuple[str, int]]:
    """Assets with a data band of this very name, in any case."""
    return [
        (key, index)
        for key, asset in _data_assets(assets)
        for index, entry in _band_entries(asset)
        if _is_called(entry, band)
    ]


def _is_called(entry: Mapping[str, Any], band: str) -> bool:
    return str(entry.get("name", "")).lower() == band.lower()


def _by_asset_key(assets: Mapping[str, Any], band: str) -> list[tuple[str, int]]:
    """The asset of this key, in any case where that is unique; not one of several bands, unless it says which."""
    data = dict(_data_assets(assets))
    exact = _keyed(assets, band)
    keys = [] if exact else [key for key in data if key.lower() == band.lower()]
    choices = exact or [(key, 1) for key in (keys or [key for key in data if _base_of(key) == band.lower()])]
    return [(key, number) for key, number in choices if "#" in band or len(_band_entries(assets[key])) <= 1]


def _by_common_name(assets: Mapping[str, Any], band: str) -> list[tuple[str, int]]:
    names = {band, *_COMMON.get(band, ())}
    return [
        (key, index)
        for key, asset in _data_assets(assets)
        for index, entry in _band_entries(asset)
        if names & {entry.get("common_name"), entry.get("eo:common_name")}
    ]


def _band_entries(asset: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    # Old items hold indices into a list of the properties: they name nothing.
    entries = asset.get("bands") or asset.get("eo:bands") or []
    return [(index, entry if isinstance(entry, dict) else {}) for index, entry in enumerate(entries, start=1)]


def _base_of(key: str) -> str:
    return _SAME_BAND.sub("", key.lower())


def _finest(assets: Mapping[str, Any], choices: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Of copies of one band the finest, and of two as fine the GeoTIFF; others stay several."""
    if len(choices) < 2:
        return choices
    names = {_own_name(assets[key], index) for key, index in choices}
    if len({_base_of(key) for key, _ in choices}) > 1 and (len(names) > 1 or "" in names):
        return choices
    sizes = [_metres(key, assets[key], index) for key, index in choices]
    if None not in sizes:
        finest = min(size for size in sizes if size is not None)
        choices = [choice for choice, size in zip(choices, sizes, strict=True) if size == finest]
    tiffs = [choice for choice in choices if "tif" in str(assets[choice[0]].get("type", "")).lower()]
    return tiffs if len(tiffs) == 1 else choices


def _own_name(asset: Mapping[str, Any], index: int) -> str:
    entries = dict(_band_entries(asset))
    return str(entries.get(index, {}).get("name", "")).lower()


def _metres(key: str, asset: Mapping[str, Any], index: int) -> float | None:
    """Side of a pixel in metres, as the asset states it; None where it does not."""
    rasters = asset.get("raster:bands") or []
    raster = rasters[index - 1] if len(rasters) >= index and isinstance(rasters[index - 1], dict) else {}
    entry = dict(_band_entries(asset)).get(index, {})
    match = _COPY.match(key)
    stated = (
        asset.get("gsd"), entry.get("gsd"), asset.get("raster:spatial_resolution"), raster.get("spatial_resolution"),
        entry.get("raster:spatial_resolution"), match and match["metres"],
    )  # fmt: skip
    value = next((value for value in stated if value is not None), None)
    return None if value is None else float(value)


def locate(item: Mapping[str, Any], asset: Mapping[str, Any], index: int, choice: AssetChoice) -> AssetRef:
    """Where a band lies, and what the item says of the file; not yet what its numbers mean.

    Raises:
        ItemError: Its href is relative, and the item has no address to resolve it by.
    """
    properties = item.get("properties", {})
    (href, pays), *alternates = _addresses(item, asset, choice)
    size = asset.get("file:size")
    return AssetRef(
        href=href,
        band_index=index,
        file_size=int(size) if size else None,
        crs=_crs(asset, properties),
        shape=_tuple(asset.get("proj:shape", properties.get("proj:shape")), int, 2),
        transform=_tuple(asset.get("proj:transform", properties.get("proj:transform")), float, 6),
        requester_pays=pays,
        alternates=tuple(alternates),
    )


def _addresses(item: Mapping[str, Any], asset: Mapping[str, Any], choice: AssetChoice) -> list[tuple[str, bool]]:
    """Addresses of a file and whether reading each is charged, the one to read first.

    The main one comes first, unless it cannot be read (it charges and that was not accepted, or it wants a login)
    and an alternate can, or the spec names the alternate. The others are read where the first fails for good.
    """
    alternate, properties = asset.get("alternate"), item.get("properties", {})
    alternates = alternate if isinstance(alternate, dict) else {}
    files = [("", asset), *((name, file) for name, file in alternates.items() if isinstance(file, dict))]
    outer = _stated_charge(properties, asset)
    outer = properties.get("storage:requester_pays") if outer is None else outer
    addresses: list[tuple[int, str, bool]] = []
    for name, file in files:
        if not file.get("href"):
            if file is asset:
                raise KeyError("href")
            continue
        href = canonical_href(_absolute(item, str(file["href"])))
        flag = _stated_charge(properties, file)
        pays = _charged(href, outer if flag is None else flag)
        named = bool(name) and name == choice.alternate
        obstacle = -1 if named else _obstacle(href, pays=pays and not choice.requester_pays, file=file)
        addresses.append((obstacle, href, pays))
    ordered = sorted(addresses, key=lambda address: address[0])
    usable = [(href, pays) for _, href, pays in ordered if choice.requester_pays or not pays]
    first = ordered[0][1:]
    copies = [(key, pays) for href, pays in [first, *usable] if (key := decoded_key(href)) is not None]
    return list(dict.fromkeys([first, *usable, *copies]))


def _obstacle(href: str, *, pays: bool, file: Mapping[str, Any]) -> int:
    """0 where an address can be read, 1 where it wants a login, 2 where it charges and that was not accepted."""
    if pays:
        return 2
    host, bucket = host_of(href), _bucket(href)
    login = any(host == name or host.endswith(f".{name}") for name in LOGIN_HOSTS) or bucket.endswith(_PROTECTED)
    return int(login or (bool(file.get("auth:refs")) and bool(host)))


def _stated_charge(properties: Mapping[str, Any], file: Mapping[str, Any]) -> object:
    """The storage extension's flag of a file, of version 1 or 2; None where it is not stated."""
    schemes = file.get("storage:schemes") or properties.get("storage:schemes") or {}
    flags = [schemes[name].get("requester_pays") for name in file.get("storage:refs") or () if name in schemes]
    return any(flag is True for flag in flags) if flags else file.get("storage:requester_pays")


def _bucket(href: str) -> str:
    url = urlsplit(href)
    return url.netloc if url.scheme == "s3" else url.netloc.partition(".s3")[0] if ".s3" in url.netloc else ""


def _charged(href: str, flag: object) -> bool:
    # The bucket's name outranks a flag: items copied to a free bucket keep the flag of their source, and
    # Earth Search's -jp2 assets carry none although sentinel-s2-l2a charges.
    bucket = _bucket(href)
    return bucket in PAYING_BUCKETS or (bool(bucket) and flag is True)


def _absolute(item: Mapping[str, Any], href: str) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:|/", href):
        return href
    base = next((link.get("href") for link in item.get("links", ()) if link.get("rel") == "self"), None)
    if not base:
        raise ItemError(
            f"item {item.get('id')!r}: asset href {href!r} is relative and the item has no self link to resolve it; "
            f"{ITEM_REMEDY}"
        )
    return resolve_href(href, str(base))


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
