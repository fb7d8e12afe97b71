"""SAR: units are told, codes are decibels, means are of power, and any box gives the same bytes."""

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject

from eopipe.cube.cube import open_cube
from eopipe.cube.item_scenes import resolve_scene
from eopipe.cube.radiometry import INVALID
from eopipe.cube.reader import TileReader
from eopipe.cube.sar import check_source, decibels, encode, mean_power, modality_of, power_tables, warnings_of
from eopipe.cube.scenes import AssetRef
from eopipe.engine.work.strips import Sink, map_box
from eopipe.errors import ItemError, SpecError, TileFault
from eopipe.grid import Grid, PixelBox
from eopipe.kernelinfo import Inputs, KernelInfo, Window
from eopipe.kernels.protocol import Result
from eopipe.spec import SarSpec, SourceSpec
from eopipe.stac.search import search
from tests.cube.helpers import item, items, scene, settings, write_tif
from tests.support.paths import needs_shared, shared
from tests.support.sar import AREA, UTM, chip, flood_catalog, flood_item
from tests.support.stac_items import spec_for

pytestmark = [
    needs_shared,
    # odc-geo multiplies affines with *, which affine 3 deprecates
    pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning"),
]
GRID = Grid(UTM, 10.0)
BANDS = ("vv", "vh")
HERE = PixelBox(-485000, 60000, -484936, 60064)
"""Where ``write_tif`` puts a file of 64 pixels, on a grid of EPSG:32632."""


def read(scenes, box, chosen):
    with TileReader(scenes, chosen) as reader:
        return reader.read(box)


def code(value):
    """Code of decibels."""
    return round((value + 128) * 256)


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    spec, area = spec_for(flood_catalog(tmp_path_factory.mktemp("flood")), AREA)
    snapshot = search(spec.source, area, datetime.now(UTC))[0]
    return open_cube(snapshot, area=AREA, bands=BANDS, modality="sar", chunk=512)


@pytest.fixture(scope="module")
def flood(cube):
    """The chip on the grid: decibels, validity, and the hand-made labels by GDAL."""
    pixels = read(cube.scenes(cube.box, BANDS), cube.box, cube.settings)
    labels = np.full(cube.box.shape, -1, "int16")
    with rasterio.open(chip("Label")) as file:
        reproject(rasterio.band(file, 1), labels, **place(cube.box), src_nodata=-1, dst_nodata=-1)
    return pixels.for_kernel("sar")[0], pixels.valid[0], labels


def place(box):
    return {"dst_crs": UTM, "dst_transform": from_origin(box.col0 * 10, -box.row0 * 10, 10, 10)}


def test_codes_are_decibels_whatever_the_unit():
    wanted = np.array([[-30.0, -12.34, 0.0, 7.5]])
    power = 10 ** (wanted / 10)
    codes = encode(wanted, "dB")
    assert np.array_equal(codes, encode(power, "power"))
    assert np.array_equal(codes, encode(np.sqrt(power).astype("float32"), "amplitude"))
    assert np.abs(decibels(codes) - wanted).max() <= 1 / 512
    assert decibels(codes).dtype == np.float32
    assert np.array_equal(codes, encode((wanted * 100).round().astype("int16"), "dB", scale=0.01))
    assert np.array_equal(codes - 83 * 256, encode(power, "power", decibels=-83.0))


@pytest.mark.parametrize(
    ("unit", "values"),
    [
        ("dB", [np.nan, -np.inf, np.inf, -9999.0, 128.0]),
        ("power", [np.nan, -32768.0, 0.0, -1e-6, np.inf]),
        ("amplitude", [np.nan, 0.0, -3.0, np.inf, 1e-8]),
    ],
)
def test_what_has_no_decibels_is_no_data(unit, values):
    assert (encode(np.array([values], "float32"), unit) == INVALID).all()


