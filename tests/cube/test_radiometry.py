"""Offsets and scales, one test a provider, on the given items with answers known from the providers' documents."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eopipe.cube.item_scenes import resolve_scene
from eopipe.cube.radiometry import INVALID, TOP, canonical_floats, table
from eopipe.cube.radiometry_rule import baseline
from eopipe.errors import ItemError
from tests.cube.helpers import item, oscd_item
from tests.support.paths import needs_shared

pytestmark = needs_shared
EARTH_SEARCH = "pystac-client/earthsearch_v1_s1grd_s2_20items.json"
PLANETARY = "odc-stac/S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json"


def canonical(found: dict, dn: int, band="red", dtype="uint16") -> int:
    ref = resolve_scene(found, (band,)).bands[band]
    return int(table(dtype, ref.scale, ref.offset, ref.nodata)[dn - np.iinfo(dtype).min])


def test_earth_search_v1_l2a_says_that_the_offset_was_applied_although_its_metadata_states_it():
    found = item(EARTH_SEARCH, "sentinel-2-l2a")
    assert found["assets"]["red"]["raster:bands"][0]["offset"] == -0.1
    assert [canonical(found, dn) for dn in (1, 500, 1234)] == [1, 500, 1234]


def test_earth_search_v1_l2a_without_the_flag_set_takes_the_metadata():
    found = item(EARTH_SEARCH, "sentinel-2-l2a")
    found["properties"]["earthsearch:boa_offset_applied"] = False  # synthetic: no given item says false
    assert [canonical(found, dn) for dn in (1, 1000, 1234)] == [0, 0, 234]


def test_earth_search_flag_as_text_is_not_truthy():
    found = item(EARTH_SEARCH, "sentinel-2-l2a")
    found["properties"]["earthsearch:boa_offset_applied"] = "False"  # synthetic
    assert canonical(found, 1234) == 234


def test_earth_search_flag_false_on_an_old_baseline_stays_without_offset():
    found = item(EARTH_SEARCH, "sentinel-2-l2a")
    found["properties"] |= {"earthsearch:boa_offset_applied": False, "s2:processing_baseline": "02.14"}  # synthetic
    del found["assets"]["red"]["raster:bands"]
    assert canonical(found, 1234) == 1234


def test_earth_search_c1_l2a_has_no_flag_and_its_offset_must_be_applied():
    found = item(EARTH_SEARCH, "sentinel-2-c1-l2a")
    assert [canonical(found, dn) for dn in (1, 1000, 1001, 11000)] == [0, 0, 1, 10000]


def test_earth_search_l1c_carries_the_radiometric_offset():
    found = item(EARTH_SEARCH, "sentinel-2-l1c")
    assert canonical(found, 2500) == 1500
    assert resolve_scene(found, ("red",)).level == "L1C"


def test_earth_search_v0_knows_its_baseline_only_from_the_product_name():
    found = item("odc-stac/S2A_28QCH_20200714_0_L2A.json")
    assert baseline(found) == (2, 14)
    assert canonical(found, 1234) == 1234


def test_planetary_computer_before_baseline_4_has_no_offset():
    assert canonical(item(PLANETARY), 1234) == 1234


def test_planetary_computer_from_baseline_4_on_has_one_that_no_metadata_states():
    found = item(PLANETARY)
    found["properties"]["s2:processing_baseline"] = "04.00"  # synthetic: the given items are older
    assert [canonical(found, dn) for dn in (999, 1234)] == [0, 234]


def test_stactools_states_an_offset_of_zero():
    found = item("stactools-sentinel2/S2A_T07HFE_20190212T192646_L2A.json")
    found["links"] = [{"rel": "self", "href": "https://example.com/item.json"}]
    assert canonical(found, 1234) == 1234


def test_oscd_states_scale_and_no_offset():
    assert canonical(oscd_item("S2_pisa_20150704"), 1234) == 1234


def test_landsat_c2_of_earth_search_states_scale_and_offset():
    found = item("pystac-client/planetarycomputer_s2_landsat_2items.json", "landsat-c2-l2")
    # 10000 x (DN x 2.75e-5 - 0.2); 7275 gives 0.625, 7274 gives 0.35
    assert [canonical(found, dn) for dn in (10000, 7275, 7274, 7000, 43636)] == [750, 1, 0, 0, 10000]


def test_landsat_c2_of_usgs_states_nothing_and_takes_the_product_guide():
    found = item("odc-stac/LC08_L2SP_028030_20200114_20200824_02_T1_SR.json")
    assert canonical(found, 10000) == 750
    assert canonical(item("odc-stac/LE07_L2SP_044033_20210329_20210424_02_T1_SR.json"), 10000, "blue") == 750


def test_landsat_collection_1_is_divided_by_the_sine_of_the_suns_elevation():
    found = {
        "id": "LC08_L1TP_013032_20180131_20180207_01_T1", "collection": "landsat-8-l1-c1",
        "properties": {"datetime": "2018-01-31T15:40:00Z", "view:sun_elevation": 30.0},
        "assets": {"B4": {"href": "/x/B4.TIF"}},
    }  # fmt: skip
    assert canonical(found, 15000) == 4000  # (15000 x 2e-5 - 0.1) / 0.5


def test_naip_is_scaled_to_its_largest_number():
    found = item("pystac-client/planetarycomputer_naip_20items.json")
    assert [canonical(found, dn, dtype="uint8") for dn in (0, 51, 255)] == [0, 2000, 10000]


def test_geoscience_australia_has_negative_no_data():
    found = item("odc-stac/ga_ls8c_ard_3-1-0_088080_2020-05-25_final.stac-item.json")
    assert [canonical(found, dn, dtype="int16") for dn in (-999, -5, 1234)] == [INVALID, 0, 1234]


def test_stac_1_1_states_scale_and_offset_in_bands():
    found = item(EARTH_SEARCH, "sentinel-2-c1-l2a")
    asset = found["assets"]["red"]
    stated = asset.pop("raster:bands")[0]
    asset["bands"] = [
        {"name": "B04", "nodata": 0, "raster:scale": stated["scale"], "raster:offset": -0.1}
    ]  # synthetic
    assert canonical(found, 1234) == 234


def test_no_data_is_tested_before_the_offset():
    assert table("uint16", 1e-4, -0.1, 0.0)[0] == INVALID
    assert table("uint16", 1e-4, -0.1, 0.0)[1] == 0


def test_a_scale_that_is_no_number_is_the_items_fault():
    found = item(EARTH_SEARCH, "sentinel-2-c1-l2a")
    found["assets"]["red"]["raster:bands"][0]["scale"] = "big"
    with pytest.raises(ItemError, match="scale is 'big'"):
        resolve_scene(found, ("red",))


@given(
    scale=st.sampled_from([1e-4, 2.75e-5, 1 / 255, 2e-5, 1e-3]),
    offset=st.sampled_from([0.0, -0.1, -0.2, 0.05]),
    dn=st.integers(0, 65535),
)
@settings(max_examples=60, deadline=None)
def test_the_table_is_exact(scale, offset, dn):
    exact = (Fraction(repr(scale)) * dn + Fraction(repr(offset))) * 10000
    assert table("uint16", scale, offset, None)[dn] == min(max(floor(exact + Fraction(1, 2)), 0), TOP)


def test_floating_point_bands():
    values = np.array([np.nan, np.inf, -9999.0, 0.1234, -0.5, 9.0], np.float32)
    assert canonical_floats(values, 1.0, 0.0, -9999.0).tolist() == [INVALID] * 3 + [1234, 0, TOP]
