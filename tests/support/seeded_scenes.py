"""A catalog of seeded scenes like Sentinel-2 L1C, for tests that everybody can run: STAC items and COGs.

Two footprints overlap, in two CRSs of which neither is the grid's. Pixels are patches of six surfaces with ragged and
straight edges, a smooth brightness and noise; a frame and a cut corner have no data. Equal seeds give equal bytes.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
import shapely
from pyproj import Transformer
from rasterio.transform import array_bounds, from_bounds, from_origin

from tests.support.runs import PISA, pisa

COLLECTION = "sentinel-2-l1c-seeded"

BANDS = {
    "B02": "blue", "B03": "green", "B04": "red", "B05": "rededge071", "B06": "rededge075", "B07": "rededge078",
    "B08": "nir", "B11": "swir16", "B12": "swir22",
}  # fmt: skip
FINE = ("B02", "B03", "B04", "B08")
"""Bands of 10 m; the others have pixels of 20 m."""

SPECTRA = {
    "water": (1100, 850, 600, 550, 450, 450, 380, 200, 120),
    "trees": (950, 850, 620, 950, 2000, 2500, 2700, 1400, 650),
    "grass": (1100, 1150, 1050, 1600, 2500, 2900, 3100, 2500, 1500),
    "crops": (1050, 1050, 800, 1300, 3000, 3700, 4000, 2000, 1000),
    "built": (1700, 1700, 1800, 1900, 2100, 2200, 2300, 2400, 2200),
    "bare": (1400, 1600, 2000, 2300, 2500, 2700, 2900, 3500, 3000),
}
FRAME, CORNER = 6, 90
"""Pixels of 20 m without data: along every edge, and along the legs of the north-western corner."""


@dataclass(frozen=True)
class SeededScene:
    """One item and its COGs.

    Args:
        name: Id of the item and name of its folder.
        crs: Of the files.
        bounds: West, south, east, north, degrees.
        seed: Of the pixels.
        when: The item's datetime.
    """

    name: str
    crs: str
    bounds: tuple[float, float, float, float]
    seed: int
    when: str = "2015-07-04T10:00:00Z"


SCENES = (
    SeededScene("seeded-west", "EPSG:4326", (PISA[0], PISA[1], 10.417, PISA[3]), seed=1),
    SeededScene(
        "seeded-east", "EPSG:32633", (10.397, PISA[1], PISA[2], PISA[3]), seed=2, when="2015-07-04T10:00:15Z"
    ),
)


def seeded(folder, catalog, **changes):
    """The spec of :func:`tests.support.runs.pisa` on a seeded catalog: the same area, month and grid."""
    return pisa(folder, **{"source__catalog": catalog, "source__collections": [COLLECTION], **changes})


def write_catalog(folder: Path, scenes=SCENES) -> str:
    """Write a static collection of these scenes; returns its path."""
    for scene in scenes:
        write_scene(folder / scene.name, scene)
    document = {
        "type": "Collection",
        "id": COLLECTION,
        "stac_version": "1.1.0",
        "description": "Seeded scenes of tests: pixels that no satellite saw.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [list(PISA)]},
            "temporal": {"interval": [["2015-07-01T00:00:00Z", "2015-07-31T00:00:00Z"]]},
        },
        "links": [{"rel": "item", "href": f"./{scene.name}/item.json"} for scene in scenes],
    }
    (folder / "collection.json").write_text(json.dumps(document))
    return str(folder / "collection.json")


def write_scene(folder: Path, scene: SeededScene) -> dict:
    """Write ``item.json`` and a COG a band; returns the item, whose hrefs are relative."""
    folder.mkdir(parents=True)
    left, bottom, right, top = Transformer.from_crs(4326, scene.crs, always_xy=True).transform_bounds(*scene.bounds)
    if scene.crs == "EPSG:4326":  # pixels of about 10 m, as many as make whole pixels of 20 m
        width, height = (2 * round(degrees / 2 / 0.0001076) for degrees in (right - left, top - bottom))
        transform = from_bounds(left, bottom, right, top, width, height)
    else:
        width, height = (2 * round(metres / 20) for metres in (right - left, top - bottom))
        transform = from_origin(left // 20 * 20, top // 20 * 20, 10, 10)
    outline = shapely.box(
        *Transformer.from_crs(scene.crs, 4326, always_xy=True).transform_bounds(
            *array_bounds(height, width, transform)
        )
    )
    assets = {}
    for band, pixels in _pixels(scene.seed, height, width).items():
        step = transform @ transform.scale(width / pixels.shape[1])
        _write(folder / f"{band}.tif", pixels, scene.crs, step)
        assets[band] = _asset(band, pixels.shape, step)
    document = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
        "id": scene.name,
        "collection": COLLECTION,
        "geometry": json.loads(shapely.to_geojson(outline)),
        "bbox": list(outline.bounds),
        "properties": {
            "platform": "sentinel-2",
            "instruments": ["msi"],
            "constellation": "sentinel-2",
            "gsd": 10,
            "proj:code": scene.crs,
            "datetime": scene.when,
        },
        "links": [],
        "assets": assets,
    }
    (folder / "item.json").write_text(json.dumps(document))
    return document


def _asset(band, shape, transform):
    return {
        "href": f"./{band}.tif",
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "roles": ["data", "reflectance"],
        "eo:bands": [{"name": band, "common_name": BANDS[band]}],
        "proj:shape": list(shape),
        "proj:transform": list(transform)[:6],
        "raster:bands": [{"data_type": "uint16", "nodata": 0, "scale": 0.0001, "offset": 0}],
    }


def _write(path, pixels, crs, transform):
    rows, columns = pixels.shape
    profile = {
        "driver": "COG",
        "crs": crs,
        "transform": transform,
        "height": rows,
        "width": columns,
        "blocksize": 256,
    }
    with rasterio.open(path, "w", **profile, count=1, dtype="uint16", nodata=0, compress="deflate") as file:
        file.write(pixels, 1)


def _pixels(seed, height, width):
    """Digital numbers of every band, reflectance x 10000; the coarse bands are means of four pixels."""
    rng, shape = np.random.default_rng(seed), (height, width)
    surface = np.argmax([_field(rng, shape, 40) + 0.4 * _field(rng, shape, 9) for _ in SPECTRA], axis=0)
    for _ in range(60):  # fields and roofs, with straight edges
        row, column = rng.integers(height), rng.integers(width)
        rows, columns = rng.integers(4, 40, 2)
        surface[row : row + rows, column : column + columns] = rng.integers(len(SPECTRA))
    brightness = 1 + 0.12 * _field(rng, shape, 25) + 0.04 * rng.normal(size=shape)
    no_data = _no_data((height // 2, width // 2))
    pixels = {}
    for number, band in enumerate(BANDS):
        spectrum = np.array([values[number] for values in SPECTRA.values()], float)
        values = spectrum[surface] * brightness * (1 + 0.03 * rng.normal(size=shape))
        if band in FINE:
            hidden = no_data.repeat(2, axis=0).repeat(2, axis=1)
        else:
            values, hidden = values.reshape(height // 2, 2, width // 2, 2).mean(axis=(1, 3)), no_data
        pixels[band] = np.where(hidden, 0, np.clip(np.rint(values), 1, 10000)).astype(np.uint16)
    return pixels


def _field(rng, shape, cell):
    """A smooth random field: normal numbers a cell of pixels, interpolated with level tangents."""
    knots = rng.normal(size=[side // cell + 2 for side in shape])
    (row, down), (column, right) = (_weights(side, cell) for side in shape)
    down = down[:, np.newaxis]
    upper = knots[row][:, column] * (1 - right) + knots[row][:, column + 1] * right
    lower = knots[row + 1][:, column] * (1 - right) + knots[row + 1][:, column + 1] * right
    return upper * (1 - down) + lower * down


def _weights(side, cell):
    """The knot before each pixel, and the weight of the next one."""
    whole, rest = np.divmod(np.arange(side) / cell, 1)
    return whole.astype(int), rest * rest * (3 - 2 * rest)


def _no_data(shape):
    """The frame and the cut corner, on the grid of 20 m."""
    mask = np.ones(shape, bool)
    mask[FRAME:-FRAME, FRAME:-FRAME] = False
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return mask | (rows + columns < CORNER)
