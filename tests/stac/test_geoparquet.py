"""stac-geoparquet files as catalogs."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from stac_geoparquet.arrow import parse_stac_items_to_parquet

from eopipe.errors import CatalogError, SpecError
from eopipe.stac.search import search
from tests.support.http_files import FileServer
from tests.support.paths import needs_shared
from tests.support.stac_items import real_items, spec_for

pytestmark = needs_shared
NOW = datetime(2025, 8, 1, tzinfo=UTC)


def found(catalog, bbox=(-180.0, -90.0, 180.0, 90.0), **source):
    spec, area = spec_for(catalog, bbox, **source)
    return search(spec.source, area, NOW)


@pytest.fixture(scope="module")
def naip(tmp_path_factory):
    path = tmp_path_factory.mktemp("naip") / "naip.parquet"
    parse_stac_items_to_parquet(real_items("naip"), output_path=path)
    return path


def test_the_items_come_back_as_they_went_in(naip):
    snapshot, _ = found(naip)
    wanted = {item["id"]: item for item in real_items("naip")}
    items = {item["id"]: item for item in snapshot.raw_items(range(len(snapshot)))}
    assert set(items) == set(wanted)
    for name, item in items.items():
        assert item["assets"] == wanted[name]["assets"]
        assert item["properties"]["proj:transform"] == wanted[name]["properties"]["proj:transform"]


def test_the_question_is_evaluated_here(naip):
    snapshot, _ = found(naip, (-73.10, 43.94, -73.09, 43.95), datetime="2018/2021", query={"gsd": {"lte": 0.6}})
    wanted = ["vt_m_4307308_nw_18_060_20181019_20190225", "vt_m_4307308_nw_18_060_20210920"]
    assert snapshot.index.column("id").to_pylist() == wanted
    assert len(found(naip, filter="naip:state = 'me'")[0]) == 0
    assert len(found(naip, ids=wanted[:1])[0]) == 1


def test_over_http(naip):
    server = FileServer(naip.parent)
    try:
        snapshot, report = found(f"{server.url}/naip.parquet")
    finally:
        server.close()
    assert snapshot.hash == found(naip)[0].hash
    assert report.requests == 1


@pytest.mark.parametrize("part", ["site1", "site2", "earthsearch", "s2_landsat"])
def test_other_real_collections(tmp_path, part):
    items = real_items(part)
    path = tmp_path / "items.parquet"
    parse_stac_items_to_parquet(items, output_path=path)
    snapshot, report = found(path)
    assert report.matched == len(items)
    assert report.warnings == []
    assert set(snapshot.index.column("raster_source").to_pylist()) == {"proj"}


def test_relative_hrefs_start_at_the_file(tmp_path):
    items = real_items("naip")[:2]
    for item in items:
        item["assets"] = {"image": {**item["assets"]["image"], "href": f"./{item['id']}.tif"}}
        item["links"] = []
    path = tmp_path / "items.parquet"
    parse_stac_items_to_parquet(items, output_path=path)
    snapshot, _ = found(path)
    hrefs = {item["assets"]["image"]["href"] for item in snapshot.items([0, 1])}
    assert hrefs == {f"{tmp_path}/{item['id']}.tif" for item in items}


def test_what_is_no_stac_geoparquet(tmp_path, naip):
    plain = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"id": ["a"]}), plain)
    with pytest.raises(CatalogError, match="no stac-geoparquet: it has no column 'geometry'"):
        found(plain)
    torn = tmp_path / "torn.parquet"
    torn.write_bytes(naip.read_bytes()[:-100])
    with pytest.raises(CatalogError, match="cannot be read as parquet") as caught:
        found(torn)
    assert "\n" not in str(caught.value)


def test_collections_and_the_guard(naip):
    with pytest.raises(SpecError, match="no collection 'landsat'; it has naip"):
        found(naip, collections=["landsat"])
    with pytest.raises(SpecError, match="max_items 3"):
        found(naip, max_items=3)


def test_our_own_items_file_round_trips(tmp_path, naip):
    snapshot, _ = found(naip)
    items = snapshot.raw_items(range(len(snapshot)))
    path = tmp_path / "again.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    assert found(path)[0].hash == snapshot.hash
