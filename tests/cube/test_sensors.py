"""Bands of real items by table, not by common name."""

import pytest

from eopipe.cube.item_scenes import level_of, resolve_scene
from eopipe.cube.scenes import middle_longitude, solar_day
from eopipe.cube.sensors import BANDS
from eopipe.errors import ItemError
from eopipe.spec import MaskSpec
from tests.cube.helpers import item, items, oscd_item
from tests.support.paths import needs_shared

pytestmark = needs_shared
EARTH_SEARCH = "pystac-client/earthsearch_v1_s1grd_s2_20items.json"
CODES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")


def files(found: dict, bands=BANDS, **more) -> list[str]:
    return [ref.href.rsplit("/", 1)[1] for ref in resolve_scene(found, bands, **more).bands.values()]


@pytest.mark.parametrize(
    ("name", "collection"),
    [
        ("odc-stac/S2A_28QCH_20200714_0_L2A.json", None),
        (EARTH_SEARCH, "sentinel-2-l2a"),
        (EARTH_SEARCH, "sentinel-2-c1-l2a"),
        ("pystac-client/planetarycomputer_s2_landsat_2items.json", "sentinel-2-l2a"),
    ],
)
def test_sentinel2_of_earth_search(name, collection):
    assert files(item(name, collection)) == [f"{code}.tif" for code in CODES]


def test_sentinel2_l1c_of_earth_search():
    assert files(item(EARTH_SEARCH, "sentinel-2-l1c")) == [f"{code}.jp2" for code in CODES]


def test_sentinel2_of_planetary_computer_whose_common_names_are_ambiguous():
    found = item("odc-stac/S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json")
    names = [a["eo:bands"][0].get("common_name") for a in found["assets"].values() if a.get("eo:bands")]
    assert names.count("rededge") == 4
    assert [name.split("_")[2] for name in files(found)] == list(CODES)


def test_sentinel2_of_stactools_takes_the_finest_copy():
    found = item("stactools-sentinel2/S2A_T07HFE_20190212T192646_L2A.json")
    found["links"] = [{"rel": "self", "href": "https://example.com/a/item.json"}]
    names = files(found)
    assert names[1:4] == [f"T07HFE_20190212T192651_B0{n}_10m.tif" for n in (2, 3, 4)]
    assert names[4].endswith("B05_20m.tif")
    assert names[9].endswith("B09_60m.tif")


def test_oscd_and_its_relative_addresses():
    bands = ("blue", "rededge1", "nir", "swir22")
    assert files(oscd_item("S2_pisa_20150704"), bands) == ["B02.tif", "B05.tif", "B08.tif", "B12.tif"]
    bare = oscd_item("S2_pisa_20150704")
    bare["links"] = []
    with pytest.raises(ItemError, match="relative and the item has no self link"):
        resolve_scene(bare, bands)


def test_landsat_numbers_differ_between_sensors():
    bands = ("blue", "red", "nir08", "swir16", "swir22")
    oli = files(item("odc-stac/LC08_L2SP_028030_20200114_20200824_02_T1_SR.json"), bands)
    etm = files(item("odc-stac/LE07_L2SP_044033_20210329_20210424_02_T1_SR.json"), bands)
    assert [name[-6:-4] for name in oli] == ["B2", "B4", "B5", "B6", "B7"]
    assert [name[-6:-4] for name in etm] == ["B1", "B3", "B4", "B5", "B7"]


def test_old_landsat_items_whose_eo_bands_are_indices():
    found = item("odc-stac/LC08_L2SR_081119_20200101_20200823_02_T2.json")
    found["links"] = [{"rel": "self", "href": "https://example.com/a/item.json"}]
    scene = resolve_scene(found, ("coastal", "blue", "swir22"), MaskSpec(band="qa_pixel"))
    assert scene.bands["blue"].href.endswith("SR_B2_small.TIF")
    assert scene.mask.href.endswith("QA_PIXEL.TIF")


def test_naip_bands_are_parts_of_one_file():
    scene = resolve_scene(items("pystac-client/planetarycomputer_naip_20items.json")[0], ("nir", "red"))
    assert [ref.band_index for ref in scene.bands.values()] == [4, 1]
    assert len({ref.href for ref in scene.bands.values()}) == 1


