"""One tile as a STAC Item."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.area.lonlat import Area
from eopipe.redact import unsign
from eopipe.stac import extensions as ext

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from eopipe.kernelinfo import ArraySpec
    from eopipe.run_folder import OutputFile
    from eopipe.stac.publish_input import PublishInfo, TileOutput

VERSION = "1.1.0"
EXTENSIONS = [ext.PROJECTION, ext.RASTER, ext.CLASSIFICATION, ext.PROCESSING, ext.FILE]

ITEM = f"{run_folder.STAC_ITEMS}/row/tile.json"
"""Path of any Item, as far as its hrefs are concerned."""


def href(path: str, document: str) -> str:
    """How ``document`` refers to ``path``, both relative to the run's folder."""
    relative = posixpath.relpath(path, posixpath.dirname(document) or ".")
    return relative if relative.startswith(".") else f"./{relative}"


def asset(path: str, document: str, title: str, *roles: str, **fields: Any) -> dict[str, Any]:
    """A file of the run's folder as an asset of a document of it, with further fields."""
    where = {"href": href(path, document), "type": ext.media_type(path)}
    return {**where, "roles": list(roles), "title": title, **fields}


def item(info: PublishInfo, output: TileOutput, footprint: Any) -> dict[str, Any]:
    """The Item's JSON, hrefs relative to its own file.

    Args:
        info: The run.
        output: The tile.
        footprint: Its part of the area in longitude and latitude.
    """
    area = Area(footprint)
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": EXTENSIONS,
        "id": f"{info.name}_{output.tile.name}",
        "collection": info.name,
        "geometry": area.geojson,
        "bbox": list(area.bbox),
        "properties": _properties(info, output),
        "links": _links(info, output),
        "assets": _assets(info, output),
    }


def rebased(document: dict[str, Any], target: str) -> dict[str, Any]:
    """An Item with its relative hrefs rewritten for another document of the run's folder."""

    def rebase(entry: dict[str, Any]) -> dict[str, Any]:
        if not entry["href"].startswith("."):
            return entry
        return {**entry, "href": href(posixpath.normpath(f"{posixpath.dirname(ITEM)}/{entry['href']}"), target)}

    return {
        **document,
        "links": [rebase(link) for link in document["links"]],
        "assets": {name: rebase(entry) for name, entry in document["assets"].items()},
    }


def when(moment: datetime) -> str:
    """RFC 3339, UTC."""
    return moment.isoformat().replace("+00:00", "Z")


def span(info: PublishInfo, outputs: Sequence[TileOutput]) -> tuple[datetime, datetime]:
    """First and last scene that was used; the run's interval where none was."""
    times = [scene.datetime for output in outputs for scene in output.scenes]
    return (min(times), max(times)) if times else info.interval


def bands(info: PublishInfo, arrays: Sequence[ArraySpec], histogram: Any = None) -> list[dict[str, Any]]:
    """Band objects of a file that holds these arrays; the first categorical one counts its classes."""
    counted = next((spec.name for spec in info.arrays if spec.classes), None)
    return [
        plane
        for spec in arrays
        for plane in ext.bands_of(spec, info.gsd, histogram if spec.name == counted else None)
    ]


def _properties(info: PublishInfo, output: TileOutput) -> dict[str, Any]:
    start, end = span(info, [output])
    return {
        "title": f"{info.name}, tile {output.tile.name}",
        "datetime": None,  # a composite has a span and no moment
        "start_datetime": when(start),
        "end_datetime": when(end),
        "created": when(info.created),
        "gsd": info.gsd,
        **ext.crs_fields(info.region.grid),
        "processing:software": dict(info.software),
        "processing:datetime": when(info.created),
        "eopipe:tile": output.tile.name,
        "eopipe:inputs": output.inputs,
        "eopipe:status": output.status,
        "eopipe:scenes": [scene.id for scene in output.scenes],
    }


def _links(info: PublishInfo, output: TileOutput) -> list[dict[str, Any]]:
    collection = href(run_folder.COLLECTION, ITEM)
    links = [
        {"rel": rel, "href": collection, "type": "application/json", "title": info.name}
        for rel in ("root", "parent", "collection")
    ]
    return links + [
        {"rel": "derived_from", "href": unsign(scene.href), "type": "application/geo+json", "title": scene.id}
        for scene in output.scenes
        if scene.href is not None
    ]


def _assets(info: PublishInfo, output: TileOutput) -> dict[str, Any]:
    assets = {name: _asset(info, output, name, file) for name, file in output.files.items()}
    if any(entry["type"] == ext.COG for entry in assets.values()):
        return assets
    return {"mosaic": _shard(info, output), **assets}


def _asset(info: PublishInfo, output: TileOutput, name: str, file: OutputFile) -> dict[str, Any]:
    entry = asset(file.path, ITEM, name, "data", **ext.file_fields(file))
    if entry["type"] == ext.COG:
        entry |= ext.raster_fields(info.region.grid, output.tile.box(info.tile_size))
        entry["bands"] = bands(info, info.arrays_of(name), output.histogram)
    return entry


def _shard(info: PublishInfo, output: TileOutput) -> dict[str, Any]:
    """Where a run writes no COGs, the tile is one shard of the mosaic's arrays."""
    title = "the mosaic, of which this tile is one shard"
    return asset(run_folder.MOSAIC, ITEM, title, "data", bands=bands(info, info.arrays, output.histogram))
