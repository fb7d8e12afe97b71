"""Pixels are a function of the absolute pixel: any box gives the same bytes; and they are the right ones."""

from itertools import pairwise

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pyproj import Transformer

from eopipe.cube.composite import network
from eopipe.cube.reader import TileReader, columns, memory
from eopipe.cube.scenes import AssetRef
from eopipe.errors import TileFault
from eopipe.grid import Grid, PixelBox
from eopipe.spec import MaskSpec
from tests.cube.helpers import (
    BANDS,
    mosaic_cog,
    oscd,
    pisa_box,
    scene,
    settings,
    warped_pisa,
    write_tif,
)  # fmt: skip
from tests.support.paths import needs_shared, shared

pytestmark = needs_shared
UTM = Grid("EPSG:32632", 10.0)
UTM33 = Grid("EPSG:32633", 10.0)


def read(scenes, box, chosen):
    with TileReader(scenes, chosen) as reader:
        return reader.read(box)


def same(one, other):
    return all(np.array_equal(getattr(one, n), getattr(other, n)) for n in ("values", "valid", "observations"))


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Scenes that must be reprojected or reduced: lon/lat to UTM 32, UTM 32 to UTM 33, 20 m, overviews, a mask."""
    folder = tmp_path_factory.mktemp("cases")
    epochs = [[oscd("S2_pisa_20150704")], [oscd("S2_pisa_20180211")]]
    rng = np.random.default_rng(3)
    mask = write_tif(folder / "scl.tif", rng.choice([4, 4, 4, 4, 9, 3, 0], (500, 400)).astype("uint8"),
                     origin=(610000.0, 4846000.0), res=20.0)  # fmt: skip
    warped = [
        scene("a", 1, blue=warped_pisa(folder, "EPSG:32632"), mask=mask),
        scene("b", 2, blue=warped_pisa(folder, "EPSG:32632", "S2_pisa_20180211"), mask=mask),
        scene("c", 3, blue=warped_pisa(folder, "EPSG:3035"), mask=mask),
    ]
    mosaic_cog(folder / "big.tif", "B02", 2048, 10.0)
    coarse = Grid("EPSG:32633", 45.0)
    big = Transformer.from_crs(32632, 32633, always_xy=True).transform_bounds(600070, 4879490, 620550, 4899970)
    masked = {"mask": MaskSpec(band="scl", dilate=3)}
    return {
        "lon/lat to UTM 32, two epochs": (epochs, pisa_box(UTM), settings(UTM, BANDS)),
        "UTM 32 to 33, median, mask": ([warped], pisa_box(UTM33), settings(UTM33, **masked)),
        "UTM 32 to 33, least cloudy": ([warped], pisa_box(UTM33), settings(UTM33, composite="least-cloudy")),
        "overviews": (
            [[scene(blue=AssetRef(str(folder / "big.tif"), nodata=0))]], coarse.box_of(*big), settings(coarse),
        ),
    }  # fmt: skip


NAMES = ("lon/lat to UTM 32, two epochs", "UTM 32 to 33, median, mask", "UTM 32 to 33, least cloudy", "overviews")


@pytest.mark.parametrize("name", NAMES)
def test_any_box_has_the_same_bytes(cases, name):
    scenes, whole, chosen = cases[name]
    truth = read(scenes, whole.pad(30), chosen)
    assert truth.valid.any()
    assert not truth.valid.all()

    @given(
        row=st.integers(-30, whole.shape[0] + 20), col=st.integers(-30, whole.shape[1] + 20),
        height=st.integers(1, 700), width=st.integers(1, 700),
    )  # fmt: skip
    @hypothesis_settings(max_examples=15, deadline=None)
    def check(row, col, height, width):
        box = PixelBox(whole.row0 + row, whole.col0 + col, whole.row0 + row + height, whole.col0 + col + width)
        box &= whole.pad(30)
        assert same(read(scenes, box, chosen), truth[box.slices(whole.pad(30))])

    check()


@pytest.mark.parametrize("name", NAMES)
def test_strips_columns_threads_and_prefetch_change_nothing(cases, name):
    scenes, whole, chosen = cases[name]
    truth = read(scenes, whole, chosen)
    narrow = settings(chosen.grid, chosen.bands, composite=chosen.composite, mask=chosen.mask, threads=1,
                      stack_bytes=1, max_open=1)  # fmt: skip
    with TileReader(scenes, narrow) as reader:
        boxes = [
            PixelBox(r - 24, whole.col0, r + 524, whole.col1) & whole for r in range(whole.row0, whole.row1, 500)
        ]
        for number, box in enumerate(boxes):
            found = reader.read(box)
            if number + 1 < len(boxes):
                reader.prefetch(boxes[number + 1])
            assert same(found, truth[box.slices(whole)])


def test_what_two_strips_share_is_read_once(cases):
    scenes, whole, chosen = cases["lon/lat to UTM 32, two epochs"]
    with TileReader(scenes, chosen) as reader:
        reader.read(PixelBox(whole.row0, whole.col0, whole.row0 + 300, whole.col1))
        once = reader.stats.reads
        reader.read(PixelBox(whole.row0 + 10, whole.col0 + 5, whole.row0 + 300, whole.col1 - 5))
        assert reader.stats.reads == once
        assert reader.stats.opens == 18
        assert 0 < reader.stats.bytes_read <= 7_900_000


def test_bilinear_is_the_textbooks():
    box = pisa_box(UTM)
    with rasterio.open(shared() / "data/sentinel2-oscd/S2_pisa_20150704/B02.tif") as file:
        source, inverse = file.read(1).astype(float), ~file.transform
    x, y = np.meshgrid((np.arange(box.col0, box.col1) + 0.5) * 10, -(np.arange(box.row0, box.row1) + 0.5) * 10)
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(x, y)
    col, row = inverse.a * lon + inverse.c - 0.5, inverse.e * lat + inverse.f - 0.5
    inside = (row > 0) & (col > 0) & (row < source.shape[0] - 1.001) & (col < source.shape[1] - 1.001)
    i, j = np.floor(row[inside]).astype(int), np.floor(col[inside]).astype(int)
    b, d = row[inside] - i, col[inside] - j
    exact = (source[i, j] * (1 - d) + source[i, j + 1] * d) * (1 - b) + (
        source[i + 1, j] * (1 - d) + source[i + 1, j + 1] * d
    ) * b
    found = read([[oscd("S2_pisa_20150704", ("blue",))]], box, settings(UTM)).values[0, 0][inside]
    off = np.abs(found - exact)
    assert off.max() < 2.5  # 1/1024 of a pixel beside a roof
    assert (off <= 0.6).mean() > 0.98


def test_an_aligned_source_is_copied(tmp_path):
    data = np.random.default_rng(1).integers(0, 4000, (700, 600)).astype("uint16")
    ref = write_tif(tmp_path / "a.tif", data)
    box = PixelBox(-485003, 59990, -484250, 60610)
    found = read([[scene(blue=ref)]], box, settings(UTM))
    inner = found[slice(3, 703), slice(10, 610)]
    assert np.array_equal(inner.values[0, 0], data)
    assert np.array_equal(inner.valid[0], data > 0)
    assert found.valid.sum() == (data > 0).sum()


def test_no_data_does_not_bleed_and_a_pixel_needs_its_nearest_source(tmp_path):
    data = np.full((64, 64), 1000, "uint16")
    data[20:30, 20:30] = 0
    ref = write_tif(tmp_path / "a.tif", data, res=20.0)
    box = PixelBox(-485000, 60000, -485000 + 128, 60128)
    found = read([[scene(blue=ref)]], box, settings(UTM))
    assert set(np.unique(found.values)) == {0, 1000}
    assert (~found.valid).sum() == 400
    assert not found.valid[0, 40:60, 40:60].any()


def test_a_pixel_is_valid_where_all_bands_have_data(tmp_path):
    one, two = np.full((64, 64), 7, "uint16"), np.full((64, 64), 9, "uint16")
    one[:5], two[:, :5] = 0, 0
    sources = {"blue": write_tif(tmp_path / "1.tif", one), "red": write_tif(tmp_path / "2.tif", two)}
    found = read([[scene(**sources)]], PixelBox(-485000, 60000, -484936, 60064), settings(UTM, ("blue", "red")))
    assert not found.valid[0, :5].any()
    assert not found.valid[0, :, :5].any()
    assert found.valid[0, 5:, 5:].all()
    assert (found.values[0, :, :5] == 0).all()


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stack")
    data = np.random.default_rng(5).integers(0, 60, (7, 2, 64, 64)).astype("uint16") * 100
    scenes = [
        scene(str(n), n + 1, None, (50.0, None, 5.0, 20.0, 5.0, 90.0, 7.0)[n],
              blue=write_tif(folder / f"{n}b.tif", data[n, 0]), red=write_tif(folder / f"{n}r.tif", data[n, 1]))
        for n in range(7)
    ]  # fmt: skip
    return data, scenes


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7])
def test_median_of_the_valid_scenes_with_halves_up(stack, count):
    data, scenes = stack[0][:count], stack[1][:count]
    found = read([scenes], PixelBox(-485000, 60000, -484936, 60064), settings(UTM, ("blue", "red")))
    for y, x in np.ndindex(64, 64):
        good = [s for s in range(count) if data[s, :, y, x].all()]
        assert found.observations[0, y, x] == len(good)
        for b in range(2):
            ordered = sorted(int(data[s, b, y, x]) for s in good)
            n = len(ordered)
            want = (ordered[(n - 1) // 2] + ordered[n // 2] + 1) // 2 if n else 0
            assert found.values[0, b, y, x] == want


@pytest.mark.parametrize(("composite", "order"), [("first", range(7)), ("least-cloudy", (2, 4, 6, 3, 0, 5, 1))])
def test_first_valid_scene_in_order(stack, composite, order):
    data, scenes = stack
    found = read([scenes], PixelBox(-485000, 60000, -484936, 60064),
                 settings(UTM, ("blue", "red"), composite=composite))  # fmt: skip
    for y, x in np.ndindex(64, 64):
        best = next((s for s in order if data[s, :, y, x].all()), None)
        want = [0, 0] if best is None else data[best, :, y, x].tolist()
        assert found.values[0, :, y, x].tolist() == want


@pytest.mark.parametrize("count", range(1, 40))
def test_the_network_sorts(count):
    values = np.random.default_rng(count).integers(0, 9, (count, 200))
    for low, high in network(count):
        pair = values[[low, high]]
        values[low], values[high] = pair.min(0), pair.max(0)
    assert (np.diff(values, axis=0) >= 0).all()


def test_dilation_grows_what_is_dropped_and_not_the_fill(tmp_path):
    codes = np.full((64, 64), 4, "uint8")
    codes[30, 30], codes[10, 10] = 9, 0
    mask = write_tif(tmp_path / "m.tif", codes)
    blue = write_tif(tmp_path / "b.tif", np.full((64, 64), 5, "uint16"))
    chosen = settings(UTM, mask=MaskSpec(band="scl", dilate=2))
    found = read([[scene(blue=blue, mask=mask)]], PixelBox(-485000, 60000, -484936, 60064), chosen)
    assert np.argwhere(~found.valid[0]).min(0).tolist() == [10, 10]
    assert (~found.valid[0]).sum() == 25 + 1
    assert not found.valid[0, 28:33, 28:33].any()


def test_an_epoch_without_scenes_is_empty(tmp_path):
    blue = write_tif(tmp_path / "b.tif", np.full((64, 64), 5, "uint16"))
    found = read([[scene(blue=blue)], []], PixelBox(-485000, 60000, -484936, 60064), settings(UTM))
    assert found.valid[0].all()
    assert not found.valid[1].any()


def test_naip_of_four_bands_is_opened_once():
    path = shared() / "data/stac_raster/naip_item/m_3211605_ne_11_060_20200415.tif"
    refs = {name: AssetRef(str(path), n, 1 / 255) for n, name in enumerate(("red", "green", "blue", "nir"), 1)}
    with rasterio.open(path) as file:
        bounds, first = file.bounds, file.read(1)
    grid = Grid("EPSG:26911", 0.6)
    with TileReader([[scene(**refs)]], settings(grid, tuple(refs))) as reader:
        found = reader.read(grid.box_of(*bounds))
        assert reader.stats.opens == 1
    assert abs(float(found.values[0, 0][found.valid[0]].mean()) - first.mean() / 255 * 10000) < 60
    coarse = Grid("EPSG:26911", 10.0)  # 17 times coarser, no overviews: the triangle is widened
    averaged = read([[scene(**refs)]], coarse.box_of(*bounds), settings(coarse, tuple(refs)))
    assert abs(float(averaged.values[0, 0][averaged.valid[0]].mean()) - first.mean() / 255 * 10000) < 120
    assert averaged.values[0, 0][averaged.valid[0]].std() < found.values[0, 0][found.valid[0]].std()


def test_a_files_own_mask_and_types_are_respected(tmp_path):
    data = np.full((64, 64), 300, "int16")
    data[:3] = -999
    ref = write_tif(tmp_path / "i.tif", data, dtype="int16", nodata=-999)
    plain = AssetRef(ref.href)
    found = read([[scene(blue=plain)]], PixelBox(-485000, 60000, -484936, 60064), settings(UTM))
    assert (~found.valid[0]).sum() == 3 * 64
    assert set(np.unique(found.values)) == {0, 300}
    floats = np.where(data < 0, np.nan, 0.25).astype("float32")
    write_tif(tmp_path / "f.tif", floats)
    found = read([[scene(blue=AssetRef(str(tmp_path / "f.tif"), scale=1.0))]],
                 PixelBox(-485003, 60000, -484936, 60064), settings(Grid("EPSG:32632", 10.0)))  # fmt: skip
    assert set(np.unique(found.values)) == {0, 2500}


def test_a_file_with_ground_control_points_only_is_refused():
    path = shared() / "data/sar/s1_grd_gcp_cog/cog_gcps.tif"
    with pytest.raises(TileFault, match="only ground control points; warp it"):
        read([[scene(blue=AssetRef(str(path)))]], PixelBox(0, 0, 10, 10), settings(UTM))


def test_a_bucket_that_charges_is_refused_before_anything_is_opened():
    paid = AssetRef("s3://usgs-landsat/x.tif", requester_pays=True)
    with pytest.raises(TileFault, match="requester_pays: true") as fault:
        read([[scene(blue=paid)]], PixelBox(0, 0, 10, 10), settings(UTM))
    assert fault.value.reason == "read.requester_pays"


def test_the_antimeridian_is_no_edge(tmp_path):
    """Derived: a lon/lat raster of 179.9 to 180.1 read on a UTM 60 grid on both sides of 180 degrees."""
    data = np.tile(np.arange(1, 201, dtype="uint16") * 10, (200, 1))
    ref = write_tif(tmp_path / "lonlat.tif", data, crs="EPSG:4326", origin=(179.9, -17.0), res=0.001)
    grid = Grid("EPSG:32760", 100.0)
    box = grid.box_of(*Transformer.from_crs(4326, 32760, always_xy=True).transform_bounds(179.9, -17.2, 180.1, -17.0))
    found = read([[scene(blue=ref)]], box, settings(grid))
    middle = found.values[0, 0, box.shape[0] // 2]
    assert found.valid[0, box.shape[0] // 2, 5:-5].all()
    assert (np.diff(middle[5:-5].astype(int)) >= 0).all()


def test_columns_cover_the_box_once_and_memory_grows_with_scenes():
    box = PixelBox(0, 100, 560, 4300)
    parts = columns(box, 40, settings(UTM, BANDS))
    assert (parts[0].col0, parts[-1].col1) == (100, 4300)
    assert all(a.col1 == b.col0 and b.col0 % 512 == 0 for a, b in pairwise(parts))
    assert memory((560, 4144), 40, 9) > memory((560, 4144), 2, 9) > 0