def test_stated_no_data():
    assert encode(np.array([[5, 7]], "uint16"), "amplitude", nodata=5).tolist() == [[INVALID, code(20 * np.log10(7))]]
    lowest = np.array([[-3.4028234663852886e38, -7.0]], "float32")
    assert encode(lowest, "dB", nodata=-3.4028235e38).tolist() == [[INVALID, code(-7)]]


def test_the_table_is_exact_and_every_code_is_its_own():
    power, edges = power_tables()
    assert power[128 * 256] == 1.0
    for decibel in (-120, -30, 10, 120):
        assert power[code(decibel)] == float(Fraction(10) ** (decibel // 10))
    assert (power[:-1] < edges).all()
    assert (edges < power[1:]).all()
    assert np.array_equal(encode(power[None], "power")[0], np.arange(65535))
    assert np.array_equal(encode(edges[None], "power")[0], np.arange(1, 65535))
    assert np.array_equal(encode(np.nextafter(edges, 0)[None], "power")[0], np.arange(65534))


def test_the_flood_is_dark_where_people_saw_water(flood):
    values, valid, labels = flood
    water, land = (values[0][valid & (labels == kind)] for kind in (1, 0))
    assert water.size > 17_000
    assert -16.5 < water.mean() < -14.5
    assert -9.5 < land.mean() < -8.5
    dark = values[0] < -13
    assert (dark[valid] == (labels == 1)[valid]).mean() > 0.85


def test_resampling_agrees_with_gdal_in_power_and_not_in_decibels(flood, cube):
    values, valid, _ = flood
    # XSCALE: GDAL would widen its triangle for a source 1.27 times finer, this reader from 4/3 on.
    how = {**place(cube.box), "resampling": Resampling.bilinear, "tolerance": 0, "XSCALE": 1, "YSCALE": 1}
    with rasterio.open(chip()) as file:
        source = file.read().astype("float64")
        how |= {"src_crs": file.crs, "src_transform": file.transform, "src_nodata": np.nan, "dst_nodata": np.nan}
    power, plain = np.full((2, *values.shape), np.nan)
    reproject(10 ** (source / 10), power, **how)
    reproject(source, plain, **how)
    both = valid & np.isfinite(power[0])
    assert (np.isfinite(power[0]) == valid).mean() > 0.995  # GDAL and this reader differ on pixels of the very edge
    off = np.abs(values - 10 * np.log10(power))[:, both]
    assert np.median(off) < 0.01
    assert np.percentile(off, 99.9) < 0.1  # 1/1024 of a pixel beside a bright target
    assert 0.1 < (values - plain)[:, both].mean() < 0.2  # what a mean of decibels would have lost


def test_any_box_has_the_same_bytes(cube):
    whole = cube.box.pad(20)
    scenes = cube.scenes(whole, BANDS)
    truth = read(scenes, whole, cube.settings)

    @given(row=st.integers(0, 500), col=st.integers(0, 200), height=st.integers(1, 300), width=st.integers(1, 120))
    @hypothesis_settings(max_examples=15, deadline=None)
    def check(row, col, height, width):
        top, left = whole.row0 + row, whole.col0 + col
        box = PixelBox(top, left, top + height, left + width) & whole
        found = read(scenes, box, cube.settings)
        assert np.array_equal(found.values, truth[box.slices(whole)].values)
        assert np.array_equal(found.valid, truth[box.slices(whole)].valid)

    check()


def test_a_coarse_grid_averages_power_and_parts_of_a_window_cannot_be_seen(cube, monkeypatch):
    coarse = replace(cube.settings, grid=Grid(UTM, 120.0))
    box = PixelBox(*(edge // 12 for edge in (cube.box.row0, cube.box.col0, cube.box.row1, cube.box.col1)))
    scenes = cube.scenes(cube.box, BANDS)
    truth = read(scenes, box, coarse)
    inside = truth[slice(2, -2), slice(2, -2)]
    assert inside.valid.all()
    with rasterio.open(chip()) as file:
        chips = 10 * np.log10((10 ** (file.read().astype(float) / 10)).mean(axis=(1, 2)))
    ours = 10 * np.log10((10 ** (inside.for_kernel("sar")[0] / 10)).mean(axis=(1, 2)))
    assert np.abs(ours - chips).max() < 0.2  # the chip's rim is left out
    monkeypatch.setattr("eopipe.cube.windows.MOST_FULL", 3000)
    parts = read(scenes, box, coarse)
    assert np.array_equal(parts.values, truth.values)
    assert np.array_equal(parts.valid, truth.valid)


def test_resampling_is_the_textbooks_to_the_last_code():
    codes = np.random.default_rng(2).integers(20_000, 40_000, (66, 66), dtype=np.uint16)
    power = power_tables()[0][codes]
    nodes = np.arange(0, 65, 16) + 0.3125  # a shift of 5/16 of a pixel, down and to the right
    rows, cols = (np.ascontiguousarray(a) for a in np.meshgrid(nodes, nodes, indexing="ij"))
    out = np.empty((64, 64), np.uint16)
    mean_power(codes, (0, 0), rows, cols, 16, (0, 0), (1024, 1024), *power_tables(), out)
    near, far = 704.0, 320.0
    mean = near * near * power[:-1, :-1] + near * far * power[:-1, 1:]
    mean = mean + far * near * power[1:, :-1] + far * far * power[1:, 1:]
    assert np.array_equal(out, encode(mean / 2**20, "power")[:64, :64])
    # A neighbour without data takes the other way through the code: the others' weighted mean.
    codes[1, 1] = INVALID
    mean_power(codes, (0, 0), rows, cols, 16, (0, 0), (1024, 1024), *power_tables(), out)
    left = (near * near * power[0, 0] + near * far * power[0, 1] + far * near * power[1, 0]) / (2**20 - far * far)
    assert out[0, 0] == encode(np.array([[left]]), "power")[0, 0]
    assert out[1, 1] == INVALID


def test_a_hole_does_not_bleed(tmp_path):
    data = np.full((64, 64), -9.0, "float32")
    data[20:30, 20:30] = np.nan
    ref = AssetRef(write_tif(tmp_path / "a.tif", data, res=20.0).href, scale=1.0, unit="dB")
    box = PixelBox(-485000, 60000, -485000 + 128, 60128)
    found = read([[scene(vv=ref)]], box, settings(Grid("EPSG:32632", 10.0), ("vv",)))
    assert (~found.valid).sum() == 400
    assert set(np.unique(found.values)) == {0, code(-9)}
    ours = found.for_kernel("sar")
    assert ours.dtype == np.float32
    assert set(np.unique(ours)) == {-9.0, 0.0}


@pytest.mark.parametrize(("count", "wanted"), [(1, -20.0), (2, 10 * np.log10((0.01 + 1) / 2)), (3, -10.0)])
def test_the_median_of_an_even_count_is_a_mean_of_power(tmp_path, count, wanted):
    levels = (-20.0, 0.0, -10.0)[:count]
    scenes = [
        scene(str(n), n + 1, vv=AssetRef(
            write_tif(tmp_path / f"{n}.tif", np.full((64, 64), level, "float32")).href, scale=1.0, unit="dB"))
        for n, level in enumerate(levels)
    ]  # fmt: skip
    found = read([scenes], HERE, settings(Grid("EPSG:32632", 10.0), ("vv",)))
    assert set(np.unique(found.values)) == {code(wanted)}
    assert (found.observations == count).all()


@pytest.mark.parametrize(("unit", "wanted"), [("power", -20.0), ("dB", -16.0), ("amplitude", -16.0)])
def test_only_overviews_of_power_are_means_of_power(tmp_path, unit, wanted):
    """Derived: a COG whose overview says -20 dB where its pixels say -16 dB, to see which is read."""
    full = {"dB": -16.0, "power": 10**-1.6, "amplitude": 10**-0.8}[unit]
    coarse = {"dB": -20.0, "power": 0.01, "amplitude": 0.1}[unit]
    with MemoryFile() as memory:
        profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "crs": "EPSG:32632", "height": 1024,
                   "width": 1024, "transform": from_origin(600000, 4850000, 10, 10), "tiled": True,
                   "blockxsize": 256, "blockysize": 256}  # fmt: skip
        with memory.open(**profile) as file:
            file.write(np.full((1, 1024, 1024), full, "float32"))
        with memory.open() as file:
            copy(file, tmp_path / "a.tif", driver="GTiff", tiled=True)
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        file.build_overviews([4], Resampling.nearest)
    with rasterio.open(tmp_path / "a.tif", "r+", overview_level=0) as file:
        file.write(np.full((1, 256, 256), coarse, "float32"))
    ref = AssetRef(str(tmp_path / "a.tif"), scale=1.0, unit=unit)
    grid = Grid("EPSG:32632", 40.0)
    found = read([[scene(vv=ref)]], PixelBox(-121240, 15010, -121200, 15050), settings(grid, ("vv",)))
    assert found.valid.all()
    assert set(np.unique(found.values)) == {code(wanted)}


def test_a_cube_for_notebooks_is_in_decibels(cube, flood):
    values, valid, _ = flood
    data = cube.dataset
    assert data.vv.attrs["units"] == "dB"
    assert data.vv.attrs["long_name"] == "radar backscatter"
    found = data.compute(scheduler="threads")
    for number, band in enumerate(BANDS):
        assert np.array_equal(np.isfinite(found[band].values[0]), valid)
        assert np.array_equal(np.nan_to_num(found[band].values[0]), values[number])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"modality": "optical"}, "they are sar"),
        ({"bands": ("vv", "red")}, "two cubes or two runs"),
        ({"mask": "scl"}, "mean nothing for SAR"),
        ({"composite": "least-cloudy"}, "mean nothing for SAR"),
    ],
)
def test_a_cube_of_what_cannot_be(cube, bad, said):
    with pytest.raises(SpecError, match=said):
        open_cube(cube.snapshot, area=AREA, **{"bands": BANDS, **bad})


