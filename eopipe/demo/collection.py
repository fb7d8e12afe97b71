"""A scene as a static STAC collection: one item, a COG a band, and the licences."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import rasterio
import shapely
from pyproj import Transformer
from rasterio.io import MemoryFile
from rasterio.shutil import copy as rasterio_copy

from eopipe.demo.pixels import package_file
from eopipe.stac import extensions as ext
from eopipe.stac.item import VERSION
from eopipe.stac.publish_input import OutputFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.demo.pixels import Pixels
    from eopipe.demo.scenes import Band, Scene
    from eopipe.storage import Storage

COLLECTION = "collection.json"
_ITEM = "item.json"
_EXTENSIONS = [
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
    ext.PROJECTION, ext.RASTER, ext.PROCESSING, ext.FILE,
]  # fmt: skip
_COG = {"driver": "COG", "compress": "DEFLATE", "blocksize": "256", "overview_resampling": "AVERAGE"}


def build(scene: Scene, folder: Storage) -> bool:
    """Write the collection, unless what is there was made of the same file.

    The COGs come first and the collection last, each whole or not at all: where ``collection.json`` stands, the
    rest does too.

    Args:
        scene: Which.
        folder: Where.

    Returns:
        Whether it was written now.

    Raises:
        SpecError: The package is missing, or another version of it holds something else.
        OutputError: The folder cannot be written.
    """
    source = package_file(scene.package, scene.file, scene.version)
    pixels = scene.read(source)
    item = _item(scene, pixels)
    files = {
        f"{band.name}.tif": _cog(plane, scene, pixels) for band, plane in zip(scene.bands, pixels.values, strict=True)
    }
    for band in scene.bands:
        item["assets"][band.name] |= _file_fields(files[f"{band.name}.tif"])
    documents = {**files, _ITEM: _text(item), COLLECTION: _text(_collection(scene, item))}
    if all(_holds(folder, name, data) for name, data in documents.items()):
        return False
    for name, data in documents.items():
        folder.put(name, data)
    return True


def _holds(folder: Storage, name: str, data: bytes) -> bool:
    try:
        return folder.get(name) == data
    except FileNotFoundError:
        return False


def _text(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _cog(plane: NDArray[Any], scene: Scene, pixels: Pixels) -> bytes:
    """One band, with overviews: averages, for these are measurements."""
    profile = {
        "driver": "GTiff", "dtype": plane.dtype, "count": 1, "height": plane.shape[0], "width": plane.shape[1],
        "crs": pixels.crs, "transform": pixels.transform, "nodata": scene.nodata,
    }  # fmt: skip
    with rasterio.Env(), MemoryFile() as plain, MemoryFile() as cog:
        with plain.open(**profile) as dataset:
            dataset.write(plane, 1)
            dataset.scales, dataset.offsets = (scene.scale,), (0.0,)
        rasterio_copy(plain.name, cog.name, **_COG)
        return bytes(cog.getbuffer())


def _file_fields(data: bytes) -> dict[str, Any]:
    return ext.file_fields(OutputFile("", len(data), hashlib.sha256(data).hexdigest()))


def _item(scene: Scene, pixels: Pixels) -> dict[str, Any]:
    _, rows, cols = pixels.values.shape
    left, top = pixels.transform.c, pixels.transform.f
    right, bottom = left + pixels.transform.a * cols, top + pixels.transform.e * rows
    to_degrees = Transformer.from_crs(pixels.crs, 4326, always_xy=True)
    outline = shapely.box(*to_degrees.transform_bounds(left, bottom, right, top))
    return {
        "type": "Feature",
        "stac_version": VERSION,
        "stac_extensions": _EXTENSIONS,
        "id": f"{scene.collection}-scene",
        "collection": scene.collection,
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": list(outline.bounds),
        "properties": {
            **scene.properties,
            "title": scene.title,
            "description": f"{scene.about} Place: {scene.place}.",
            "proj:code": pixels.crs,
            "proj:shape": [rows, cols],
            "proj:transform": list(pixels.transform)[:6],
        },
        "links": [
            {"rel": rel, "href": f"./{COLLECTION}", "type": "application/json"}
            for rel in ("root", "parent", "collection")
        ],
        "assets": {band.name: _asset(scene, band, pixels) for band in scene.bands},
    }


def _asset(scene: Scene, band: Band, pixels: Pixels) -> dict[str, Any]:
    entry = {
        "name": band.name, "eo:common_name": band.common, "eo:center_wavelength": band.centre,
        "data_type": str(pixels.values.dtype), "nodata": scene.nodata, "raster:scale": scene.scale,
        "raster:offset": 0.0, "gsd": scene.properties["gsd"],
    }  # fmt: skip
    return {
        "href": f"./{band.name}.tif",
        "type": ext.COG,
        "roles": ["data"],
        "title": band.common,
        "bands": [entry],
    }


def _collection(scene: Scene, item: dict[str, Any]) -> dict[str, Any]:
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
