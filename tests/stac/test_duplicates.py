"""Duplicates: the newest processing stays; what is not the same scene stays too."""

import json

import pytest
import shapely

from eopipe.stac.describe_item import Remarks, describe
from eopipe.stac.duplicates import reduce_duplicates
from tests.support.paths import needs_shared
from tests.support.stac_items import real_item, real_items

pytestmark = needs_shared
PC = "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531"
EARTH = "S2A_13TDE_20231008_0_L2A"


def reduced(*items, collections=()):
    rows = [describe(item, "all", Remarks()) for item in items]
    kept, dropped = reduce_duplicates(rows, collections)
    return [row.id for row in kept], dropped


def reprocessed(item, new_id, **properties):
    """Synthetic: a later processing of a real item."""
    return {**item, "id": new_id, "properties": {**item["properties"], **properties}}


def test_a_later_baseline_replaces_an_earlier_one_whatever_the_order():
    old = real_item(PC)
    new = reprocessed(
        old,
        "S2B_MSIL2A_20190629T212529_R043_T06VVN_20230101T000000",
        **{
            "s2:processing_baseline": "05.00",
            "s2:datatake_id": "GS2B_20190629T212529_012081_N05.00",
            "s2:product_uri": "S2B_MSIL2A_20190629T212529_N0500_R043_T06VVN_20230101T000000.SAFE",
        },
    )
    for pair in ((old, new), (new, old)):
        kept, dropped = reduced(*pair)
        assert kept == [new["id"]]
        assert dropped[0].dropped == f"sentinel-2-l2a/{PC}"
        assert dropped[0].why == "baseline 05.00 is newer than 02.12"


def test_baselines_are_numbers_not_texts():
    item = real_item(PC)
    nine, ten = (reprocessed(item, f"p{b}", **{"s2:processing_baseline": b}) for b in ("05.09", "05.10"))
    assert reduced(ten, nine)[0] == ["p05.10"]
    assert reduced(reprocessed(item, "x", **{"s2:processing_baseline": "10.00"}), nine)[0] == ["x"]


def test_of_one_baseline_the_later_generation_stays():
    item = real_item(EARTH)
    later = reprocessed(
        item, "S2A_13TDE_20231008_1_L2A", **{"s2:generation_time": "2024-01-01T00:00:00.000Z", "s2:sequence": "1"}
    )
    kept, dropped = reduced(later, item)
    assert kept == ["S2A_13TDE_20231008_1_L2A"]
    assert "generation time 2024-01-01T00:00:00 is newer" in dropped[0].why


@pytest.mark.parametrize("first", ["sentinel-2-l2a", "sentinel-2-c1-l2a"])
def test_of_the_same_product_in_two_collections_the_first_named_stays(first):
    items = [
        item for item in real_items("earthsearch") if item["collection"] in {"sentinel-2-l2a", "sentinel-2-c1-l2a"}
    ]
    other = "sentinel-2-c1-l2a" if first == "sentinel-2-l2a" else "sentinel-2-l2a"
    kept, dropped = reduced(*items, collections=(first, other))
    assert len(kept) == len(dropped) == 6
    assert all(one.chosen.startswith(f"{first}/") and one.dropped.startswith(f"{other}/") for one in dropped)


def test_levels_are_not_duplicates_of_each_other():
    items = [item for item in real_items("earthsearch") if item["collection"] in {"sentinel-2-l2a", "sentinel-2-l1c"}]
    kept, dropped = reduced(*items)
    assert len(kept) == len(items)
    assert dropped == []


def test_two_halves_of_a_tile_from_two_stations_are_both_kept():
    """Synthetic: one datatake and tile, two datastrips, complementary footprints."""
    whole = real_item(EARTH)
    west, south, east, north = whole["bbox"]
    middle = (south + north) / 2
    halves = []
    for number, box in enumerate((shapely.box(west, south, east, middle), shapely.box(west, middle, east, north))):
        half = reprocessed(
            whole,
            f"S2A_13TDE_20231008_{number}_L2A",
            **{"s2:datastrip_id": f"S2A_OPER_MSI_L2A_DS_2APS_20231008T2{number}3154_S20231008T17{number}927_N05.09"},
        )
        halves.append({**half, "geometry": json.loads(shapely.to_geojson(box)), "bbox": list(box.bounds)})
    assert len(reduced(*halves)[0]) == 2
    # The same footprint from another datastrip id is the same ground.
    for half in halves:
        half["geometry"], half["bbox"] = whole["geometry"], whole["bbox"]
    assert len(reduced(*halves)[0]) == 1


def test_other_dates_other_tiles_other_epochs_and_other_satellites_stay():
    kept, dropped = reduced(*real_items("site1"), *real_items("site2")[:-2])
    assert dropped == []
    assert len(kept) == 20
    rows = [describe(real_item(PC), epoch, Remarks()) for epoch in ("before", "after")]
    assert len(reduce_duplicates(rows, ())[0]) == 2


def test_what_lacks_the_information_stays():
    for part in ("naip", "stactools-sentinel1", "LC08", "ga_ls8c"):
        items = real_items(part)
        assert len(reduced(*items, *items)[0]) == 2 * len(items)
    item = real_item(PC)
    for key in ("s2:datatake_id", "s2:product_uri", "s2:mgrs_tile"):
        del item["properties"][key]
    assert len(reduced({**item, "id": "a"}, {**item, "id": "b"})[0]) == 2


def test_three_processings_leave_one_and_name_it_twice():
    item = real_item(PC)
    versions = [reprocessed(item, f"v{n}", **{"s2:processing_baseline": f"0{n}.00"}) for n in (4, 2, 3)]
    kept, dropped = reduced(*versions)
    assert kept == ["v4"]
    assert {one.chosen for one in dropped} == {"sentinel-2-l2a/v4"}
    assert {one.dropped for one in dropped} == {"sentinel-2-l2a/v2", "sentinel-2-l2a/v3"}
