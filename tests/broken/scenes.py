"""Small real scenes on tiles of their own, so that one run meets many faults and each strikes one tile only.

Each scene holds the same 128 x 128 pixels of the real Pisa scene of July 2015, moved (so the catalog is derived,
never as published) into the middle of a 512 tile of EPSG:32632. Between two such tiles lies another that the area
leaves out, wider than a window's halo.
"""

import json
from functools import cache

import numpy as np
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import from_origin
from rasterio.windows import Window

from tests.support.paths import shared

SIDE, TILE, METRES = 128, 512, 10.0
ROW, COLUMN = -946, 80
BAND = "B08"
"""The asset that a fault strikes."""

_SOURCE = shared() / "data/sentinel2-oscd/S2_pisa_20150704"


@cache
def real_item():
    return json.dumps(json.loads((_SOURCE / "S2_pisa_20150704.json").read_text()))


@cache
def _pixels():
    pixels = {}
    for name in json.loads(real_item())["assets"]:
        with rasterio.open(_SOURCE / f"{name}.tif") as file:
            pixels[name] = file.read(1, window=Window(300, 300, SIDE, SIDE))
    return pixels


def tile_of(number):
    """Name of a scene's tile."""
    return f"r{ROW:06d}c{COLUMN + 2 * number:05d}"


def corner(number):
    """Upper left corner of a scene in EPSG:32632."""
    margin = (TILE - SIDE) // 2
    return ((COLUMN + 2 * number) * TILE + margin) * METRES, -(ROW * TILE + margin) * METRES


def write_scene(folder, number):
    """``<folder>/<band>.tif`` of a scene."""
    folder.mkdir(parents=True)
    for name, values in _pixels().items():
        write_band(folder / f"{name}.tif", values, crs="EPSG:32632", transform=from_origin(*corner(number), 10, 10))


def write_band(path, values, **place):
    rows, cols = values.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=rows, width=cols, count=1, dtype="uint16", nodata=0,
        tiled=True, blockxsize=64, blockysize=64, compress="deflate", predictor=2, **place,
    ) as file:  # fmt: skip
        file.write(values, 1)


def item(name, number, base):
    """The real item's words on a scene at ``base``, a folder or a URL."""
    document = json.loads(real_item())
    west, north = corner(number)
    outline = _lonlat(shapely.box(west, north - SIDE * METRES, west + SIDE * METRES, north))
    document |= {"id": name, "geometry": json.loads(shapely.to_geojson(outline)), "bbox": list(outline.bounds)}
    document |= {"links": []}
    document["properties"] |= {"proj:code": "EPSG:32632", "proj:epsg": 32632}
    for band, asset in document["assets"].items():
        asset |= {
            "href": f"{base}/{band}.tif",
            "proj:shape": [SIDE, SIDE],
            "proj:transform": [METRES, 0.0, west, 0.0, -METRES, north],
        }
    return document


def area(numbers):
    """GeoJSON of the middle of these scenes: their tiles and no others."""
    inner = [shapely.box(west + 200, north - 1000, west + 1000, north - 200) for west, north in map(corner, numbers)]
    return json.loads(shapely.to_geojson(shapely.MultiPolygon([_lonlat(box) for box in inner])))


def write_catalog(folder, items):
    """A static collection of these items; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    links = [{"rel": "item", "href": f"./{scene['id']}.json"} for scene in items]
    for scene in items:
        (folder / f"{scene['id']}.json").write_text(json.dumps(scene))
    document = json.loads((shared() / "data/sentinel2-oscd/collection.json").read_text())
    (folder / "collection.json").write_text(json.dumps(document | {"links": links}))
    return folder / "collection.json"


def spec(catalog, numbers, out, **changes):
    """A run spec over these scenes."""
    return {
        "name": "broken",
        "area": area(numbers),
        "source": {"catalog": str(catalog), "datetime": "2015-07", "composite": "first"},
        "grid": {"crs": "EPSG:32632", "resolution": 10, "tile": 512},
        "kernel": {"name": "land-cover"},
        "output": {"uri": str(out), "cog": True},
        "cluster": {"kind": "current"},
    } | changes


def _lonlat(shape):
    turn = Transformer.from_crs(32632, 4326, always_xy=True)
    return shapely.transform(shape, lambda xy: np.column_stack(turn.transform(xy[:, 0], xy[:, 1])))
