"""Global rasters in degrees under grids that cross their seam, or a pole: as if there were none."""

from dataclasses import replace

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from eopipe.cube.estimate import estimate_reads
from eopipe.cube.reader import TileReader
from eopipe.cube.scenes import AssetRef
from eopipe.grid import Grid, PixelBox
from tests.cube.helpers import scene, settings

LEFT = {"-180..180": -180.0, "0..360": 0.0}


def field(lon, lat):
    """DN as a smooth function of position, the same at longitudes a turn apart."""
    return 3000 + 1000 * np.sin(np.radians(lon)) + 500 * np.cos(np.radians(3 * lon)) + 10 * lat


def globe(path, left, res=0.1, *, repeated=False, overviews=(), **profile):
    """A global GeoTIFF of :func:`field`; ``repeated``: the first column stands on the right edge again."""
    width, height = round(360 / res) + repeated, round(180 / res)
    lon, lat = left + (np.arange(width) + 0.5) * res, 90 - (np.arange(height) + 0.5) * res
    data = np.rint(field(lon[None, :], lat[:, None])).astype("uint16")
    shape = {"width": width, "height": height, "count": 1, "dtype": "uint16", "nodata": 0, "crs": "EPSG:4326"}
    options = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", **profile}
    with rasterio.open(
        path, "w", driver="GTiff", transform=from_origin(left, 90, res, res), **shape, **options
    ) as file:
        file.write(data, 1)
        if overviews:
            file.build_overviews(list(overviews), Resampling.average)
    return AssetRef(str(path), scale=1e-4, nodata=0)


def positions(grid, box):
    """Longitude and latitude of a box's pixel centres."""
    x = (np.arange(box.col0, box.col1) + 0.5) * grid.resolution
    y = -(np.arange(box.row0, box.row1) + 0.5) * grid.resolution
    return Transformer.from_crs(grid.crs, "EPSG:4326", always_xy=True).transform(*np.meshgrid(x, y))


def read(ref, grid, box):
    with TileReader([[scene(blue=ref)]], settings(grid)) as reader:
        return reader.read(box)


