"""Which asset holds a band, and which of its addresses is read: items in the forms that providers publish."""

import copy
import json

import numpy as np
import pytest

import eopipe
from eopipe.cube.asset_choice import AssetChoice
from eopipe.cube.item_scenes import resolve_scene
from eopipe.engine.output.recipe import tile_recipe
from eopipe.engine.plan.resolved_spec import resolve
from eopipe.errors import ItemError, SpecError
from eopipe.spec import MaskSpec, SourceSpec, parse_spec, resolve_now
from tests.cube.helpers import items, write_tif
from tests.support.runs import pisa

EODATA = "s3://eodata/Sentinel-2/MSI/L2A/2025/06/01/S2A_MSIL2A_20250601T100031_N0511_R122_T33TWL_20250601T140000.SAFE"
ZIPPER = "https://zipper.dataspace.copernicus.eu/odata/v1/Products(1)/Nodes(B04)/$value"


def unknown(**assets):
    """An item of a collection that no table knows."""
    found = {"id": "x", "collection": "mine", "properties": {"datetime": "2020-01-01T00:00:00Z"}, "assets": assets}
    return {"type": "Feature", "stac_version": "1.1.0", "links": [], **found}


def cdse():
    """Sentinel-2 L2A of stac.dataspace.copernicus.eu: the fields that it has, one band of each resolution."""
    common = {
        "B04": "red",
        "B05": "rededge071",
        "B06": "rededge075",
        "B07": "rededge783",
        "B08": "nir",
        "B8A": "nir08",
    }
    keys = ["B04_10m", "B04_20m", "B04_60m", "B05_20m", "B05_60m", "B06_20m", "B08_10m", "B8A_20m", "B8A_60m"]
    found = {
        key: {
            "href": f"{EODATA}/GRANULE/L2A/IMG_DATA/R{key[4:]}/T33TWL_20250601T100031_{key}.jp2", "type": "image/jp2",
            "roles": ["data", "reflectance", f"sampling:{'original' if key != 'B04_20m' else 'downsampled'}"],
            "gsd": int(key[4:-1]), "nodata": 0, "data_type": "uint16", "raster:scale": 0.0001, "raster:offset": -0.1,
            "proj:code": "EPSG:32633", "bands": [{"name": key[:3], "eo:common_name": common[key[:3]]}],
            "auth:refs": ["s3"], "storage:refs": ["cdse-s3", "creodias-s3"],
            "alternate": {"https": {"href": ZIPPER, "auth:refs": ["oidc"], "storage:refs": []}},
        }
        for key in keys
    }  # fmt: skip
    for key in ("SCL_20m", "SCL_60m", "TCI_10m", "AOT_10m"):
        found[key] = {"href": f"{EODATA}/{key}.jp2", "type": "image/jp2", "roles": ["data"], "auth:refs": ["s3"]}
    schemes = {"cdse-s3": {"type": "custom-s3", "requester_pays": False}, "creodias-s3": {"requester_pays": False}}
    return {
        **unknown(**found),
        "id": "S2A_MSIL2A_20250601T100031_N0511_R122_T33TWL_20250601T140000",
        "collection": "sentinel-2-l2a",
        "properties": {
            "datetime": "2025-06-01T10:00:31.024Z", "platform": "sentinel-2a", "constellation": "sentinel-2",
            "processing:version": "05.11", "storage:schemes": schemes, "auth:schemes": {"s3": {"type": "s3"}},
        },
    }  # fmt: skip


def hrefs(item, *bands, **more):
    return [ref.href for ref in resolve_scene(item, bands, **more).bands.values()]


def test_copernicus_data_space_takes_the_finest_of_each_band():
    bands = ("red", "rededge1", "rededge2", "nir", "nir08")
    found = resolve_scene(cdse(), bands, MaskSpec(band="scl"))
    names = [ref.href.rsplit("_", 2)[1:] for ref in found.bands.values()]
    assert names == [
        ["B04", "10m.jp2"],
        ["B05", "20m.jp2"],
        ["B06", "20m.jp2"],
        ["B08", "10m.jp2"],
        ["B8A", "20m.jp2"],
    ]
    assert found.mask.href == f"{EODATA}/SCL_20m.jp2"
    assert found.bands["red"].alternates == ((ZIPPER, False),)
    assert not found.bands["red"].requester_pays


