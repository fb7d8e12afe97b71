"""Collections derived from the real Pisa scene (marked so, never as published): larger COGs behind any server."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import shapely
from pyproj import Transformer

from tests.cube.helpers import mosaic_cog
from tests.support.paths import shared

CORNER = (600070.0, 4899970.0)
"""North-west corner of every derived file, EPSG:32632."""

FINE = ("B02", "B03", "B04", "B08")
COARSE = ("B05", "B06", "B07", "B11", "B12")


def write_cogs(folder: Path, side: int, days=(1,)) -> None:
    """``<day>/<band>.tif`` for each day: two textures, copied, for encoding nine would take long.

    Args:
        folder: Where.
        side: Pixels of 10 m; the 20 m bands have half as many.
        days: One scene each.
    """
    mosaic_cog(folder / "fine.tif", "B02", side, 10.0)
    mosaic_cog(folder / "coarse.tif", "B05", side // 2, 20.0)
    for day in days:
        (folder / str(day)).mkdir()
        for band in FINE:
            shutil.copy(folder / "fine.tif", folder / f"{day}/{band}.tif")
        for band in COARSE:
            shutil.copy(folder / "coarse.tif", folder / f"{day}/{band}.tif")


def item(base: str, day: int, side: int, *, query: str = "") -> dict:
    """The item of one day: the real Pisa item's words on the derived files.

    Args:
        base: Address of the folder of :func:`write_cogs`.
        day: Of July 2015.
        side: As there.
        query: Appended to every href, ``?`` included.
    """
    source = shared() / "data/sentinel2-oscd/S2_pisa_20150704/S2_pisa_20150704.json"
    document = json.loads(source.read_text())
    west, north = CORNER
    box = (west, north - side * 10, west + side * 10, north)
    outline = shapely.box(*Transformer.from_crs(32632, 4326, always_xy=True).transform_bounds(*box))
    document |= {
        "id": f"derived-{day}",
        "collection": "sentinel-2-l1c-derived",
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": list(outline.bounds),
        "links": [],
    }
    when = datetime(2015, 7, day, 10, 0, tzinfo=UTC)
    document["properties"] |= {
        "datetime": when.isoformat().replace("+00:00", "Z"),
        "proj:code": "EPSG:32632",
        "proj:epsg": 32632,
    }
    for band, asset in document["assets"].items():
        step, count = (10, side) if band in FINE else (20, side // 2)
        asset |= {
            "href": f"{base}/{day}/{band}.tif{query}",
            "proj:shape": [count, count],
            "proj:transform": [step, 0.0, west, 0.0, -step, north],
        }
    return document


def write_catalog(folder: Path, items: list[dict]) -> str:
    """A static collection of these items; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    collection = json.loads((shared() / "data/sentinel2-oscd/collection.json").read_text())
    collection |= {"id": "sentinel-2-l1c-derived"}
    collection["links"] = [{"rel": "item", "href": f"./{document['id']}.json"} for document in items]
    for document in items:
        (folder / f"{document['id']}.json").write_text(json.dumps(document))
    (folder / "collection.json").write_text(json.dumps(collection))
    return str(folder / "collection.json")
