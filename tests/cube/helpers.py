"""Real items and files for the cube's tests, and files derived from them."""

import json
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np
import rasterio
from pyproj import Transformer
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.warp import Resampling, calculate_default_transform, reproject

from eopipe.cube.asset_file import RetryPolicy
from eopipe.cube.item_scenes import resolve_scene
from eopipe.cube.reader import ReadSettings
from eopipe.cube.scenes import AssetRef, Scene
from eopipe.grid import Grid, PixelBox
from tests.support.paths import shared

BANDS = ("blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "swir16", "swir22")
PISA = (10.363025665283203, 43.674824840428265, 10.44027328491211, 43.75832475194815)
QUICK = RetryPolicy(attempts=3, base=0.01)


@lru_cache
def items(name: str) -> tuple[dict, ...]:
    """The features of one of the given files of real items."""
    found = json.loads((shared() / "data/stac_raster/stac_items" / name).read_text())
    return tuple(found.get("features", [found]))


def item(name: str, collection: str | None = None) -> dict:
    """A copy of the first item (of a collection)."""
    found = next(i for i in items(name) if collection in (None, i.get("collection")))
    return json.loads(json.dumps(found))


def oscd_item(name: str) -> dict:
    path = shared() / "data/sentinel2-oscd" / name / f"{name}.json"
    found = json.loads(path.read_text())
    found["links"].append({"rel": "self", "href": str(path)})
    return found


def oscd(name: str, bands=BANDS) -> Scene:
    return resolve_scene(oscd_item(name), bands)


def pisa_box(grid: Grid) -> PixelBox:
    bounds = Transformer.from_crs(4326, grid.crs, always_xy=True).transform_bounds(*PISA)
    return grid.box_of(*bounds)


def scene(name: str = "a", day: int = 1, mask: AssetRef | None = None, cloud=None, **bands: AssetRef) -> Scene:
    return Scene(name, "test", datetime(2020, 1, day, tzinfo=UTC), None, bands, mask, cloud)


def settings(grid: Grid, bands=("blue",), **more) -> ReadSettings:
    return ReadSettings(**{"grid": grid, "bands": tuple(bands), "threads": 2, "retry": QUICK, **more})


def write_tif(path: Path, pixels, crs="EPSG:32632", origin=(600000.0, 4850000.0), res=10.0, **profile) -> AssetRef:
    """A small GeoTIFF; returns a reference to its first band."""
    data = np.atleast_3d(np.asarray(pixels).T).T
    options = {
        "driver": "GTiff", "count": data.shape[0], "height": data.shape[1], "width": data.shape[2],
        "dtype": data.dtype, "crs": crs, "transform": from_origin(*origin, res, res),
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", **profile,
    }  # fmt: skip
    with rasterio.open(path, "w", **options) as file:
        file.write(data)
    return AssetRef(str(path), nodata=0)


def warped_pisa(folder: Path, crs: str, name="S2_pisa_20150704", band="B02") -> AssetRef:
    """Derived: a Pisa band warped to another CRS by GDAL, as a provider would have done."""
    path = folder / f"{name}_{band}_{crs[5:]}.tif"
    with rasterio.open(shared() / "data/sentinel2-oscd" / name / f"{band}.tif") as source:
        transform, width, height = calculate_default_transform(
            source.crs, crs, source.width, source.height, *source.bounds, resolution=10
        )
        out = np.zeros((height, width), "uint16")
        reproject(
            rasterio.band(source, 1), out, dst_transform=transform, dst_crs=crs, src_nodata=0, dst_nodata=0,
            resampling=Resampling.cubic,
        )  # fmt: skip
    profile = {"driver": "GTiff", "count": 1, "height": height, "width": width, "dtype": "uint16", "crs": crs}
    with rasterio.open(path, "w", **profile, transform=transform, tiled=True, compress="deflate") as file:
        file.write(out, 1)
    return AssetRef(str(path), nodata=0)


def mosaic_cog(path: Path, band: str, side: int, res: float, block: int = 256) -> None:
    """Derived: a Pisa band repeated in turned and mirrored copies, as a COG of real texture."""
    with rasterio.open(shared() / "data/sentinel2-oscd/S2_pisa_20150704" / f"{band}.tif") as source:
        pixels = source.read(1)
    least = min(pixels.shape)
    tile, rng, count = pixels[:least, :least], np.random.default_rng(7), -(-side // least)
    turned = [[np.rot90(tile, rng.integers(4))[:: rng.choice([1, -1])] for _ in range(count)] for _ in range(count)]
    data = np.block(turned)[:side, :side]
    profile = {
        "driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint16", "crs": "EPSG:32632",
        "transform": from_origin(600070.0, 4899970.0, res, res),
    }  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as file:
            file.write(data, 1)
        with memory.open() as file:
            copy(file, path, driver="COG", blocksize=block, compress="deflate", predictor="yes")
