"""Invariant 5: bytes and requests within 10 % of what the server counts, on runs of at least 64 tiles."""

import shutil
import time
from datetime import UTC, datetime

import pytest
from pyproj import Transformer

from eopipe.cube import estimate, file_layout
from eopipe.cube.estimate import estimate_reads
from eopipe.cube.gdal_settings import worker_settings
from eopipe.cube.reader import TileReader
from eopipe.cube.scenes import AssetRef, Scene
from eopipe.grid import Grid, PixelBox
from eopipe.spec import MaskSpec
from tests.cube.helpers import mosaic_cog, settings
from tests.support.http_files import serve
from tests.support.paths import needs_shared

pytestmark = needs_shared
HALO = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Derived COGs of real texture: two bands on a 20 m grid and one on 40 m, of two dates."""
    folder = tmp_path_factory.mktemp("served")
    mosaic_cog(folder / "fine.tif", "B02", 1024, 20.0, block=128)
    mosaic_cog(folder / "coarse.tif", "B05", 512, 40.0, block=128)
    for day in (1, 2):
        for band, source in (("blue", "fine"), ("red", "fine"), ("rededge1", "coarse")):
            shutil.copy(folder / f"{source}.tif", folder / f"{band}{day}.tif")
    return folder


@pytest.fixture
def served(folder):
    """A new port each time: GDAL's caches of another test know nothing of it."""
    with serve(folder) as server:
        yield server


BANDS = ("blue", "red", "rededge1")


def scenes(base, mask, bands):
    return [
        Scene(str(day), "c", datetime(2020, 1, day, tzinfo=UTC), "L2A",
              {band: AssetRef(f"{base}/{band}{day}.tif", nodata=0, file_size=100) for band in bands},
              AssetRef(f"{base}/rededge1{day}.tif") if mask else None)
        for day in (1, 2)
    ]  # fmt: skip


def run(server, crs, resolution, tile, mask=None, bands=BANDS):
    grid = Grid(crs, resolution)
    chosen = settings(grid, bands, mask=mask)
    bounds = Transformer.from_crs(32632, crs, always_xy=True).transform_bounds(600070, 4879490, 620550, 4899970)
    tiles = list(grid.box_of(*bounds).blocks(tile))[:70]
    planned = scenes(server.url, mask, bands)
    boxes = [(box.pad(HALO), [0, 1]) for box in tiles]
    plan = estimate_reads(boxes, lambda rows: [planned[row] for row in rows], chosen)
    time.sleep(0.2)
    server.reset()
    # Another name for the same server: the plan's own reading must not warm the run's caches.
    found = scenes(server.url.replace("127.0.0.1", "localhost"), mask, bands)
    for box in tiles:
        with TileReader([found], chosen) as reader:
            for row in range(box.row0, box.row1, 512):
                reader.read(PixelBox(row - HALO, box.col0 - HALO, row + 512 + HALO, box.col1 + HALO))
    time.sleep(0.3)
    return len(tiles), plan, len(server.log), server.bytes_sent()


@pytest.mark.parametrize(
    ("crs", "resolution", "tile", "mask", "bands"),
    [
        ("EPSG:32632", 5.0, 512, None, BANDS),
        pytest.param("EPSG:32633", 5.0, 512, MaskSpec(band="scl", dilate=8), BANDS, marks=pytest.mark.slow),
        pytest.param("EPSG:32632", 2.5, 1024, None, ("blue",), marks=pytest.mark.slow),
    ],
)
def test_the_plan_is_what_the_server_counts(served, monkeypatch, crs, resolution, tile, mask, bands):
    for name, value in worker_settings(682 * 2**20).items():
        monkeypatch.setenv(name, value)
    tiles, plan, requests, sent = run(served, crs, resolution, tile, mask, bands)
    assert tiles >= 64
    assert plan.bytes == pytest.approx(sent, rel=0.10)
    assert plan.requests == pytest.approx(requests, rel=0.10)


@pytest.mark.slow
def test_a_sample_of_many_tiles_and_few_headers_still_fits(served, monkeypatch):
    for name, value in worker_settings(682 * 2**20).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(estimate, "TILES", 50)
    monkeypatch.setattr(estimate, "_WORK", 0)
    monkeypatch.setattr(file_layout, "HEADERS", 3)
    tiles, plan, requests, sent = run(served, "EPSG:32633", 5.0, 512)
    assert (plan.tiles, plan.headers) == (50, 3)
    assert tiles >= 64
    assert plan.bytes == pytest.approx(sent, rel=0.10)
    assert plan.requests == pytest.approx(requests, rel=0.10)


def test_local_files_make_no_requests(served):
    grid = Grid("EPSG:32632", 10.0)
    scene = Scene(
        "a", "c", datetime(2020, 1, 1, tzinfo=UTC), None, {"blue": AssetRef(str(served.folder / "fine.tif"))}
    )
    box = grid.box_of(600070, 4879490, 620550, 4899970)
    plan = estimate_reads([(box, [0])], lambda _: [scene], settings(grid))
    with TileReader([[scene]], settings(grid)) as reader:
        reader.read(box)
        assert plan.bytes == pytest.approx(reader.stats.bytes_read, rel=0.05)
    assert plan.requests == 0


def test_a_file_that_cannot_be_read_does_not_stop_the_plan(served):
    grid = Grid("EPSG:32632", 10.0)
    gone = AssetRef(f"{served.url}/gone.tif")
    scene = Scene("a", "c", datetime(2020, 1, 1, tzinfo=UTC), None, {"blue": gone})
    plan = estimate_reads([(PixelBox(0, 0, 512, 512), [0])], lambda _: [scene], settings(grid))
    assert (plan.bytes, plan.headers) == (0, 1)
    assert estimate_reads([], lambda _: [], settings(grid)).bytes == 0
