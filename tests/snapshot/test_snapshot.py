"""The snapshot: verbatim, hashed, written and read back; and where its rasters lie on a grid."""

import json
import pickle
import threading
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyproj import Transformer

from eopipe.errors import DamageError
from eopipe.grid import Grid
from eopipe.snapshot import Row, Snapshot, item_hash, read_snapshot, resolve_href, write_snapshot
from eopipe.storage import Storage
from tests.support.paths import needs_shared
from tests.support.s3 import s3, s3_uri  # noqa: F401  (fixtures)
from tests.support.stac_items import real_item, real_items, snapshot_of


def row_of(name, crs, bounds, *, epoch="all", when=datetime(2020, 1, 1, tzinfo=UTC), footprint=None):
    return Row(
        epoch=epoch, collection="c", id=name, datetime=when, hash=f"{name}-hash", text=json.dumps({"id": name}),
        crs=crs, bounds=bounds, raster_source="proj", bbox=footprint,
    )  # fmt: skip


def snapshot_at(*places):
    return Snapshot.build(["all"], [row_of(f"s{n:03}", crs, bounds) for n, (crs, bounds) in enumerate(places)])


def one(snapshot, grid, box):
    return snapshot.scenes(grid).query(np.array([box]))[0].tolist()


# Real items, verbatim.


@needs_shared
@pytest.mark.parametrize("number", range(76))
def test_every_real_item_round_trips_verbatim_through_files(tmp_path, number):
    item = real_item(number)
    storage = Storage.open(str(tmp_path))
    snapshot = snapshot_of({"all": [item]}, href="https://host/items/item.json")
    write_snapshot(snapshot, storage)
    again = read_snapshot(storage, snapshot.hash)
    text = json.dumps(again.raw_items([0])[0])
    assert text == json.dumps(item)  # the order of keys too
    assert again.index.equals(snapshot.index)
    shuffled = json.loads(json.dumps(item, sort_keys=True))
    assert snapshot_of({"all": [shuffled]}).hash == snapshot.hash
    assert {asset["href"].partition(":")[0] for asset in again.items([0])[0]["assets"].values()} <= {
        "https",
        "http",
        "s3",
    }


@needs_shared
def test_all_real_items_in_one_snapshot(tmp_path):
    items = real_items()
    snapshot = snapshot_of({"all": items})
    storage = Storage.open(str(tmp_path))
    write_snapshot(snapshot, storage)
    again = pickle.loads(pickle.dumps(read_snapshot(storage, snapshot.hash)))
    assert again.hash == snapshot.hash
    rows = list(range(len(snapshot)))[::-1]
    assert again.raw_items(rows) == snapshot.raw_items(rows)
    assert sorted(map(item_hash, items)) == sorted(snapshot.index.column("hash").to_pylist())


@needs_shared
def test_the_index_is_geoparquet(tmp_path):
    import geopandas

    snapshot = snapshot_of({"all": real_items("site2")})
    write_snapshot(snapshot, Storage.open(str(tmp_path)))
    frame = geopandas.read_parquet(tmp_path / "snapshots" / snapshot.hash / "sentinel-2-l2a.parquet")
    assert frame.crs.to_epsg() in {4326, None} or "CRS84" in str(frame.crs)
    assert frame.geometry.iloc[0].geom_type == "Polygon"
    assert frame["level"].tolist() == ["L2A"] * 13


@needs_shared
@pytest.mark.parametrize("kind", ["memory", "s3"])
def test_a_remote_store_is_read_by_ranges(kind, request):
    snapshot = snapshot_of({"all": real_items()})
    uri = request.getfixturevalue("s3_uri") if kind == "s3" else "memory://snapshot-ranges"
    storage = Storage.open(uri)
    write_snapshot(snapshot, storage)
    again = pickle.loads(pickle.dumps(read_snapshot(storage, snapshot.hash)))
    rows = [70, 3, 3, 41]
    assert again.raw_items(rows) == snapshot.raw_items(rows)


def test_the_hash_tells_epochs_items_and_nothing_else():
    a, b = row_of("a", "EPSG:4326", (0, 0, 1, 1)), row_of("b", "EPSG:4326", (0, 0, 1, 1))
    base = Snapshot.build(["all"], [a, b])
    assert Snapshot.build(["all"], [b, a]).hash == base.hash
    assert Snapshot.build(["all"], [a]).hash != base.hash
    assert Snapshot.build(["other"], [row_of("a", "EPSG:4326", (0, 0, 1, 1), epoch="other")]).hash != base.hash
    assert Snapshot.build(["all", "empty"], [a, b]).hash != base.hash