EARTH_SEARCH = "pystac-client/earthsearch_v1_s1grd_s2_20items.json"
INDIGO = "stactools-sentinel1/S1A_20200103_17RMJ_ASC.json"
POWER = SarSpec(unit="power")


def rtc():
    """A derived item like the Planetary Computer's, less what does not matter here."""
    assets = {name: {"href": f"https://example.com/{name}.rtc.tiff", "raster:bands": [{"nodata": -32768}]}
              for name in BANDS}  # fmt: skip
    return {"id": "S1A_rtc", "collection": "sentinel-1-rtc", "properties": {"datetime": "2020-01-01T00:00:00Z"},
            "assets": assets}  # fmt: skip


def test_what_a_collection_holds():
    found = resolve_scene(rtc(), BANDS).bands["vh"]
    assert (found.unit, found.scale, found.nodata, found.decibels) == ("power", 1.0, -32768.0, 0.0)
    palsar = {**rtc(), "collection": "alos-palsar-mosaic", "assets": {"HH": {"href": "/a.tif"}}}
    found = resolve_scene(palsar, ("hh",)).bands["hh"]
    assert (found.unit, found.decibels) == ("amplitude", -83.0)


def test_what_an_item_states_outranks_its_collection_and_the_spec_outranks_both():
    stated = {**rtc(), "assets": {"vv": {"href": "/a.tif", "raster:bands": [{"unit": "Decibels"}]}}}
    assert resolve_scene(stated, ("vv",)).bands["vv"].unit == "dB"
    found = resolve_scene(stated, ("vv",), sar=SarSpec(unit="amplitude", offset=-83)).bands["vv"]
    assert (found.unit, found.decibels) == ("amplitude", -83.0)