def test_copernicus_data_space_under_another_collection_id_goes_by_common_names():
    """No table: three assets call a band red, all of them B04."""
    item = {**cdse(), "collection": "my-copy"}
    item["properties"] = {"datetime": "2025-06-01T10:00:31Z"}
    found = hrefs(item, "red", "rededge1", "rededge2", "nir")
    assert [href.rsplit("_", 2)[1:] for href in found] == [
        ["B04", "10m.jp2"], ["B05", "20m.jp2"], ["B06", "20m.jp2"], ["B08", "10m.jp2"],
    ]  # fmt: skip


@pytest.mark.parametrize("band", ["B04_20m", "b04_20m", "B04_60m"])
def test_an_assets_own_key_can_be_asked_for(band):
    assert hrefs(cdse(), band)[0].lower().endswith(f"{band.lower()}.jp2")


@pytest.mark.parametrize("band", ["B04", "b04"])
def test_a_bands_own_name_can_be_asked_for_and_the_finest_copy_is_read(band):
    assert hrefs(cdse(), band)[0].endswith("B04_10m.jp2")
    earth_search = items("pystac-client/earthsearch_v1_s1grd_s2_20items.json")
    found = next(item for item in earth_search if item["collection"] == "sentinel-2-c1-l2a")
    assert hrefs(found, band)[0].endswith("/B04.tif")


def test_an_asset_without_any_band_metadata_is_read_by_its_key():
    plain = {"href": "/a.tif", "type": "image/tiff", "roles": ["data"]}
    thumbnail = {"href": "/t.png", "roles": ["thumbnail"]}
    assert hrefs(unknown(red=plain, thumbnail=thumbnail), "red") == ["/a.tif"]
    assert hrefs(unknown(RED=plain), "red") == ["/a.tif"]
    assert hrefs(unknown(red_10m=plain, red_20m={"href": "/b.tif"}), "red") == ["/a.tif"]
    with pytest.raises(ItemError, match="no asset for band 'thumbnails'"):
        resolve_scene(unknown(red=plain, thumbnail=thumbnail), ("thumbnails",))


def test_a_key_settles_what_common_names_leave_open():
    """Two assets whose common name is nir; one of them is called so."""
    item = unknown(
        nir={"href": "/8.tif", "eo:bands": [{"name": "B08", "common_name": "nir"}]},
        nir_narrow={"href": "/8a.tif", "eo:bands": [{"name": "B8A", "common_name": "nir"}]},
    )
    assert hrefs(item, "nir") == ["/8.tif"]
    item["assets"]["B08"] = item["assets"].pop("nir")
    with pytest.raises(
        ItemError, match=r"2 assets that call a band 'nir' \(nir_narrow, B08\).*source.bands: {nir: KEY}"
    ):
        resolve_scene(item, ("nir",))


def test_of_two_copies_as_fine_the_geotiff_is_read_and_equals_are_refused():
    band = {"eo:bands": [{"name": "red", "common_name": "red"}], "gsd": 10}
    item = unknown(
        one={"href": "/a.jp2", "type": "image/jp2", **band},
        two={"href": "/a.tif", "type": "image/tiff; application=geotiff", **band},
    )
    assert hrefs(item, "red") == ["/a.tif"]
    item["assets"]["three"] = dict(item["assets"]["two"])
    with pytest.raises(ItemError, match=r"3 assets that call a band 'red' \(one, two, three\)"):
        resolve_scene(item, ("red",))


def test_a_file_of_several_bands_is_asked_for_with_a_number_or_a_name():
    image = {"href": "/i.tif", "bands": [{"name": "R"}, {"name": "G"}, {"name": "NIR"}]}
    item = unknown(image=image)
    assert resolve_scene(item, ("image#3",)).bands["image#3"].band_index == 3
    assert resolve_scene(item, ("image#nir",)).bands["image#nir"].band_index == 3
    assert resolve_scene(item, ("nir",)).bands["nir"].band_index == 3
    with pytest.raises(ItemError, match="an asset 'image' of 3 bands; say which, from image#1 to image#3"):
        resolve_scene(item, ("image",))