def test_rows_are_ordered_by_epoch_time_and_id():
    early, late = datetime(2019, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
    box = ("EPSG:4326", (0.0, 0.0, 1.0, 1.0))
    rows = [
        row_of("b", *box, epoch="after", when=late),
        row_of("a", *box, epoch="after", when=late),
        row_of("z", *box, epoch="after", when=early),
        row_of("y", *box, epoch="before", when=late),
    ]
    snapshot = Snapshot.build(["before", "after"], rows)
    assert snapshot.index.column("id").to_pylist() == ["y", "z", "a", "b"]
    assert snapshot.index.column("row").to_pylist() == [0, 1, 2, 3]


def test_an_empty_snapshot_and_an_empty_epoch_survive(tmp_path):
    storage = Storage.open(str(tmp_path))
    empty = Snapshot.build(["before", "after"], [])
    write_snapshot(empty, storage)
    again = read_snapshot(storage, empty.hash)
    assert again.epochs == ("before", "after")
    assert len(again) == 0
    assert one(again, Grid("EPSG:32632", 10.0), [0, 0, 1e6, 1e7]) == []


def test_odd_collection_names_make_distinct_plain_files(tmp_path):
    names = ["", "a/b", "a-b", "A-B", "../x", "ü"]
    rows = [
        Row(**{**row_of(f"i{n}", "EPSG:4326", (0, 0, 1, 1)).__dict__, "collection": c}) for n, c in enumerate(names)
    ]
    snapshot = Snapshot.build(["all"], rows)
    storage = Storage.open(str(tmp_path))
    write_snapshot(snapshot, storage)
    files = [path.name for path in (tmp_path / "snapshots" / snapshot.hash).iterdir()]
    assert len({name.lower() for name in files}) == 2 * len(names) + 1
    assert read_snapshot(storage, snapshot.hash).index.column("collection").to_pylist() == names


# Damage.


@pytest.fixture
def written(tmp_path):
    storage = Storage.open(str(tmp_path))
    items = [
        {
            "type": "Feature", "id": f"i{n}", "properties": {"datetime": "2020-01-01T00:00:00Z"}, "assets": {},
            "collection": "c", "geometry": {"type": "Point", "coordinates": [n, 1]}, "bbox": [n, 1, n, 1],
        }
        for n in range(100)
    ]  # fmt: skip
    snapshot = snapshot_of({"all": items})
    write_snapshot(snapshot, storage)
    return snapshot, storage, tmp_path / "snapshots" / snapshot.hash


def test_reading_few_rows_reads_few_groups(written):
    snapshot, storage, _ = written
    again = read_snapshot(storage, snapshot.hash)
    again.items([0, 1, 2])
    file = again._texts.files["c"]
    assert len(file._groups) == 1


def test_threads_share_one_snapshot(written):
    snapshot, storage, _ = written
    again = read_snapshot(storage, snapshot.hash)
    found = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: again.items([n, 99 - n])[0]["id"]})) for n in range(100)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ids = snapshot.index.column("id").to_pylist()
    assert found == dict(enumerate(ids))