def test_bands_of_one_file_are_found_by_name():
    found = resolve_scene(flood_item(), ("vh", "vv")).bands
    assert [(ref.band_index, ref.unit) for ref in found.values()] == [(2, "dB"), (1, "dB")]


@pytest.mark.parametrize("unit", ["1", "linear", "", None])
def test_an_unknown_unit_is_never_guessed(unit):
    with pytest.raises(ItemError, match=r"source\.sar: \{unit: dB \| power \| amplitude\}"):
        resolve_scene(flood_item(unit=unit), BANDS)
    assert resolve_scene(flood_item(unit=unit), BANDS, sar=POWER).bands["vv"].unit == "power"


def test_real_items_without_a_unit_name_the_key():
    with pytest.raises(ItemError, match=r"S1A_20200103_17RMJ_ASC.*source\.sar"):
        resolve_scene(item(INDIGO), BANDS)
    found = resolve_scene(item(INDIGO), BANDS, sar=POWER).bands
    assert [ref.href.rsplit("/", 1)[1] for ref in found.values()] == ["Gamma0_VV.tif", "Gamma0_VH.tif"]


def test_grd_as_esa_ships_it_is_refused_with_the_remedy():
    grd = next(i for i in items(EARTH_SEARCH) if i["collection"] == "sentinel-1-grd" and "hh" in i["assets"])
    with pytest.raises(ItemError, match=r"annotation's table calibrates.*RTC collection.*source\.sar"):
        resolve_scene(grd, ("hh",))
    with pytest.raises(ItemError, match=r"Sentinel-1 GRD.*no asset for band 'vv'; its assets are"):
        resolve_scene(grd, ("vv",))
    path = shared() / "data/sar/s1_grd_gcp_cog/cog_gcps.tif"
    ref = AssetRef(str(path), scale=1.0, unit="amplitude")
    with pytest.raises(TileFault, match=r"only ground control points; .* terrain-corrected product"):
        read([[scene(vv=ref)]], HERE, settings(Grid("EPSG:32644", 100.0), ("vv",)))