def test_geoscience_australia():
    found = item("odc-stac/ga_ls8c_ard_3-1-0_088080_2020-05-25_final.stac-item.json")
    assert files(found, ("blue", "nir08"))[0].endswith("band02.tif")


@pytest.mark.parametrize(
    ("name", "collection", "level"),
    [
        (EARTH_SEARCH, "sentinel-2-l2a", "L2A"),
        (EARTH_SEARCH, "sentinel-2-l1c", "L1C"),
        ("odc-stac/LC08_L2SP_028030_20200114_20200824_02_T1_SR.json", None, "L2SP"),
        ("stactools-sentinel2/S2A_T07HFE_20190212T192646_L2A.json", None, "L2A"),
    ],
)
def test_levels(name, collection, level):
    assert level_of(item(name, collection)) == level


def test_a_missing_band_lists_what_exists():
    found = item("odc-stac/LE07_L2SP_044033_20210329_20210424_02_T1_SR.json")
    with pytest.raises(ItemError, match=r"no asset for band 'coastal'; its assets are .*blue, green, red") as error:
        resolve_scene(found, ("coastal",))
    assert "LE07_L2SP_044033" in str(error.value)


def test_an_unknown_collection_is_read_by_unique_names_only():
    found = {
        "id": "x", "collection": "mine", "properties": {"datetime": "2020-01-01T00:00:00Z"},
        "assets": {
            "one": {"href": "/a.tif", "bands": [{"name": "blue"}, {"name": "b2", "eo:common_name": "red"}]},
            "two": {"href": "/b.tif", "eo:bands": [{"name": "RE1", "common_name": "rededge1"}]},
            "three": {"href": "/c.tif", "eo:bands": [{"name": "n", "common_name": "nir"}]},
            "four": {"href": "/d.tif", "eo:bands": [{"name": "m", "common_name": "nir"}]},
        },
    }  # fmt: skip
    scene = resolve_scene(found, ("blue", "red", "rededge1"))
    assert [(r.href, r.band_index) for r in scene.bands.values()] == [("/a.tif", 1), ("/a.tif", 2), ("/b.tif", 1)]
    with pytest.raises(ItemError, match="2 assets that call a band 'nir'"):
        resolve_scene(found, ("nir",))


def test_charging_buckets_are_marked_and_a_free_alternate_wins():
    charged = resolve_scene(item("pystac-client/planetarycomputer_s2_landsat_2items.json", "landsat-c2-l2"), ("red",))
    assert charged.bands["red"].requester_pays
    assert resolve_scene(item(EARTH_SEARCH, "sentinel-2-l1c"), ("red",)).bands["red"].requester_pays
    free = resolve_scene(item("odc-stac/LC08_L2SP_028030_20200114_20200824_02_T1_SR.json"), ("red",))
    assert not free.bands["red"].requester_pays
    swapped = item("odc-stac/LC08_L2SP_028030_20200114_20200824_02_T1_SR.json")
    asset = swapped["assets"]["red"]
    asset["alternate"]["s3"]["href"], asset["href"] = asset["href"], asset["alternate"]["s3"]["href"]
    asset["alternate"]["s3"]["storage:requester_pays"] = False
    assert resolve_scene(swapped, ("red",)).bands["red"].href.startswith("https://landsatlook")


@pytest.mark.parametrize("broken", [{"assets": {"B02": {}}}, {"assets": {"B02": "x"}}, {"properties": {}}])
def test_a_malformed_item_is_one_clear_line(broken):
    with pytest.raises(ItemError):
        resolve_scene({**oscd_item("S2_pisa_20150704"), **broken}, ("blue",))


def test_solar_days_use_the_scenes_own_longitude():
    stac = item(EARTH_SEARCH, "sentinel-2-l2a")
    fiji, (west, _, east, _) = resolve_scene(stac, ("red",)), stac["bbox"]
    assert solar_day(fiji.datetime, middle_longitude(west, east)) == "2025-07-31"
    moment = fiji.datetime.replace(hour=22)
    assert (solar_day(moment, 170.0), solar_day(moment, -170.0)) == ("2025-08-01", "2025-07-31")
