"""What the index says of an item: every form of projection, level, tile and datatake."""

import json

import pytest
from pyproj import CRS

from eopipe.errors import ItemError
from eopipe.stac.describe_item import Remarks, describe
from tests.support.paths import needs_shared
from tests.support.stac_items import real_item, real_items

pytestmark = needs_shared
LANDSAT = "LC08_L2SP_033032_20231008_02_T1"
PLACE = (449085.0, 4346985.0, 680415.0, 4581915.0)


def row_of(item):
    remarks = Remarks()
    return describe(item, "all", remarks), remarks.lines()


def derived(**properties):
    """Synthetic: a real Landsat item with another form of projection."""
    item = real_item(LANDSAT)
    item["properties"] = {key: value for key, value in item["properties"].items() if not key.startswith("proj:")}
    item["properties"] |= properties
    return item


TRANSFORM = {"proj:transform": [30, 0, 449085, 0, -30, 4581915], "proj:shape": [7831, 7711]}


@pytest.mark.parametrize(
    "properties",
    [
        {"proj:epsg": 32613, **TRANSFORM},
        {"proj:code": "EPSG:32613", **TRANSFORM},
        {"proj:epsg": None, "proj:code": "EPSG:32613", **TRANSFORM},
        {"proj:epsg": None, "proj:wkt2": CRS(32613).to_wkt(), **TRANSFORM},
        {"proj:projjson": CRS(32613).to_json_dict(), **TRANSFORM},
        {"proj:code": "EPSG:32613", "proj:bbox": list(PLACE)},
        {"proj:code": "EPSG:32613", "proj:bbox": [*PLACE[:2], 0, *PLACE[2:], 100]},
        {"proj:code": "EPSG:32613", **TRANSFORM, "proj:transform": [*TRANSFORM["proj:transform"], 0, 0, 1]},
        # South up: the origin is the lower left corner.
        {"proj:code": "EPSG:32613", **TRANSFORM, "proj:transform": [30, 0, 449085, 0, 30, 4346985]},
    ],
)
def test_every_form_of_projection_gives_the_same_place(properties):
    row, said = row_of(derived(**properties))
    assert row.crs == "EPSG:32613"
    assert row.bounds == PLACE
    assert row.raster_source == "proj"
    assert said == []


def test_a_crs_without_a_code_is_kept_as_wkt():
    wkt = CRS.from_proj4("+proj=laea +lat_0=40 +lon_0=-104 +datum=WGS84 +units=m").to_wkt()
    row, _ = row_of(derived(**{"proj:wkt2": wkt, **TRANSFORM}))
    assert CRS(row.crs) == CRS(wkt)


def test_a_rotated_raster_is_held_by_its_bounds():
    row, _ = row_of(
        derived(**{"proj:code": "EPSG:32613", "proj:shape": [100, 100], "proj:transform": [10, 10, 0, 10, -10, 0]})
    )
    assert row.bounds == (0.0, -1000.0, 2000.0, 1000.0)


def test_bounds_are_the_union_over_data_assets_only():
    item = real_item("S2A_T07HFE_20190212T192646_L2A")
    assert row_of(item)[0].bounds == (600000.0, 6390220.0, 709800.0, 6500020.0)
    item["assets"]["preview"]["proj:transform"] = [320.0, 0, 0.0, 0, -320.0, 0.0]  # synthetic: a thumbnail elsewhere
    assert row_of(item)[0].bounds == (600000.0, 6390220.0, 709800.0, 6500020.0)
    item["assets"]["nir09"]["proj:transform"] = [60.0, 0, 590000.0, 0, -60.0, 6500020.0]
    assert row_of(item)[0].bounds == (590000.0, 6390220.0, 709800.0, 6500020.0)


def test_assets_in_two_crss_are_held_in_the_commoner():
    item = real_item("S2A_13TDE_20231008_0_L2A")
    item["assets"]["scl"] |= {"proj:code": "EPSG:32614"}  # synthetic; its transform now means another place
    row, _ = row_of(item)
    assert row.crs == "EPSG:32613"
    assert row.bounds[2] > 509760.0 + 400_000
    shuffled = {**item, "assets": dict(reversed(item["assets"].items()))}
    assert row_of(shuffled)[0].bounds == row.bounds


def test_a_footprint_stands_in_and_is_said():
    row, said = row_of(real_item("3af1acae-0255-4762-b2b2-f26034cf3ce8"))  # only proj:epsg, nothing else
    assert row.raster_source == "footprint"
    assert row.crs == "EPSG:4326"
    west, south, east, north = real_item("3af1acae-0255-4762-b2b2-f26034cf3ce8")["bbox"]
    assert row.bounds == pytest.approx((west - 0.01, south - 0.01, east + 0.01, north + 0.01))
    assert len(said) == 1
    assert said[0].startswith(
        "1 item: no projection, the footprint stands in for the raster's bounds (first '3af1acae"
    )


