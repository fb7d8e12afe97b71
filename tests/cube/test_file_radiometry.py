"""What a file says of its own numbers: scale, offset, no-data, masks; beside what item, collection and spec say.

The right answers come from rasterio's reading of the same files, or from the numbers that were written.
"""

import json
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.shutil import copy as copy_raster
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds
from stac_geoparquet.arrow import parse_stac_items_to_parquet

import eopipe
from eopipe.cube.asset_file import AssetFile, ReadStats, RetryPolicy
from eopipe.cube.item_scenes import resolve_scene
from eopipe.cube.reader import ReadSettings
from eopipe.cube.scenes import AssetRef
from eopipe.engine.plan.radiometry_survey import survey
from eopipe.errors import EopipeError, ItemError, SpecError
from eopipe.grid import Grid
from eopipe.spec import RadiometrySpec
from tests.support.http_files import serve
from tests.support.stac_api import StacApi

SIDE, CRS, LEFT, TOP = 128, "EPSG:32633", 500000.0, 5000000.0
RNG = np.random.default_rng(4)
DN = RNG.integers(200, 3000, (SIDE, SIDE))
HOLE = np.arange(SIDE) < 40
SCALED = {"raster:bands": [{"scale": 1e-4, "offset": 0}]}
S2 = {"collection": "swisseo_s2-sr", "constellation": "sentinel-2"}


def write(path, data, *, res=10.0, mask=None, scales=None, offsets=None, units=None, **profile):
    data = np.asarray(data)
    data = data[None] if data.ndim == 2 else data
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate", **profile}
    shape = {"count": len(data), "height": data.shape[1], "width": data.shape[2], "dtype": data.dtype}
    env = {"GDAL_TIFF_INTERNAL_MASK": True}
    with rasterio.Env(**env), rasterio.open(
        path, "w", driver="GTiff", crs=CRS, transform=from_origin(LEFT, TOP, res, res), **shape, **options
    ) as file:  # fmt: skip
        file.write(data)
        if mask is not None:
            file.write_mask(mask)
    with rasterio.open(path, "r+") as file:
        if scales:
            file.scales = scales
        if offsets:
            file.offsets = offsets
        if units:
            file.units = units
    return str(path)


def item(path, *, collection="mine", when="2025-06-01T10:00:00Z", asset=None, res=10.0, **properties):
    box = transform_bounds(CRS, 4326, LEFT, TOP - SIDE * res, LEFT + SIDE * res, TOP)
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    entry = {"href": str(path), "type": "image/tiff", "roles": ["data"],
             "eo:bands": [{"name": "red", "common_name": "red"}]}  # fmt: skip
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": "x", "collection": collection, "links": [],
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": list(box),
        "properties": {"datetime": when, **properties}, "assets": {"red": {**entry, **(asset or {})}},
    }  # fmt: skip


AREA_LEFT = LEFT + 50
AREA = list(transform_bounds(CRS, 4326, LEFT + 50, TOP - 1230, LEFT + 1230, TOP - 50))


def snapshot_of(scene, folder):
    path = folder / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [scene]}))
    return eopipe.search(catalog=str(path), area=AREA)[0]


