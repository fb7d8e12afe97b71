"""Searching a real HTTP STAC API, well and ill."""

import json
from datetime import UTC, datetime

import pytest

from eopipe.errors import CatalogError, ItemError, SpecError
from eopipe.stac.http import Backoff
from eopipe.stac.search import search
from tests.support.paths import needs_shared
from tests.support.stac_api import CORE, SEARCH, Fault, StacApi
from tests.support.stac_items import real_items, spec_for

pytestmark = needs_shared
NOW = datetime(2025, 8, 1, tzinfo=UTC)
QUICK = Backoff(attempts=5, base=0.01, cap=0.3, unreachable=2)
EARTH_SEARCH = "earthsearch"
L2A = "sentinel-2-l2a"


def found(api, bbox=(-180.0, -90.0, 180.0, 90.0), **source):
    source.setdefault("collections", [L2A])
    spec, area = spec_for(source.pop("catalog", api.url), bbox, **source)
    return search(spec.source, area, NOW, backoff=QUICK)


@pytest.fixture
def api():
    with StacApi(real_items(EARTH_SEARCH), page=2) as server:
        yield server


def ids(snapshot):
    return snapshot.index.column("id").to_pylist()


def test_every_page_is_followed_and_items_stay_as_they_were_received(api):
    snapshot, report = found(api)
    wanted = {item["id"]: item for item in real_items(EARTH_SEARCH) if item["collection"] == L2A}
    assert sorted(ids(snapshot)) == sorted(wanted)
    assert {item["id"]: item for item in snapshot.raw_items(range(len(snapshot)))} == wanted
    assert (report.matched, report.used) == (len(wanted), len(wanted))
    assert len(api.requests("/search")) == 3
    assert report.requests == len(api.log)


def test_progress_counts_items(api):
    seen = []
    spec, area = spec_for(api.url, collections=[L2A])
    search(spec.source, area, NOW, backoff=QUICK, progress=seen.append)
    assert seen == list(range(1, 7))


def test_query_filter_time_and_place_go_to_the_server(api):
    snapshot, _ = found(
        api,
        (-41.0, -6.0, -37.0, -3.0),
        datetime="2025-07",
        query={"eo:cloud_cover": {"lt": 40}},
        filter="s2:processing_baseline = '05.11'",
    )
    assert ids(snapshot) == ["S2B_24MXV_20250731_0_L2A", "S2B_24MWV_20250731_0_L2A", "S2B_24MVV_20250731_0_L2A"]
    body = api.requests("/search")[0].body
    assert body["datetime"] == "2025-07-01T00:00:00.000Z/2025-07-31T23:59:59.999Z"
    assert body["query"] == {"eo:cloud_cover": {"lt": 40}}
    assert body["filter"]["op"] == "="
    assert body["filter-lang"] == "cql2-json"
    assert body["bbox"] == [-41.0, -6.0, -37.0, -3.0]


def test_get_is_used_where_the_api_offers_nothing_else():
    with StacApi(real_items(EARTH_SEARCH), page=2, methods=("GET",)) as api:
        snapshot, _ = found(api, query={"eo:cloud_cover": {"lt": 40}}, filter="s2:processing_baseline = '05.11'")
        assert len(snapshot) == 4
        asked = api.requests("/search")
    assert {line.method for line in asked} == {"GET"}
    assert asked[0].body["filter-lang"] == "cql2-text"


def test_a_polygon_goes_as_intersects_and_a_rich_one_is_thinned(api):
    import shapely

    circle = shapely.Point(-39, -4.7).buffer(2, quad_segs=400)
    snapshot, _ = found(api, json.loads(shapely.to_geojson(circle)))
    assert len(snapshot) == 5
    sent = shapely.geometry.shape(api.requests("/search")[0].body["intersects"])
    assert shapely.get_num_coordinates(sent) < 200
    assert sent.contains(circle)


def test_one_search_an_epoch_in_the_order_of_the_spec(api):
    snapshot, report = found(api, datetime=None, epochs={"later": "2025-07-31", "before": "2020/2021"})
    assert snapshot.epochs == ("later", "before")
    assert report.by_epoch == {"later": 6, "before": 0}
    assert [line.body["datetime"][:4] for line in api.requests("/search") if "token" not in line.body] == [
        "2025",
        "2020",
    ]


def test_duplicates_across_collections_are_reduced_and_reported(api):
    snapshot, report = found(api, collections=["sentinel-2-c1-l2a", L2A])
    assert report.matched == 12
    assert report.used == 6
    assert set(snapshot.index.column("collection").to_pylist()) == {"sentinel-2-c1-l2a"}
    assert report.duplicates[0].dropped.startswith(f"{L2A}/")


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, retry_after="0"),
        Fault(status=429),
        Fault(status=500),
        Fault(status=502),
        Fault(status=503),
        Fault(status=504),
        Fault("reset"),
        Fault("truncate"),
    ],
    ids=lambda fault: f"{fault.kind}{fault.status}",
)
def test_passing_faults_are_tried_again(api, fault):
    api.inject("/search", fault, fault)
    api.inject("/", fault)
    snapshot, report = found(api)
    assert len(snapshot) == 6
    assert report.requests == 8
    assert len(api.requests("/search")) == 5


def test_a_fault_in_the_middle_of_paging_loses_nothing(api):
    spec, area = spec_for(api.url, collections=[L2A])
    search(
        spec.source,
        area,
        NOW,
        backoff=QUICK,
        progress=lambda n: api.inject("/search", Fault("reset")) if n == 2 else None,
    )
    assert len(api.requests("/search")) == 4


