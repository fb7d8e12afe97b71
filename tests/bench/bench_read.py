"""Reading: ours against odc.stac.load and rasterio's reproject, a cell of 9 bands; medians against np.nanmedian.

Run with ``python -m tests.bench.bench_read``; prints one line a figure, milliseconds a cell and scene.
"""

import json
import time
import warnings

import numpy as np
import odc.stac
import pystac
import rasterio
from rasterio.warp import Resampling, reproject

from eopipe.cube.composite import combine
from eopipe.cube.gdal_settings import gdal_worker_env
from eopipe.cube.reader import TileReader
from eopipe.grid import CELL, Grid, PixelBox
from tests.cube.helpers import BANDS, oscd, oscd_item, pisa_box, settings

NAMES = ("S2_pisa_20150704", "S2_pisa_20180211")
CODES = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12")
GRID = Grid("EPSG:32632", 10.0)


def cells() -> list[PixelBox]:
    """The whole cells that lie around Pisa."""
    return list(pisa_box(GRID).blocks(CELL))


def best(action, rounds: int = 5) -> float:
    """Shortest time of some, in seconds: the machine's other work only ever adds."""
    action()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def ours(threads: int) -> float:
    """All cells by TileReader, files opened once."""
    scenes = [[oscd(name)] for name in NAMES]

    def action() -> None:
        with TileReader(scenes, settings(GRID, BANDS, threads=threads)) as reader:
            for cell in cells():
                reader.read(cell)

    return best(action) / len(cells()) / len(NAMES)


def odc_load() -> float:
    """All cells by odc.stac.load with chunks=None, the STAC items parsed beforehand."""
    items = []
    for name in NAMES:
        item = pystac.Item.from_dict(json.loads(json.dumps(oscd_item(name))))
        item.make_asset_hrefs_absolute()
        items.append(item)

    def action() -> None:
        for cell in cells():
            odc.stac.load(items, bands=list(CODES), geobox=GRID.geobox(cell), resampling="bilinear", chunks=None,
                          nodata=0, dtype="uint16")  # fmt: skip

    return best(action, 3) / len(cells()) / len(NAMES)


def warp(tolerance: float) -> float:
    """All cells by rasterio.warp.reproject, files opened once."""
    files = [rasterio.open(oscd(name).bands[band].href) for name in NAMES for band in BANDS]

    def action() -> None:
        out = np.zeros((CELL, CELL), "uint16")
        for cell in cells():
            for file in files:
                reproject(
                    rasterio.band(file, 1),
                    out,
                    dst_transform=GRID.geobox(cell).transform,
                    dst_crs=GRID.crs,
                    src_nodata=0,
                    dst_nodata=0,
                    resampling=Resampling.bilinear,
                    tolerance=tolerance,
                )

    return best(action, 3) / len(cells()) / len(NAMES)


def medians(scenes: int) -> tuple[float, float]:
    """Seconds of a cell of 9 bands: ours, np.nanmedian."""
    stack = np.random.default_rng(0).integers(1, 9000, (scenes, 9, CELL, CELL)).astype("uint16")
    stack[:, :, ::3] = 65535
    floats = np.where(stack == 65535, np.nan, stack).astype("float32")
    values, valid = np.empty((9, CELL, CELL), "uint16"), np.empty((CELL, CELL), bool)
    counts = np.empty((CELL, CELL), "uint8")

    def action() -> None:
        combine(stack, None, range(scenes), median=True, values=values, valid=valid, observations=counts)

    return best(action), best(lambda: np.nanmedian(floats, axis=0), 1)


def main() -> None:
    """Print the table."""
    warnings.simplefilter("ignore")
    gdal_worker_env(682 * 2**20)
    one = ours(1)
    for name, seconds in (
        ("TileReader, 1 thread", one), ("TileReader, 2 threads", ours(2)), ("odc.stac.load(chunks=None)", odc_load()),
        ("rasterio reproject, default tolerance", warp(0.125)), ("rasterio reproject, exact", warp(0.0)),
    ):  # fmt: skip
        print(f"{name:42} {seconds * 1e3:8.1f} ms a cell, scene and 9 bands ({seconds / one:.1f} x)")
    for scenes in (2, 6, 20):
        mine, numpys = medians(scenes)
        print(f"median of {scenes:2} scenes{'':25} {mine * 1e3:8.1f} ms, np.nanmedian {numpys / mine:.0f} x as long")


if __name__ == "__main__":
    main()