def read(scene, folder, *, res=10.0, quiet=True, **options):
    """Reflectance of red, ``[y, x]``, on the file's own lattice, and the columns and rows of the file below it."""
    cube = eopipe.open_cube(
        snapshot_of(scene, folder), area=AREA, bands=["red"], crs=CRS, resolution=res, sign="none", **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "error")
        data = cube.dataset.compute(scheduler="synchronous")
    return data.red.values[0], np.ix_(
        ((TOP - data.y.values) // res).astype(int), ((data.x.values - LEFT) // res).astype(int)
    )


def hole(dtype, fill):
    data = DN.astype(dtype)
    data[:, HOLE] = fill
    return data


@pytest.mark.parametrize(
    ("dtype", "own", "stated", "family"),
    [
        ("int16", -32768, None, S2),  # the family's table says 0
        ("int16", -9999, 0, {}),
        ("uint16", 0, "nan", {}),
        ("uint16", 0, -9999, {}),
        ("uint16", 0, -3.4e38, {}),
        ("uint16", None, "nan", S2),  # only the table's 0 is left
        ("uint16", 65535, "inf", {}),
        ("int32", -2147483648, 0, {}),
        ("float32", -9999.0, "nan", {}),
        ("float32", -3.4028234663852886e38, 0, {}),
        ("float32", None, -3.4e38, {}),
        ("float64", None, -1.7e308, {}),
        ("uint8", None, 0, {}),
    ],
)
@pytest.mark.parametrize("res", [10.0, 23.0])
def test_what_file_or_item_or_table_call_no_data_is_none(dtype, own, stated, family, res, tmp_path):
    fill = own if own is not None else 0 if stated == "nan" else stated
    if fill == -3.4e38:
        fill = np.finfo("float32").min  # as software writes it, with all its digits
    data = hole(dtype, fill) if dtype != "uint8" else (hole("int16", 0) % 251).astype("uint8")
    data[:, HOLE] = fill
    path = write(tmp_path / "a.tif", data, nodata=own)
    bands = {"scale": 1e-4, "offset": 0, **({} if stated is None else {"nodata": stated})}
    values, _ = read(item(path, asset={"raster:bands": [bands]}, **family), tmp_path, res=res)
    valid = np.isfinite(values).mean(0)  # by column
    x = (np.floor(AREA_LEFT / res) + np.arange(values.shape[1]) + 0.5) * res
    assert not valid[x < LEFT + 390].any()
    assert (valid[x > LEFT + 410] > 0.9).all()
    if dtype != "uint8":
        assert np.nanmin(values) > 0.019  # nothing was mixed with a no-data number


def test_several_no_data_values_count_together(tmp_path):
    data = DN.astype("int16")
    data[:, :20], data[:, 20:40] = -9999, 0
    path = write(tmp_path / "a.tif", data, nodata=-9999)
    values, index = read(item(path, asset={"raster:bands": [{"scale": 1e-4, "nodata": 0}]}), tmp_path)
    expected = np.where(np.isin(data, (0, -9999)), np.nan, data * 1e-4)[index]
    np.testing.assert_allclose(values, expected, atol=6e-5)


@pytest.mark.parametrize("res", [10.0, 40.0])
@pytest.mark.parametrize("kind", ["internal", "msk", "alpha"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "uint32"])
@pytest.mark.parametrize("nodata", [None, 0])
def test_a_files_mask_counts_beside_its_no_data(kind, dtype, nodata, res, tmp_path):
    data = (DN % 200 + 50).astype(dtype)
    data[:, HOLE] = 3  # not the no-data value, as lossy compression leaves it
    data[:, 100:110] = 0
    mask = np.where(HOLE, 0, 255).astype("uint8")[None].repeat(SIDE, 0)
    path = tmp_path / "a.tif"
    stack = np.stack([data, mask.astype(dtype)]) if kind == "alpha" else data
    write(path, stack, nodata=nodata, mask=mask if kind == "internal" else None)
    with rasterio.open(path, "r+") as file:
        if kind == "alpha":
            file.colorinterp = (ColorInterp.gray, ColorInterp.alpha)
        file.build_overviews([2, 4], Resampling.nearest)
    if kind == "msk":
        write(f"{path}.msk", mask)
    values, _ = read(item(path, asset=SCALED), tmp_path, res=res)
    x = LEFT + 50 + (np.arange(values.shape[1]) + 0.5) * res
    column = ((x - LEFT) // 10).astype(int)
    inside = (column < 34) | ((column > 46) & (column < 96)) | (column > 116)
    expected = ~((column < 40) | ((column >= 100) & (column < 110) & (nodata == 0)))
    np.testing.assert_array_equal(np.isfinite(values).all(0)[inside], expected[inside])
    assert np.isnan(values[:, column < 34]).all()


def test_a_mask_beside_a_file_on_a_server_counts(tmp_path):
    data = hole("uint16", 3)
    write(tmp_path / "a.tif", data)
    write(tmp_path / "a.tif.msk", np.where(HOLE, 0, 255).astype("uint8")[None].repeat(SIDE, 0))
    write(tmp_path / "b.tif", data)
    with serve(tmp_path) as server:
        for name, expected in (("a", 3), ("b", 0)):
            values, index = read(item(f"{server.url}/{name}.tif", asset=SCALED), tmp_path)
            column = index[1][0]
            assert np.isnan(values[:, column < 40]).all() == (expected == 3)
            assert np.isfinite(values[:, column >= 40]).all()


def test_a_quality_masks_own_mask_and_no_data_drop_pixels(tmp_path):
    path = write(tmp_path / "a.tif", DN.astype("uint16"))
    scl = np.full((SIDE, SIDE), 4, "uint8")
    scl[:, :20] = 99
    hidden = np.where((np.arange(SIDE) >= 20) & HOLE, 0, 255).astype("uint8")[None].repeat(SIDE, 0)
    write(tmp_path / "scl.tif", scl, mask=hidden)
    scene = item(path, asset=SCALED, **S2)
    scene["assets"]["SCL"] = {"href": str(tmp_path / "scl.tif"), "raster:bands": [{"nodata": 99}]}
    values, index = read(scene, tmp_path, mask="scl")
    np.testing.assert_array_equal(np.isfinite(values), np.broadcast_to(~HOLE[index[1]], values.shape))


@pytest.mark.parametrize(
    ("tags", "stated", "family", "expected"),
    [
        ({"scales": (1e-2,)}, {}, {}, lambda dn: dn * 1e-2),
        ({"scales": (1e-4,), "offsets": (-0.1,)}, {}, {}, lambda dn: dn * 1e-4 - 0.1),
        ({"scales": (float(np.float32(1e-4)),)}, {}, {}, lambda dn: dn * 1e-4),  # written in float32
        ({"scales": (2e-4,)}, {}, S2, lambda dn: dn * 2e-4),  # the file outranks the table
        ({"scales": (2e-4,)}, {"scale": 1e-4}, {}, lambda dn: dn * 1e-4),  # the item outranks the file
        ({"scales": (2e-4,), "offsets": (0.3,)}, {"scale": 1e-4}, {}, lambda dn: dn * 1e-4),  # of another scale
        ({"scales": (1e-4,), "offsets": (-0.1,)}, {"scale": 1e-4}, {}, lambda dn: dn * 1e-4 - 0.1),  # field by field
        ({"scales": (1e-4,), "offsets": (-0.1,)}, {"offset": 0.05}, {}, lambda dn: dn * 1e-4 + 0.05),
        ({"scales": (1e-4,), "offsets": (-0.1,)}, {}, {**S2, "earthsearch:boa_offset_applied": True},
         lambda dn: dn * 1e-4),
    ],
)  # fmt: skip
def test_scale_and_offset_come_from_item_file_or_table_field_by_field(tags, stated, family, expected, tmp_path):
    data = DN.astype("uint16") if 1e-2 not in tags["scales"] else (DN % 60).astype("uint8")
    path = write(tmp_path / "a.tif", data, **tags)
    values, index = read(item(path, asset={"raster:bands": [stated]} if stated else None, **family), tmp_path)
    np.testing.assert_allclose(values, np.clip(expected(data[index].astype(float)), 0, 6.5534), atol=6e-5)


def test_a_conflict_names_both_sources_and_which_one_counts(tmp_path):
    path = write(tmp_path / "a.tif", DN.astype("uint16"), scales=(1e-2,))
    scene = item(path, asset=SCALED)
    with pytest.warns(UserWarning, match=r"scale: item says 0\.0001, the file 0\.01; that of the item counts"):
        _read_warned(scene, tmp_path)
    seen = survey(snapshot_of(scene, tmp_path), ReadSettings(grid=Grid(CRS, 10.0), bands=("red",)))
    assert seen.warnings == (
        "radiometry of mine (red): scale: item says 0.0001, the file 0.01; that of the item counts",
    )
    spec = RadiometrySpec(scale=2e-4)
    seen = survey(snapshot_of(scene, tmp_path), ReadSettings(grid=Grid(CRS, 10.0), bands=("red",), radiometry=spec))
    assert any("spec says 0.0002, item 0.0001; that of the spec counts" in line for line in seen.warnings)


def _read_warned(scene, folder):
    cube = eopipe.open_cube(
        snapshot_of(scene, folder), area=AREA, bands=["red"], crs=CRS, resolution=10.0, sign="none"
    )
    cube.dataset.compute(scheduler="synchronous")


@pytest.mark.parametrize("family", [{}, S2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_of_0_to_1_are_taken_as_they_are_with_a_warning(dtype, family, tmp_path):
    data = (DN / 3000).astype(dtype)
    data[:, HOLE] = np.nan
    path = write(tmp_path / "a.tif", data, nodata=float("nan"))
    scene = item(path, **family)
    with pytest.warns(UserWarning, match=r"taken as reflectance, as they are; set source\.scale"):
        _read_warned(scene, tmp_path)
    values, index = read(scene, tmp_path)
    np.testing.assert_allclose(values, data[index], atol=6e-5)


def test_floats_of_thousands_are_refused_unless_a_table_knows_them(tmp_path):
    path = write(tmp_path / "a.tif", DN.astype("float32"))
    with pytest.raises(ItemError, match=r"float32 values of about 1.*source\.scale"):
        read(item(path), tmp_path)
    values, index = read(item(path, **S2), tmp_path)
    np.testing.assert_allclose(values, DN[index] * 1e-4, atol=6e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32"])
def test_integers_without_a_scale_are_refused_and_the_spec_may_state_it(dtype, tmp_path):
    data = (DN % 120).astype(dtype)
    path = write(tmp_path / "a.tif", data)
    with pytest.raises(ItemError, match=rf"holds {dtype} \(unknown collection\).*source\.scale.*source\.bands"):
        read(item(path), tmp_path)
    values, index = read(item(path), tmp_path, scale={"red": 0.005}, offset=0.1)
    np.testing.assert_allclose(values, data[index] * 0.005 + 0.1, atol=6e-5)


def test_8_bit_pictures_of_sentinel_2_are_no_dn(tmp_path):
    path = write(tmp_path / "a.tif", (DN % 250).astype("uint8"))
    with pytest.raises(ItemError, match=r"uint8; files of Sentinel-2 hold int16, uint16.*source\.scale"):
        read(item(path, **S2), tmp_path)


@pytest.mark.parametrize("unit", ["W/m^2/sr/um", "kelvin", "K", "degree Celsius", "mW m-2 sr-1 nm-1"])
def test_radiance_and_temperature_are_refused_whoever_states_the_unit(unit, tmp_path):
    path = write(tmp_path / "a.tif", DN.astype("uint16"))
    for asset in ({"raster:bands": [{"scale": 0.01, "unit": unit}]}, {"raster:scale": 0.01, "raster:unit": unit},
                  {"bands": [{"name": "red", "raster:scale": 0.01, "unit": unit}]}):  # fmt: skip
        with pytest.raises(ItemError, match=r"which is not reflectance.*source\.unit: reflectance"):
            read(item(path, asset=asset), tmp_path)
    tagged = write(tmp_path / "b.tif", DN.astype("uint16"), scales=(0.01,), units=(unit,))
    with pytest.raises(ItemError, match=r"which is not reflectance.*source\.unit: reflectance"):
        read(item(tagged), tmp_path)
    values, index = read(item(tagged), tmp_path, unit="reflectance", scale=1e-4)
    np.testing.assert_allclose(values, DN[index] * 1e-4, atol=6e-5)


@pytest.mark.parametrize("unit", ["1", "reflectance", "Surface Reflectance", "DN", "none"])
def test_units_that_do_not_contradict_reflectance_pass(unit, tmp_path):
    path = write(tmp_path / "a.tif", DN.astype("uint16"))
    values, index = read(item(path, asset={"raster:bands": [{"scale": 1e-4, "unit": unit}]}), tmp_path)
    np.testing.assert_allclose(values, DN[index] * 1e-4, atol=6e-5)


NEUTRAL = {"raster:bands": [{"scale": 1.0, "offset": 0.0, "nodata": 0}]}


def test_a_scale_of_1_is_none_for_integers_since_software_writes_gdals_default(tmp_path):
    plain = write(tmp_path / "a.tif", DN.astype("uint16"))
    with pytest.raises(ItemError, match=r"holds uint16 \(unknown collection\).*source\.scale"):
        read(item(plain, asset=NEUTRAL), tmp_path)
    values, index = read(item(plain, asset=NEUTRAL, **S2, **{"s2:processing_baseline": "05.11"}), tmp_path)
    np.testing.assert_allclose(values, np.clip(DN[index] * 1e-4 - 0.1, 0, None), atol=6e-5)
    tagged = write(tmp_path / "b.tif", DN.astype("uint16"), scales=(2e-4,))
    values, index = read(item(tagged, asset=NEUTRAL), tmp_path, quiet=False)
    np.testing.assert_allclose(values, DN[index] * 2e-4, atol=6e-5)
    floats = write(tmp_path / "c.tif", (DN / 3000).astype("float32"))
    values, index = read(item(floats, asset=NEUTRAL), tmp_path, quiet=False)  # stated, so no warning
    np.testing.assert_allclose(values, DN[index] / 3000, atol=6e-5)


@pytest.mark.parametrize(
    ("asset", "message"),
    [
        ({"raster:bands": [{"scale": 0}]}, r"scale of the item is 0; set source\.scale"),
        ({"raster:bands": [{"scale": "x"}]}, r"scale is 'x', not a number; set source\.scale"),
        ({"raster:bands": [{"scale": 1e-4, "offset": -1000}]}, r"offset of -1000, which is no reflectance"),
    ],
)
def test_numbers_that_mean_nothing_are_one_clear_line(asset, message, tmp_path):
    path = write(tmp_path / "a.tif", DN.astype("uint16"))
    with pytest.raises(ItemError, match=message):
        read(item(path, asset=asset), tmp_path)


def test_a_fourth_band_that_the_item_names_is_no_alpha(tmp_path):
    """GDAL marks the fourth band of any 8-bit image as alpha; NAIP's is near-infrared."""
    data = np.stack([DN % 200 + 1] * 3 + [np.where(HOLE, 0, 77)[None].repeat(SIDE, 0)]).astype("uint8")
    path = write(tmp_path / "a.tif", data)
    with rasterio.open(path) as file:
        assert file.colorinterp[3] == ColorInterp.alpha
    bands = [{"name": name} for name in ("red", "green", "blue", "nir")]
    scaled = {"raster:bands": [{"scale": 0.004}] * 4}
    values, index = read(item(path, asset={"eo:bands": bands, **scaled}), tmp_path)
    np.testing.assert_allclose(values, data[0][index] * 0.004, atol=6e-5)
    values, index = read(item(path, asset={"eo:bands": bands[:3], "raster:bands": scaled["raster:bands"]}), tmp_path)
    assert np.isnan(values[:, index[1][0] < 40]).all()


STATED = {"eo:bands": [{"name": "red", "common_name": "red"}], "roles": ["data"],
          "raster:bands": [{"scale": 2e-4, "offset": -0.05, "nodata": 0}]}  # fmt: skip


class CollectionApi(StacApi):
    """An API whose collection states its assets."""

    def collection(self, name):
        return {**super().collection(name), "item_assets": {"red": STATED}}


def doors(scene, folder):
    """Catalogues of one item whose Collection states its assets, one a kind."""
    world = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}}
    collection = {"type": "Collection", "stac_version": "1.1.0", "id": "mine", "description": "d", "license": "other",
                  "extent": world, "links": [{"rel": "item", "href": "./item.json"}],
                  "item_assets": {"red": STATED}}  # fmt: skip
    (folder / "collection.json").write_text(json.dumps(collection))
    (folder / "item.json").write_text(
        json.dumps({**scene, "links": [{"rel": "collection", "href": "./collection.json"}]})
    )
    yield "static", str(folder / "collection.json"), {}
    yield "item", str(folder / "item.json"), {}
    parse_stac_items_to_parquet([scene], output_path=folder / "items.parquet")
    table = pq.read_table(folder / "items.parquet")
    metadata = {
        **(table.schema.metadata or {}),
        b"stac-geoparquet": json.dumps({"version": "1.1.0", "collections": {"mine": collection}}).encode(),
    }
    pq.write_table(table.replace_schema_metadata(metadata), folder / "items.parquet")
    yield "parquet", str(folder / "items.parquet"), {}
    with CollectionApi([scene]) as api:
        yield "api", api.url, {"collections": ["mine"]}


@pytest.mark.parametrize("named", [False, True])
def test_a_collections_item_assets_are_read_by_every_kind_of_catalogue(named, tmp_path):
    data = hole("uint16", 0)
    path = write(tmp_path / "a.tif", data)
    scene = item(path)
    if not named:
        del scene["assets"]["red"]["eo:bands"], scene["assets"]["red"]["roles"]
    expected = np.where(data == 0, np.nan, np.clip(data * 2e-4 - 0.05, 0, None))
    scene["assets"]["red"]["href"] = f"file://{path}"
    for kind, catalog, more in doors(scene, tmp_path):
        snapshot, _ = eopipe.search(catalog=catalog, area=AREA, **more)
        cube = eopipe.open_cube(snapshot, area=AREA, bands=["red"], crs=CRS, resolution=10.0, sign="none")
        result = cube.dataset.compute(scheduler="synchronous")
        index = np.ix_(((TOP - result.y.values) // 10).astype(int), ((result.x.values - LEFT) // 10).astype(int))
        np.testing.assert_allclose(result.red.values[0], expected[index], atol=6e-5, err_msg=kind)
        seen = survey(snapshot, cube.settings)
        assert seen.lines == ("mine: collection scale 0.0002, collection offset -0.05, collection no-data 0",), kind


def test_an_item_that_lacks_nothing_keeps_its_hash_and_outranks_its_collection(tmp_path):
    path = write(tmp_path / "a.tif", hole("uint16", 0))
    whole = item(path, asset={"raster:bands": [{"scale": 1e-4, "offset": 0, "nodata": 7}]})
    plain = snapshot_of(whole, tmp_path).index["hash"].to_pylist()
    for kind, catalog, more in doors(whole, tmp_path):
        snapshot, _ = eopipe.search(catalog=catalog, area=AREA, **more)
        [scene] = snapshot.items([0])
        ref = resolve_scene(scene, ("red",)).bands["red"]
        assert (ref.scale, ref.offset, ref.nodata) == (1e-4, 0, 7), kind
        if kind == "api":
            assert snapshot.index["hash"].to_pylist() == plain


def test_a_band_that_is_not_read_has_no_number(tmp_path):
    path = write(tmp_path / "a.tif", DN.astype("uint16"))
    snapshot = snapshot_of(item(path), tmp_path)
    with pytest.raises(SpecError, match=r"source\.scale\.rde: this band is not read; the bands are red"):
        eopipe.open_cube(snapshot, area=AREA, bands=["red"], crs=CRS, resolution=10.0, scale={"rde": 1e-4})


def test_sentinel_2_without_baseline_or_offset_is_told(tmp_path):
    path = write(tmp_path / "a.tif", DN.astype("uint16"))
    with pytest.warns(UserWarning, match=r"neither Sentinel-2's processing baseline nor an offset, and 0 was taken"):
        _read_warned(item(path, **S2), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _read_warned(item(path, when="2019-06-01T10:00:00Z", **S2), tmp_path)


def test_a_sar_files_scale_counts(tmp_path):
    decibels = RNG.integers(-2500, -500, (SIDE, SIDE)).astype("int16")
    decibels[:, HOLE] = -32768
    path = write(tmp_path / "a.tif", decibels, scales=(0.01,), nodata=-32768)
    scene = item(path)
    scene["assets"]["vv"] = scene["assets"].pop("red")
    snapshot = snapshot_of(scene, tmp_path)
    cube = eopipe.open_cube(
        snapshot, area=AREA, bands=["vv"], crs=CRS, resolution=10.0, sar={"unit": "dB"}, sign="none"
    )
    data = cube.dataset.compute(scheduler="synchronous")
    index = np.ix_(((TOP - data.y.values) // 10).astype(int), ((data.x.values - LEFT) // 10).astype(int))
    expected = np.where(decibels == -32768, np.nan, decibels * 0.01)[index]
    np.testing.assert_allclose(data.vv.values[0], expected, atol=1 / 256)


def test_facts_of_a_file_are_settled_once(tmp_path):
    path = write(tmp_path / "a.tif", (DN / 3000).astype("float32"))
    stats = ReadStats()
    file = AssetFile(AssetRef(path), sign=None, requester_pays=False, retry=RetryPolicy(), stats=stats)
    assert file.facts(file.ref) is file.facts(AssetRef(path))
    assert stats.opens == 1
    file.close()


def test_a_cog_of_the_cog_driver_with_a_mask(tmp_path):
    mask = np.where(HOLE, 0, 255).astype("uint8")[None].repeat(SIDE, 0)
    write(tmp_path / "plain.tif", hole("uint16", 3), mask=mask)
    copy_raster(str(tmp_path / "plain.tif"), str(tmp_path / "a.tif"), driver="COG", blocksize=128)
    values, index = read(item(tmp_path / "a.tif", asset={"raster:bands": [{"scale": 1e-4, "nodata": 0}]}), tmp_path)
    np.testing.assert_array_equal(np.isfinite(values), np.broadcast_to(~HOLE[index[1]], values.shape))


def test_complex_numbers_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", DN.astype("complex64"))
    with pytest.raises(EopipeError, match="complex"):
        read(item(path, asset=SCALED), tmp_path)