@pytest.mark.parametrize("name", ["snapshot.json", "c.parquet", "c.items.parquet"])
@pytest.mark.parametrize("how", ["missing", "torn", "flipped"])
def test_damage_is_named(written, name, how):
    snapshot, storage, folder = written
    path = folder / name
    data = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    elif how == "torn":
        path.write_bytes(data[: len(data) // 2])
    else:
        middle = data.index(b"hash") + 12 if name == "snapshot.json" else len(data) // 3
        data[middle] ^= 0x55
        path.write_bytes(data)
    with pytest.raises(DamageError) as caught:
        read_snapshot(storage, snapshot.hash).items(range(100))
    assert "\n" not in str(caught.value)
    assert snapshot.hash[:12] in str(caught.value)


def test_another_item_under_the_same_row_is_found_out(written):
    snapshot, storage, folder = written
    path = folder / "c.items.parquet"
    table = pq.read_table(path)
    texts = [text.replace('"i7"', '"i8"') for text in table.column("item").to_pylist()]
    pq.write_table(table.set_column(1, "item", pa.array(texts, pa.large_string())), path, row_group_size=32)
    with pytest.raises(DamageError, match="does not have its hash"):
        read_snapshot(storage, snapshot.hash).raw_items(range(100))


def test_an_unknown_snapshot(tmp_path):
    with pytest.raises(DamageError, match=r"snapshot.json is missing"):
        read_snapshot(Storage.open(str(tmp_path)), "0" * 64)


# Hrefs.


@pytest.mark.parametrize(
    ("href", "base", "absolute"),
    [
        ("./B02.tif", "/data/a/item.json", "/data/a/B02.tif"),
        ("../B02.tif", "/data/a/item.json", "/data/B02.tif"),
        ("/other/B02.tif", "/data/a/item.json", "/other/B02.tif"),
        ("./B02.tif", "https://host/a/item.json?x=1", "https://host/a/B02.tif"),
        ("/B02.tif", "https://host/a/item.json", "https://host/B02.tif"),
        ("../B02.tif", "s3://bucket/a/b/item.json", "s3://bucket/a/B02.tif"),
        ("s3://bucket/B02.tif", "/data/item.json", "s3://bucket/B02.tif"),
        ("/vsis3/bucket/B02.tif", "https://host/item.json", "/vsis3/bucket/B02.tif"),
        ("B 02.tif", None, "B 02.tif"),
    ],
)
def test_hrefs_become_absolute(href, base, absolute):
    assert resolve_href(href, base) == absolute


# Where the rasters lie.

UTM32 = Grid("EPSG:32632", 10.0)


def test_in_its_own_crs_a_raster_is_exactly_where_it_is():
    snapshot = snapshot_at(("EPSG:32632", (600000.0, 4800000.0, 709800.0, 4909800.0)))
    assert one(snapshot, UTM32, [590000, 4800000, 600000, 4900000]) == []  # they share an edge
    assert one(snapshot, UTM32, [590000, 4800000, 600010, 4900000]) == [0]
    assert one(snapshot, UTM32, [709790, 4909790, 709800, 4909800]) == [0]


@settings(deadline=None, max_examples=60)
@given(
    zone=st.integers(28, 36),
    x=st.floats(200_000, 700_000),
    y=st.floats(100_000, 8_900_000),
    target=st.sampled_from(["EPSG:4326", "EPSG:8857", "EPSG:6933", "EPSG:3035", "EPSG:32632"]),
    where=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@example(zone=28, x=200_000.0, y=8_033_000.0, target="EPSG:6933", where=(0.0, 1.0))
def test_no_pixel_of_a_raster_is_missed(zone, x, y, target, where):
    source = f"EPSG:326{zone}"
    snapshot = snapshot_at((source, (x, y, x + 109_800.0, y + 109_800.0)))
    point = Transformer.from_crs(source, target, always_xy=True).transform(
        x + where[0] * 109_800.0, y + where[1] * 109_800.0
    )
    if not np.isfinite(point).all():
        return
    tiny = 1e-4 if target == "EPSG:4326" else 10.0
    grid = Grid(target, tiny)
    box = [point[0] - tiny, point[1] - tiny, point[0] + tiny, point[1] + tiny]
    assert one(snapshot, grid, box) == [0]


def test_a_projected_outline_is_not_much_too_large():
    snapshot = snapshot_at(("EPSG:32633", (300000.0, 4800000.0, 409800.0, 4909800.0)))
    there = Transformer.from_crs(32633, 32632, always_xy=True)
    left, bottom, right, top = there.transform_bounds(300000.0, 4800000.0, 409800.0, 4909800.0)
    assert one(snapshot, UTM32, [left - 2000, bottom, left - 1000, top]) == []
    assert one(snapshot, UTM32, [left, top + 1000, right, top + 2000]) == []


@pytest.mark.parametrize("target", ["EPSG:4326", "EPSG:8857", "EPSG:6933", "EPSG:3857"])
def test_a_raster_across_the_antimeridian_is_found_on_both_sides(target):
    # UTM zone 60 south, from 179 east over the edge to 179 west.
    to_utm = Transformer.from_crs(4326, 32760, always_xy=True)
    x, y = to_utm.transform(180.0, -17.0)
    snapshot = snapshot_at(("EPSG:32760", (x - 50_000, y - 50_000, x + 50_000, y + 50_000)))
    there = Transformer.from_crs(4326, target, always_xy=True)
    grid = Grid(target, 0.001 if target == "EPSG:4326" else 10.0)
    for west, expected in ((179.7, [0]), (-179.8, [0]), (170.0, []), (-170.0, []), (0.0, [])):
        left, bottom = there.transform(west, -17.05)
        right, top = there.transform(west + 0.1, -16.95)
        assert one(snapshot, grid, [left, bottom, right, top]) == expected, west


def test_a_footprint_beyond_180_is_found_on_both_sides():
    snapshot = snapshot_at(("EPSG:4326", (179.0, -18.0, 181.0, -17.0)))
    grid = Grid("EPSG:4326", 0.001)
    assert one(snapshot, grid, [-179.5, -17.6, -179.4, -17.5]) == [0]
    assert one(snapshot, grid, [179.5, -17.6, 179.6, -17.5]) == [0]
    assert one(snapshot, grid, [-178.5, -17.6, -178.4, -17.5]) == []
    fiji = Grid("EPSG:32701", 10.0)
    box = Transformer.from_crs(4326, 32701, always_xy=True).transform_bounds(-179.6, -17.6, -179.5, -17.5)
    assert one(snapshot, fiji, box) == [0]


def test_what_the_grid_cannot_take_is_compared_in_lon_lat():
    # A world-wide raster has no outline in UTM; a scene on the other side of the earth must not come up.
    snapshot = snapshot_at(
        ("EPSG:4326", (-180.0, -90.0, 180.0, 90.0)), ("EPSG:32601", (400000.0, 4800000.0, 509800.0, 4909800.0))
    )
    assert one(snapshot, UTM32, [600000, 4800000, 640960, 4840960]) == [0]


def test_round_a_pole():
    polar = ("EPSG:3413", (-200000.0, -200000.0, 200000.0, 200000.0))
    snapshot = snapshot_at(polar, ("EPSG:4326", (-180.0, 80.0, 180.0, 90.0)))
    lonlat = Grid("EPSG:4326", 0.001)
    assert one(snapshot, lonlat, [100.0, 89.5, 100.1, 89.6]) == [0, 1]
    assert one(snapshot, lonlat, [100.0, 84.0, 100.1, 84.1]) == [1]
    stereo = Grid("EPSG:3413", 10.0)
    assert one(snapshot, stereo, [-100.0, -100.0, 100.0, 100.0]) == [0, 1]
    assert one(snapshot, stereo, [600000.0, 600000.0, 600100.0, 600100.0]) == [1]


def test_items_of_one_tile_come_in_order_and_once():
    box = ("EPSG:32632", (600000.0, 4800000.0, 709800.0, 4909800.0))
    snapshot = snapshot_at(*[box] * 50)
    assert one(snapshot, UTM32, [610000, 4810000, 650000, 4850000]) == list(range(50))
    found = snapshot.scenes(UTM32).query(np.array([[0, 0, 1, 1], [610000, 4810000, 650000, 4850000]]))
    assert [len(part) for part in found] == [0, 50]
    assert found[1].dtype == np.int32
    assert snapshot.scenes(UTM32).query(np.empty((0, 4))) == []


@needs_shared
def test_real_rasters_lie_where_their_footprints_are():
    from eopipe.snapshot import off_footprint

    snapshot = snapshot_of({"all": real_items()})
    assert off_footprint(snapshot.index).tolist() == []
    grid = Grid("EPSG:4326", 0.0001)
    index = snapshot.scenes(grid)
    for row, wkb in enumerate(snapshot.index.column("geometry").to_pylist()):
        x, y = shapely.from_wkb(wkb).representative_point().coords[0]
        assert row in index.query(np.array([[x, y, x + 1e-4, y + 1e-4]]))[0]


def test_a_projection_that_contradicts_the_footprint_is_noticed():
    from eopipe.snapshot import off_footprint

    near = row_of("a", "EPSG:32632", (600000.0, 4800000.0, 709800.0, 4909800.0), footprint=(10.2, 43.3, 11.6, 44.4))
    far = row_of("b", "EPSG:32652", (600000.0, 4800000.0, 709800.0, 4909800.0), footprint=(10.2, 43.3, 11.6, 44.4))
    none = row_of("c", "EPSG:32652", (600000.0, 4800000.0, 709800.0, 4909800.0))
    edge = row_of("d", "EPSG:4326", (179.5, 0.0, 180.5, 1.0), footprint=(179.6, 0.1, -179.6, 0.9))
    assert off_footprint(Snapshot.build(["all"], [near, far, none, edge]).index).tolist() == [1]
