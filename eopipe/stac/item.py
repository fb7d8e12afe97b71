"""One tile as a STAC Item."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from eopipe.area.lonlat import Area
from eopipe.redact import unsign
from eopipe.stac import extensions as ext
from eopipe.stac.paths import COLLECTION, ITEMS, href

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from eopipe.kernel_info import ArraySpec
    from eopipe.stac.publish_input import OutputFile, PublishInfo, TileOutput

VERSION = "1.1.0"
EXTENSIONS = [ext.PROJECTION, ext.RASTER, ext.CLASSIFICATION, ext.PROCESSING, ext.FILE]


ITEM = f"{ITEMS}/row/tile.json"
"""Where any Item lies, as far as its hrefs are concerned."""


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


def moved(document: dict[str, Any], here: str, there: str) -> dict[str, Any]:
    """The Item with its relative hrefs rewritten for another document of the run's folder."""
    base = posixpath.dirname(here)

    def rebased(part: dict[str, Any]) -> dict[str, Any]:
        if not part["href"].startswith("."):
            return part
        return {**part, "href": href(posixpath.normpath(f"{base}/{part['href']}"), there)}

    return {
        **document,
        "links": [rebased(link) for link in document["links"]],
        "assets": {name: rebased(asset) for name, asset in document["assets"].items()},
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
    gsd = _metres(info)
    return [
        plane for spec in arrays for plane in ext.bands_of(spec, gsd, histogram if spec.name == counted else None)
    ]


def _metres(info: PublishInfo) -> float:
    return ext.metres(info.region.grid.crs, info.region.grid.resolution)


def _properties(info: PublishInfo, output: TileOutput) -> dict[str, Any]:
    start, end = span(info, [output])
    return {
        "title": f"{info.name}, tile {output.tile.name}",
        "datetime": None,  # a composite has a span and no moment
        "start_datetime": when(start),
        "end_datetime": when(end),
        "created": when(info.created),
        "gsd": _metres(info),
        **ext.crs_fields(info.region.grid),
        "processing:software": dict(info.software),
        "processing:datetime": when(info.created),
        "eopipe:tile": output.tile.name,
        "eopipe:inputs": output.inputs,
        "eopipe:status": output.status,
        "eopipe:scenes": [scene.id for scene in output.scenes],
    }


def _links(info: PublishInfo, output: TileOutput) -> list[dict[str, Any]]:
    home = href(COLLECTION, ITEM)
    links = [
        {"rel": rel, "href": home, "type": "application/json", "title": info.name}
        for rel in ("root", "parent", "collection")
    ]
    return links + [
        {"rel": "derived_from", "href": unsign(scene.href), "type": "application/geo+json", "title": scene.id}
        for scene in output.scenes
        if scene.href is not None
    ]


def _assets(info: PublishInfo, output: TileOutput) -> dict[str, Any]:
    found = {name: _asset(info, output, name, file) for name, file in output.files.items()}
    if any(asset["type"] == ext.COG for asset in found.values()):
        return found
    return {"mosaic": _shard(info, output), **found}


def _asset(info: PublishInfo, output: TileOutput, name: str, file: OutputFile) -> dict[str, Any]:
    found = {
        "href": href(file.path, ITEM),
        "type": ext.media_type(file.path),
        "roles": ["data"],
        "title": name,
        **ext.file_fields(file),
    }
    if found["type"] == ext.COG:
        arrays = info.arrays_of(name)
        found |= ext.raster_fields(info.region.grid, output.tile.box(info.tile_size))
        found["bands"] = bands(info, arrays, output.histogram)
    return found


def _shard(info: PublishInfo, output: TileOutput) -> dict[str, Any]:
    """Where a run writes no COGs, the tile is one shard of the mosaic's arrays."""
    return {
        "href": href(info.mosaic, ITEM),
        "type": ext.ZARR,
        "roles": ["data"],
        "title": "the mosaic, of which this tile is one shard",
        "bands": bands(info, info.arrays, output.histogram),
    }