def source(**keys):
    return SourceSpec.model_validate({"catalog": "https://example.com", **keys})


def test_what_suits_a_kernel_for_sar():
    reads = Inputs("sar", BANDS, gsd=10)
    check_source(reads, source(sar={"unit": "db"}))
    with pytest.raises(SpecError, match="is a mask of optical scenes"):
        check_source(reads, source(mask="scl"))
    with pytest.raises(SpecError, match="use median or first"):
        check_source(reads, source(composite="least-cloudy"))
    with pytest.raises(SpecError, match="this kernel reads optical scenes"):
        check_source(Inputs("optical", ("red",), gsd=10), source(sar={"unit": "dB"}))
    with pytest.raises(SpecError, match="says it reads optical"):
        check_source(Inputs("optical", BANDS, gsd=10), source())


def test_uncalibrated_amplitudes_are_said_in_the_plan():
    assert "no calibrated backscatter" in warnings_of(source(sar={"unit": "amplitude"}))[0]
    assert not warnings_of(source(sar={"unit": "amplitude", "offset": -83}))
    assert not warnings_of(source())


class Listens:
    """A kernel that keeps what it was given."""

    info = KernelInfo("listens", "1", Inputs("sar", BANDS, gsd=10), Window(512, 512, 0), ())

    def __call__(self, pixels, valid, box, context):
        self.pixels, self.valid = pixels, valid
        return Result({})


def test_a_kernel_receives_decibels_and_zeros_where_invalid(cube, flood):
    values, valid, _ = flood
    kernel, box = Listens(), PixelBox(cube.box.row0, cube.box.col0, cube.box.row0 + 512, cube.box.col1)
    map_box(kernel, cube.scenes(box, BANDS), cube.settings, box, sink=Sink())
    rows = cube.box.shape[0]
    assert kernel.pixels.dtype == np.float32
    assert np.array_equal(kernel.valid[0, :rows], valid)
    assert np.array_equal(kernel.pixels[0, :, :rows], values)
    assert (kernel.pixels[0, :, ~kernel.valid[0]] == 0).all()


def test_modalities():
    assert modality_of(("vv", "vh")) == "sar"
    assert modality_of(("red",)) == "optical"
    with pytest.raises(SpecError, match="bands hh are SAR and red are optical"):
        modality_of(("red", "hh"))
