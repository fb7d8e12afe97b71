"""A static collection of a real Sentinel-1 chip: VV and VH in dB, EPSG:4326, a flood in Spain in September 2019."""

import json
from pathlib import Path

import rasterio
import shapely

from tests.support.paths import shared

AREA = [-0.7815, 38.0832, -0.7592, 38.1285]
"""A little inside the chip."""

UTM = "EPSG:32630"


def chip(what: str = "S1") -> Path:
    """The chip's backscatter (``S1``) or its hand-made water labels (``Label``: 1 water, 0 none, -1 no data)."""
    return shared() / f"data/sar/sen1floods11_west/Spain_7370579_west_{what}Hand.tif"


def flood_item(path: Path | None = None, day: int = 17, **entry) -> dict:
    """An item that says what the chip is, two bands of one file, in dB; ``entry`` changes what is said of a band."""
    with rasterio.open(path or chip()) as file:
        bounds, transform, shape = file.bounds, file.transform, file.shape
    outline = shapely.box(*bounds)
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"flood-{day}",
        "collection": "flood",
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": list(outline.bounds),
        "links": [],
        "properties": {
            "datetime": f"2019-09-{day:02d}T06:00:00Z",
            "platform": "sentinel-1a",
            "sar:product_type": "GRD",
            "proj:code": "EPSG:4326",
            "proj:shape": list(shape),
            "proj:transform": list(transform)[:6],
        },
        "assets": {
            "backscatter": {
                "href": str(path or chip()),
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "bands": [{"name": name, "unit": "dB", "nodata": "nan", **entry} for name in ("VV", "VH")],
            }
        },
    }


def flood_catalog(folder: Path, items: list[dict] | None = None) -> str:
    """A static collection of these items (of the chip itself); returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    items = items or [flood_item()]
    for item in items:
        (folder / f"{item['id']}.json").write_text(json.dumps(item))
    collection = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": "flood",
        "description": "Derived for a test",
        "license": "other",
        "extent": {"spatial": {"bbox": [items[0]["bbox"]]}, "temporal": {"interval": [[None, None]]}},
        "links": [{"rel": "item", "href": f"./{item['id']}.json"} for item in items],
    }
    (folder / "collection.json").write_text(json.dumps(collection))
    return str(folder / "collection.json")