@pytest.mark.parametrize(
    "properties",
    [
        {"proj:code": "EPSG:999999", **TRANSFORM},
        {"proj:epsg": "no", **TRANSFORM},
        {"proj:code": "EPSG:32613", "proj:bbox": [1, 2, 3]},
        {"proj:code": "EPSG:32613", "proj:bbox": [1, 2, 3, None]},
        {"proj:code": "EPSG:32613", **TRANSFORM, "proj:transform": [0, 0, 1, 0, 0, 1]},
        {"proj:code": "EPSG:32613", **TRANSFORM, "proj:shape": [0, 10]},
        {"proj:code": "EPSG:32613", **TRANSFORM, "proj:transform": 3},
        {"proj:projjson": {"type": "what"}, **TRANSFORM},
    ],
)
def test_a_projection_that_cannot_be_read_is_said_and_the_footprint_used(properties):
    row, said = row_of(derived(**properties))
    assert row.raster_source == "footprint"
    assert any("projection cannot be read" in line for line in said)


def test_neither_projection_nor_geometry():
    item = derived()
    item["geometry"] = None
    with pytest.raises(ItemError, match=LANDSAT):
        row_of(item)


def test_a_projection_without_a_geometry_will_do():
    item = {**real_item(LANDSAT), "geometry": None, "bbox": None}
    row, _ = row_of(item)
    assert row.bounds == PLACE
    assert row.geometry is None
    assert row.bbox is None


@pytest.mark.parametrize(
    ("geometry", "bbox"),
    [
        ({"type": "Polygon", "coordinates": [[[179, -1], [181, -1], [181, 1], [179, 1], [179, -1]]]}, None),
        (
            {
                "type": "MultiPolygon",
                "coordinates": [
                    [[[179, -1], [180, -1], [180, 1], [179, 1], [179, -1]]],
                    [[[-180, -1], [-179, -1], [-179, 1], [-180, 1], [-180, -1]]],
                ],
            },
            [179, -1, -179, 1],
        ),
        (
            {
                "type": "MultiPolygon",
                "coordinates": [
                    [[[-180, -1], [-179, -1], [-179, 1], [-180, 1], [-180, -1]]],
                    [[[179, -1], [180, -1], [180, 1], [179, 1], [179, -1]]],
                ],
            },
            [-180, -1, 180, 1],
        ),
    ],
)
def test_a_footprint_across_the_antimeridian_passes_180(geometry, bbox):
    """Synthetic geometries on a real item."""
    row, _ = row_of(derived() | {"geometry": geometry, "bbox": bbox})
    assert row.bounds == pytest.approx((178.99, -1.01, 181.01, 1.01))


LEVELS = {
    "sentinel-2-l2a": "L2A", "sentinel-2-c1-l2a": "L2A", "sentinel-2-l1c": "L1C", "sentinel-1-grd": "GRD",
    "sentinel1-grd": "GRD", "sentinel1-rtc-aws": "RTC", "landsat-c2-l2": "L2SP", "naip": None,
    "sentinel-s2-l2a-cogs": "L2A", "sentinel2-l2a-example": "L2A",
}  # fmt: skip


def test_levels_of_the_real_collections():
    found = {}
    for item in real_items():
        found.setdefault(item.get("collection"), set()).add(row_of(item)[0].level)
    for collection, level in LEVELS.items():
        assert found[collection] == {level}, collection


@pytest.mark.parametrize(
    ("collection", "properties", "item_id", "level"),
    [
        ("x", {"processing:level": "L1C"}, "i", "L1C"),
        ("SENTINEL-2", {"product:type": "S2MSI1C"}, "i", "L1C"),
        ("sentinel-2-l1c-oscd", {}, "S2_pisa", "L1C"),
        ("x", {}, "S2A_28QCH_20200714_0_L2A", "L2A"),
        ("x", {}, "S2B_MSIL1C_20190629T212529_N0212_R043_T06VVN_20201006T080531", "L1C"),
        ("small2a", {}, "i", None),
    ],
)
def test_levels_of_other_forms(collection, properties, item_id, level):
    item = {**derived(), "collection": collection, "id": item_id}
    item["properties"] = {"datetime": "2020-01-01T00:00:00Z", "proj:epsg": 32613, **TRANSFORM, **properties}
    assert row_of(item)[0].level == level


def test_datatake_tile_and_baseline_of_each_provider():
    expected = {
        "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531": ("S2B_20190629T212529", "06VVN", "02.12"),
        "S2B_T20EPT_20250731T131905_L2A": ("S2B_20250731T131909", "20EPT", "05.11"),
        "S2B_20EPT_20250731_0_L2A": ("S2B_20250731T131909", "20EPT", "05.11"),
        "S2A_28QCH_20200714_0_L2A": ("S2A_20200714T115221", "28QCH", "02.14"),
        "S2A_T07HFE_20190212T192646_L2A": ("S2A_20190212T192651", "07HFE", "02.12"),
        "S1A_20200103_17RMJ_ASC": (None, "17RMJ", None),
    }
    for item_id, wanted in expected.items():
        row, _ = row_of(real_item(item_id))
        assert (row.datatake, row.mgrs, row.baseline) == wanted


def test_remarks_are_one_line_a_kind():
    remarks = Remarks()
    for name in "abc":
        remarks.add("odd", name)
    assert remarks.lines() == ["3 items: odd (first 'a')"]


def test_signatures_leave_the_json_but_nothing_else_does():
    item = real_item(LANDSAT)
    plain, _ = row_of(item)
    assert json.loads(plain.text) == item
    item["assets"]["red"]["href"] += "?sv=2021&sp=rl&sig=abc%3D"
    signed, _ = row_of(item)
    assert (signed.hash, signed.text) == (plain.hash, plain.text)