MAP = {"red": ("B04", "SR_B4"), "green": ("image#2",), "scl": ("classes",)}


def test_a_map_from_bands_to_assets_comes_before_everything_else():
    item = unknown(
        red={"href": "/wrong.tif"},
        B04={"href": "/b04.tif"},
        image={"href": "/i.tif", "bands": [{"name": "green"}, {"name": "x"}]},
        classes={"href": "/c.tif"},
    )
    found = resolve_scene(item, ("red", "green"), MaskSpec(band="scl"), choice=AssetChoice(MAP))
    assert [(ref.href, ref.band_index) for ref in (*found.bands.values(), found.mask)] == [
        ("/b04.tif", 1), ("/i.tif", 2), ("/c.tif", 1),
    ]  # fmt: skip
    landsat = unknown(SR_B4={"href": "/4.tif"})
    assert hrefs(landsat, "red", choice=AssetChoice(MAP)) == ["/4.tif"]


def test_a_map_that_names_no_asset_is_one_line_with_those_that_exist():
    with pytest.raises(ItemError) as error:
        resolve_scene(unknown(B4={"href": "/4.tif"}, qa={"href": "/q.tif"}), ("red",), choice=AssetChoice(MAP))
    assert str(error.value).startswith(
        "item 'x': source.bands.red is 'B04' or 'SR_B4', and its assets are B4, qa; give one of these, or "
    )


def spec(**source):
    found = pisa("out")
    found["source"] |= source
    return found


def test_a_spec_takes_one_key_or_several_and_refuses_nonsense():
    assert SourceSpec(catalog="c", bands={"red": "B04", "nir": ["B08", "B8A"]}).bands == {
        "red": ("B04",), "nir": ("B08", "B8A"),
    }  # fmt: skip
    for value, line in (
        ({"red": 4}, r"source\.bands\.red"),
        ({"red": ""}, "red names no asset; write such as {red: B04}"),
        ({"red": []}, "red names no asset"),
        ("B04", r"source\.bands"),
    ):
        with pytest.raises(SpecError, match=line):
            parse_spec(spec(bands=value))


def test_a_map_of_a_band_that_nobody_reads_is_refused_and_a_used_one_is_in_the_recipe():
    with pytest.raises(SpecError, match=r"source\.bands\.rde: land-cover reads blue, .*; name one of these"):
        resolve(parse_spec(spec(bands={"rde": "B04"})), resolve_now(None))
    job = resolve(parse_spec(spec(bands={"red": "B04"}, mask="scl")), resolve_now(None))
    assert job.read.choice.bands == {"red": ("B04",)}
    common = {"info": job.kernel.info, "grid": job.grid, "tile": 512, "threads": 1}
    assert tile_recipe(source=job.spec.source, **common)["assets"] == {"red": ["B04"]}
    assert "assets" not in tile_recipe(source=parse_spec(spec()).source, **common)


WEB = "https://landsatlook.usgs.gov/data/collection02/level-2/standard/oli-tirs/2020/190/028/LC08/LC08_SR_B4.TIF"
BUCKET = WEB.replace("https://landsatlook.usgs.gov/data/", "s3://usgs-landsat/")
FREE = "https://data.example.org/LC08_SR_B4.TIF"


def landsat(href=WEB, **alternates):
    """A band of LandsatLook: the web address wants a login, the bucket charges."""
    asset = {"href": href, "type": "image/tiff", "eo:bands": [{"name": "B4", "common_name": "red"}]}
    item = unknown(red={**asset, "alternate": alternates} if alternates else asset)
    return {**item, "collection": "landsat-c2l2-sr"}


S3 = {"storage:platform": "AWS", "storage:requester_pays": True, "href": BUCKET}


def first(item, **more):
    ref = resolve_scene(item, ("red",), **more).bands["red"]
    return ref.href, ref.requester_pays


