"""A scene as a static STAC collection: one item with a COG a band, and the licences."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import rasterio
import rasterio.transform
import shapely
from pyproj import Transformer
from rasterio.io import MemoryFile
from rasterio.shutil import copy as rasterio_copy

from eopipe.demo.package_data import package_file, read_scene
from eopipe.run_folder import OutputFile
from eopipe.stac import extensions as ext
from eopipe.stac.item import VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.demo.package_data import SceneRaster
    from eopipe.demo.scenes import Band, DemoScene
    from eopipe.storage import Storage

COLLECTION = "collection.json"
_ITEM = "item.json"
_EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    ext.PROJECTION, ext.RASTER, ext.PROCESSING, ext.FILE,
]  # fmt: skip
_COG = {"driver": "COG", "compress": "DEFLATE", "blocksize": "256", "overview_resampling": "AVERAGE"}


def build(scene: DemoScene, folder: Storage) -> bool:
    """Write the collection, unless the folder holds the same files.

    The COGs come first and the collection last, each whole or not at all: where ``collection.json`` exists, all files
    do.

    Args:
        scene: The scene.
        folder: Folder of the collection.

    Returns:
        Whether it was written now.

    Raises:
        SpecError: The package is missing, or its version has no such file or another one.
        OutputError: The folder cannot be written.
    """
    raster = read_scene(package_file(scene.package, scene.file, scene.version))
    item = _item(scene, raster)
    files: dict[str, bytes] = {}
    for band, plane in zip(scene.bands, raster.values, strict=True):
        data = files[f"{band.name}.tif"] = _cog(plane, scene, raster)
        item["assets"][band.name] |= ext.file_fields(OutputFile.of("", data))
    files |= {_ITEM: _text(item), COLLECTION: _text(_collection(scene, item))}
    if all(_holds(folder, name, data) for name, data in files.items()):
        return False
    for name, data in files.items():
        folder.put(name, data)
    return True


def _holds(folder: Storage, name: str, data: bytes) -> bool:
    try:
        return folder.get(name) == data
    except FileNotFoundError:
        return False


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _cog(plane: NDArray[Any], scene: DemoScene, raster: SceneRaster) -> bytes:
    """A band as a COG; its overviews are averages, since values are measurements."""
    profile = {
        "driver": "GTiff", "dtype": plane.dtype, "count": 1, "height": plane.shape[0], "width": plane.shape[1],
        "crs": raster.crs, "transform": raster.transform, "nodata": scene.nodata,
    }  # fmt: skip
    with rasterio.Env(), MemoryFile() as plain, MemoryFile() as cog:
        with plain.open(**profile) as dataset:
            dataset.write(plane, 1)
            dataset.scales, dataset.offsets = (scene.scale,), (0.0,)
        rasterio_copy(plain.name, cog.name, **_COG)
        return bytes(cog.getbuffer())


def _item(scene: DemoScene, raster: SceneRaster) -> dict[str, Any]:
    _, rows, cols = raster.values.shape
    bounds = rasterio.transform.array_bounds(rows, cols, raster.transform)
    outline = shapely.box(*Transformer.from_crs(raster.crs, 4326, always_xy=True).transform_bounds(*bounds))
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": _EXTENSIONS,
        "id": f"{scene.collection}-scene",
        "collection": scene.collection,
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": list(outline.bounds),
        "properties": {
            "datetime": None,
            "start_datetime": scene.interval[0],
            "end_datetime": scene.interval[1],
            **scene.properties,
            "title": scene.title,
            "description": f"{scene.about} Place: {scene.place}.",
            "proj:code": raster.crs,
            "proj:shape": [rows, cols],
            "proj:transform": list(raster.transform)[:6],
        },
        "links": [
            {"rel": rel, "href": f"./{COLLECTION}", "type": "application/json"}
            for rel in ("root", "parent", "collection")
        ],
        "assets": {band.name: _asset(scene, band, str(raster.values.dtype)) for band in scene.bands},
    }


def _asset(scene: DemoScene, band: Band, dtype: str) -> dict[str, Any]:
    entry = {
        "name": band.name, "eo:common_name": band.common, "eo:center_wavelength": band.centre,
        "data_type": dtype, "nodata": scene.nodata, "raster:scale": scene.scale,
        "raster:offset": 0.0, "gsd": scene.properties["gsd"],
    }  # fmt: skip
    return {"href": f"./{band.name}.tif", "type": ext.COG, "roles": ["data"], "title": band.common, "bands": [entry]}


def _collection(scene: DemoScene, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": VERSION,
        "stac_extensions": [],
        "id": scene.collection,
        "title": scene.title,
        "description": f"{scene.about}\n\nPlace: {scene.place}.\n\nLicences. {scene.licence}",
        "license": "other",
        "providers": list(scene.providers),
        "extent": {"spatial": {"bbox": [item["bbox"]]}, "temporal": {"interval": [list(scene.interval)]}},
        "links": [
            {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"},
            {"rel": "item", "href": f"./{_ITEM}", "type": "application/geo+json"},
        ],
    }