def around(grid, lon, lat, rows=300, cols=300):
    x, y = Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(lon, lat)
    row, col = int(-y // grid.resolution), int(x // grid.resolution)
    return PixelBox(row - rows // 2, col - cols // 2, row + rows // 2, col + cols // 2)


CASES = {
    "Fiji, Pacific Mercator": ("EPSG:3832", 1000.0, 180.0, -17.0),
    "Fiji, UTM 60S": ("EPSG:32760", 2000.0, 180.0, -17.0),
    "London, British grid": ("EPSG:27700", 1000.0, 0.0, 51.5),
    "Chukotka, polar stereographic": ("EPSG:3995", 5000.0, 180.0, 70.0),
    "North Pole, polar stereographic": ("EPSG:3413", 10000.0, 0.0, 90.0),
    "South Pole, polar stereographic": ("EPSG:3031", 10000.0, 0.0, -90.0),
    "the globe in one cell": ("EPSG:6933", 100000.0, 0.0, 0.0),
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_grid_across_the_seam_has_the_values_of_both_sides(tmp_path, case, left):
    crs, res, lon, lat = case
    grid = Grid(crs, res)
    box = around(grid, lon, lat, 140, 320) if res == 100000.0 else around(grid, lon, lat)
    pixels = read(globe(tmp_path / "globe.tif", left), grid, box)
    lon, lat = positions(grid, box)
    inside = np.isfinite(lon) & (np.abs(lat) < 89.7)
    assert pixels.valid[0][inside].all()
    # A pixel of the file is 0.1 degrees, and the field changes by less than 6 DN on it; the reader averages up to
    # a grid pixel around a centre.
    wrong = np.abs(pixels.values[0, 0] - field(lon, lat))[inside]
    assert wrong.max() <= 6 + 40 * res / 100000.0


@pytest.mark.parametrize("case", ["Fiji, Pacific Mercator", "London, British grid"])
def test_both_conventions_give_the_same_numbers(tmp_path, case):
    """Turned by half a turn the file has no seam under the grid: what it gives there is the right value."""
    crs, res, lon, lat = CASES[case]
    grid = Grid(crs, res)
    one, other = (read(globe(tmp_path / f"{left}.tif", left), grid, around(grid, lon, lat)) for left in LEFT.values())
    assert one.valid.all()
    assert other.valid.all()
    # Coordinates a turn apart differ in their last bit, and so a value in a thousand by 1.
    assert np.abs(one.values.astype(int) - other.values).max() <= 1
    assert (one.values == other.values).mean() > 0.99


def test_a_projected_grid_agrees_with_gdals_resampling_of_an_unseamed_copy(tmp_path):
    """GDAL's warper on the same data, turned so that its edges are far away."""
    grid = Grid("EPSG:3832", 5000.0)
    box = around(grid, 180.0, -17.0)
    ours = read(globe(tmp_path / "a.tif", -180.0), grid, box).values[0, 0]
    turned, theirs = globe(tmp_path / "b.tif", 0.0), np.zeros(box.shape, "uint16")
    bounds = grid.bounds(box)
    with rasterio.open(turned.href) as file:
        rasterio.warp.reproject(
            rasterio.band(file, 1), theirs, dst_crs=grid.crs, resampling=Resampling.bilinear,
            dst_transform=from_origin(bounds[0], bounds[3], 5000.0, 5000.0), tolerance=0,
        )  # fmt: skip
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
def test_overviews_masks_and_a_repeated_column_are_seamless_too(tmp_path, left):
    grid = Grid("EPSG:3832" if left else "EPSG:27700", 50000.0)
    lon, lat = (180.0, -17.0) if left else (0.0, 51.5)
    box = around(grid, lon, lat, 20, 20)
    expected = field(*positions(grid, box))
    for number, options in enumerate(
        ({"overviews": (2, 4)}, {"repeated": True}, {"repeated": True, "overviews": (2,)})
    ):
        pixels = read(globe(tmp_path / f"{number}.tif", left, **options), grid, box)
        assert pixels.valid.all()
        assert np.abs(pixels.values[0, 0] - expected).max() < 30


def test_any_box_across_the_seam_has_the_same_bytes(tmp_path):
    grid = Grid("EPSG:3413", 10000.0)
    ref = globe(tmp_path / "a.tif", -180.0)
    box = around(grid, 0.0, 90.0)
    whole = read(ref, grid, box)
    for part in (*box.halves()[0].halves(), PixelBox(-40, -33, 61, 7)):
        some = read(ref, grid, part)
        assert (some.values == whole.values[(..., *part.slices(box))]).all()
        assert (some.valid == whole.valid[(..., *part.slices(box))]).all()


def test_a_file_that_does_not_go_round_the_globe_ends_at_its_edges(tmp_path):
    """Two degrees are missing: what lies there is no data, not the other side."""
    ref = globe(tmp_path / "a.tif", -180.0)
    with rasterio.open(ref.href) as file:
        profile, data = file.profile, file.read(1)[:, :-20]
    with rasterio.open(tmp_path / "b.tif", "w", **{**profile, "width": 3580}) as file:
        file.write(data, 1)
    grid = Grid("EPSG:3832", 1000.0)
    box = around(grid, 179.0, -17.0)
    lon, _ = positions(grid, box)
    valid = read(replace(ref, href=str(tmp_path / "b.tif")), grid, box).valid[0]
    assert not valid[(lon > 178.1) & (lon < 179.9)].any()
    assert valid[(lon < 177.9) & (lon > 0)].all()


def test_the_estimate_counts_the_blocks_of_both_edges(tmp_path):
    grid = Grid("EPSG:3832", 1000.0)
    ref = globe(tmp_path / "a.tif", -180.0)
    box = around(grid, 180.0, -17.0)
    with TileReader([[scene(blue=ref)]], settings(grid)) as reader:
        reader.read(box)
        read_bytes = reader.stats.bytes_read
    reads = estimate_reads([(box, [0])], lambda rows: [scene(blue=ref)] * len(rows), settings(grid))
    header = 32768
    assert abs(reads.bytes - header - read_bytes) <= 0.05 * read_bytes