def test_the_bucket_is_read_where_its_charge_was_accepted_and_the_main_address_wants_a_login():
    assert first(landsat(s3=S3), requester_pays=True) == (BUCKET, True)
    assert first(landsat(s3=S3)) == (WEB, False)
    ref = resolve_scene(landsat(s3=S3), ("red",), requester_pays=True).bands["red"]
    assert ref.alternates == ((WEB, False),)
    assert resolve_scene(landsat(s3=S3), ("red",)).bands["red"].alternates == ()


@pytest.mark.parametrize(
    "flag",
    [
        {"storage:requester_pays": True},
        {"storage:refs": ["aws"], "storage:schemes": {"aws": {"type": "aws-s3", "requester_pays": True}}},
    ],
)
def test_both_versions_of_the_storage_extension_say_what_charges(flag):
    bucket = "s3://someones-bucket/b4.tif"
    item = landsat(bucket, web={"href": FREE})
    item["assets"]["red"].update(flag)
    assert first(item) == (FREE, False)
    assert first(item, requester_pays=True) == (bucket, True)
    item["properties"]["storage:schemes"] = item["assets"]["red"].pop("storage:schemes", {})
    assert first(item) == (FREE, False)


@pytest.mark.parametrize(
    ("main", "alternate", "read"),
    [
        (FREE, "s3://open-bucket/b4.tif", FREE),
        ("https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-protected/a.tif", FREE, FREE),
        ("https://data.lpdaac.earthdatacloud.nasa.gov/lp-prod-protected/a.tif", "s3://lp-prod-protected/a.tif", None),
        (ZIPPER, f"{EODATA}/B04.jp2", f"{EODATA}/B04.jp2"),
        (f"{EODATA}/B04.jp2", ZIPPER, f"{EODATA}/B04.jp2"),
    ],
)
def test_an_alternate_is_read_only_where_the_main_address_wants_a_login(main, alternate, read):
    assert first(landsat(main, other={"href": alternate}))[0] == (read or main)


def test_the_authentication_extension_says_which_addresses_want_a_login():
    item = landsat("https://files.example.org/a.tif", open={"href": FREE})
    item["assets"]["red"]["auth:refs"] = ["oidc"]
    assert first(item) == (FREE, False)


def test_a_spec_may_prefer_an_alternate_and_charges_stay_refused_at_the_read():
    item = landsat(FREE, s3={"href": "s3://open-bucket/b4.tif"}, paid=S3)
    assert first(item, choice=AssetChoice(alternate="s3")) == ("s3://open-bucket/b4.tif", False)
    assert first(item, choice=AssetChoice(alternate="none such")) == (FREE, False)
    assert first(item, choice=AssetChoice(alternate="paid")) == (BUCKET, True)


@pytest.mark.parametrize("bands", [{"red": "B04"}, ("B04",), ("red",)])
def test_a_cube_reads_by_a_map_by_a_key_and_by_a_name(tmp_path, bands):
    ref = write_tif(tmp_path / "b04.tif", np.full((200, 200), 2500, "uint16"), nodata=0)
    common = {"type": "image/tiff", "raster:bands": [{"scale": 0.0001, "offset": 0, "nodata": 0}]}
    item = unknown(B04={"href": ref.href, **common, "eo:bands": [{"name": "x", "common_name": "red"}]})
    ring = [[10.25, 43.78], [10.28, 43.78], [10.28, 43.8], [10.25, 43.8], [10.25, 43.78]]
    item |= {"bbox": [10.25, 43.78, 10.28, 43.8], "geometry": {"type": "Polygon", "coordinates": [ring]}}
    item["properties"] |= {"proj:code": "EPSG:32632", "proj:shape": [200, 200], "proj:transform": [10, 0, 600000, 0, -10, 4850000]}  # fmt: skip # noqa: E501
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [copy.deepcopy(item)]}))
    area = [10.25, 43.788, 10.256, 43.792]
    snapshot, _ = eopipe.search(catalog=str(tmp_path / "items.json"), area=area)
    cube = eopipe.open_cube(snapshot, area=area, bands=bands, resolution=10)
    values = cube.dataset.compute(scheduler="synchronous")[next(iter(bands))].values
    assert np.nanmin(values) == np.nanmax(values) == np.float32(0.25)