def test_retry_after_is_waited_for_but_not_for_ever(api):
    import time

    api.inject("/search", Fault(status=429, retry_after="3600"))
    started = time.monotonic()
    found(api)
    assert 0.3 <= time.monotonic() - started < 3


def test_a_lasting_fault_is_one_line_without_secrets(api):
    api.inject("/search", *[Fault(status=503, body="token=abc123 is gone")] * 20)
    secret = api.url.replace("http://", "http://me:hunter2@")
    with pytest.raises(CatalogError) as caught:
        found(api, catalog=secret)
    said = str(caught.value)
    assert "hunter2" not in said
    assert "abc123" not in said
    assert "503" in said
    assert "try again later" in said
    assert "\n" not in said
    assert caught.value.exit_status == 4


def test_a_permanent_fault_is_not_tried_again(api):
    api.inject("/search", Fault(status=400, body="bad bbox"))
    with pytest.raises(CatalogError, match="bad bbox"):
        found(api)
    assert len(api.requests("/search")) == 1


def test_pages_too_large_for_the_server_are_asked_for_in_smaller_ones():
    with StacApi(real_items(EARTH_SEARCH), page=50) as api:
        api.largest_page = 20
        snapshot, report = found(api)
        assert len(snapshot) == 6
        assert [line.body["limit"] for line in api.requests("/search")] == [100, 10]
    assert "asked again for 10" in report.warnings[0]


def test_html_instead_of_json_is_a_catalog_error(api):
    api.inject("/search", Fault("html"))
    with pytest.raises(CatalogError, match="something else than items"):
        found(api)


def test_nobody_at_home():
    with StacApi([]) as api:
        url = api.url
    spec, area = spec_for(url, collections=[L2A])
    with pytest.raises(CatalogError, match="cannot be reached"):
        search(spec.source, area, NOW, backoff=QUICK)


def test_an_unknown_collection_names_the_nearest(api):
    with pytest.raises(SpecError, match="did you mean 'sentinel-2-l2a'"):
        found(api, collections=["sentinel-2-l2"])


def test_an_api_without_collections_asked_for_is_refused(api):
    with pytest.raises(SpecError, match="name at least one collection"):
        found(api, collections=[])


def test_a_collection_of_an_api_says_what_to_write(api):
    spec, area = spec_for(f"{api.url}/collections/{L2A}")
    with pytest.raises(SpecError, match=r"give catalog: .*/v1 and collections: \[sentinel-2-l2a\]"):
        search(spec.source, area, NOW, backoff=QUICK)


@pytest.mark.parametrize("matched", [True, False])
def test_too_many_items_are_refused_with_the_remedy(matched):
    with StacApi(real_items(EARTH_SEARCH), page=2, matched=matched) as api:
        with pytest.raises(SpecError, match=r"max_items 3; narrow datetime.*or raise source.max_items"):
            found(api, max_items=3)
        assert len(api.requests("/search")) == (1 if matched else 2)


def test_a_query_that_the_api_would_ignore_is_evaluated_here():
    with StacApi(real_items(EARTH_SEARCH), conforms=(CORE, SEARCH)) as api:
        snapshot, report = found(api, query={"eo:cloud_cover": {"lt": 40}})
        assert len(snapshot) == 4
        assert "query" not in api.requests("/search")[0].body
        assert "does not offer the query extension" in report.warnings[0]
        with pytest.raises(SpecError, match="does not offer filters"):
            found(api, filter="eo:cloud_cover < 40")


def test_an_item_that_comes_twice_counts_once():
    items = real_items(EARTH_SEARCH)
    with StacApi([*items, *items], page=3, matched=False) as api:
        snapshot, report = found(api)
    assert len(snapshot) == report.matched == 6


def test_signed_hrefs_and_passwords_do_not_reach_the_snapshot():
    items = [item for item in real_items(EARTH_SEARCH) if item["collection"] == L2A][:1]
    plain, _ = _only(items)
    items[0]["assets"]["red"]["href"] += "?X-Amz-Signature=s3cret&X-Amz-Expires=60"
    items[0]["links"][0]["href"] += "?token=s3cret"
    signed, snapshot = _only(items)
    assert signed == plain
    assert "s3cret" not in json.dumps(snapshot.raw_items([0]))


def _only(items):
    with StacApi(items) as api:
        snapshot, _ = found(api)
    return snapshot.hash, snapshot


def test_an_area_across_the_antimeridian_goes_as_two_parts(api):
    found(api, (177.0, -19.0, -177.0, -16.0))
    assert api.requests("/search")[0].body["intersects"]["type"] == "MultiPolygon"


def test_a_password_in_the_address_is_used_but_not_kept(api):
    api.password = "me:hunter2"
    with pytest.raises(CatalogError, match="it wants credentials"):
        found(api)
    snapshot, _ = found(api, catalog=api.url.replace("http://", "http://me:hunter2@"))
    assert len(snapshot) == 6
    assert "hunter2" not in str(snapshot.index.to_pylist())


def test_an_item_that_cannot_be_used_is_left_out_with_a_line_and_refused_when_strict():
    items = real_items(EARTH_SEARCH)
    broken = {**items[4], "id": "broken", "collection": L2A, "assets": None}
    with StacApi([*items, broken]) as api:
        snapshot, report = found(api)
        assert len(snapshot) == 6
        assert any("left out: STAC item 'broken'" in line and "has no assets" in line for line in report.warnings)
        spec, area = spec_for(api.url, collections=[L2A])
        with pytest.raises(ItemError, match=r"'broken'.*has no assets.*leave it out"):
            search(spec.source, area, NOW, backoff=QUICK, strict=True)
    with StacApi([broken]) as api, pytest.raises(ItemError, match="has no assets"):
        found(api)
