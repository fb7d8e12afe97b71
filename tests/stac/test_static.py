"""Static catalogs: crawled, evaluated here, from a disk and over HTTP."""

import json
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from eopipe.errors import CatalogError, ItemError, SpecError
from eopipe.stac.http import Backoff
from eopipe.stac.search import search
from tests.support.http_files import Fault, FileServer
from tests.support.paths import needs_shared, shared
from tests.support.stac_items import real_item, real_items, spec_for

pytestmark = needs_shared
NOW = datetime(2018, 3, 1, tzinfo=UTC)
QUICK = Backoff(attempts=4, base=0.01, cap=0.1, unreachable=2)
WORLD = (-180.0, -90.0, 180.0, 90.0)
PISA = (10.36, 43.68, 10.45, 43.75)
OSCD = shared() / "data" / "sentinel2-oscd"


def found(catalog, bbox=WORLD, **source):
    spec, area = spec_for(catalog, bbox, **source)
    return search(spec.source, area, NOW, backoff=QUICK)


def ids(answer):
    return answer[0].index.column("id").to_pylist()


@contextmanager
def serving(folder):
    server = FileServer(folder)
    try:
        yield server
    finally:
        server.close()


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def collection(name, *links):
    return {"type": "Collection", "id": name, "stac_version": "1.0.0", "extent": {}, "links": list(links)}


def link(rel, href):
    return {"rel": rel, "href": href}


@pytest.fixture
def nested(tmp_path):
    """A catalog of two collections, one below a catalog; synthetic links around real items."""
    write(
        tmp_path / "catalog.json",
        {
            "type": "Catalog",
            "id": "root",
            "links": [link("child", "./a/collection.json"), link("child", "b/catalog.json")],
        },
    )
    landsat, aster = real_item("LC08_L2SP_033032_20231008_02_T1"), real_item("S2A_13TDE_20231008_0_L2A")
    write(
        tmp_path / "a/collection.json",
        collection("landsat-c2-l2", link("item", "./one/item.json"), link("root", "../catalog.json")),
    )
    write(tmp_path / "a/one/item.json", landsat)
    write(
        tmp_path / "b/catalog.json",
        {
            "type": "Catalog",
            "id": "b",
            "links": [link("child", "c/collection.json"), link("child", "../catalog.json")],
        },
    )
    write(tmp_path / "b/c/collection.json", collection("sentinel-2-l2a", link("item", "../../items/s2.json")))
    write(tmp_path / "items/s2.json", aster)
    return tmp_path / "catalog.json"


@pytest.mark.parametrize(
    ("when", "expected"),
    [("2015", "S2_pisa_20150704"), ("2018-02", "S2_pisa_20180211"), ("P30D/now", "S2_pisa_20180211")],
)
def test_pisa_of_the_real_collection(when, expected):
    snapshot, report = found(OSCD / "collection.json", PISA, datetime=when)
    assert snapshot.index.column("id").to_pylist() == [expected]
    assert snapshot.index.column("level").to_pylist() == ["L1C"]
    assert snapshot.index.column("collection").to_pylist() == ["sentinel-2-l1c-oscd"]
    item = snapshot.items([0])[0]
    assert item["assets"]["B02"]["href"] == str(OSCD / expected / "B02.tif")
    assert item["collection"] == "sentinel-2-l1c-oscd"
    assert snapshot.raw_items([0])[0]["assets"]["B02"]["href"] == "./B02.tif"
    assert report.warnings == []


def test_nantes_of_the_real_collection_as_two_epochs():
    snapshot, _ = found(OSCD, (-1.6, 47.1, -1.4, 47.3), epochs={"before": "../2016", "after": "2016/.."})
    assert snapshot.index.column("id").to_pylist() == ["S2_nantes_20150821", "S2_nantes_20171014"]
    assert snapshot.index.column("epoch").to_pylist() == ["before", "after"]


def test_a_whole_folder_is_a_catalog_and_a_missing_property_does_not_match():
    assert len(ids(found(OSCD))) == 28
    assert ids(found(OSCD, query={"oscd:city": {"eq": "pisa"}})) == ["S2_pisa_20150704", "S2_pisa_20180211"]
    assert ids(found(OSCD, query={"eo:cloud_cover": {"neq": 3}})) == []
    assert ids(found(OSCD, filter="oscd:city = 'pisa' AND datetime > TIMESTAMP('2017-01-01T00:00:00Z')")) == [
        "S2_pisa_20180211"
    ]
    assert ids(found(OSCD, ids=["S2_pisa_20150704", "S2_none"])) == ["S2_pisa_20150704"]


def test_nested_catalogs_are_crawled_once_though_they_link_in_circles(nested):
    answer = found(nested)
    assert sorted(ids(answer)) == ["LC08_L2SP_033032_20231008_02_T1", "S2A_13TDE_20231008_0_L2A"]
    assert ids(found(nested, collections=["landsat-c2-l2"])) == ["LC08_L2SP_033032_20231008_02_T1"]


def test_over_http_the_same_items_have_the_same_hashes(nested):
    here = found(nested)[0]
    with serving(nested.parent) as server:
        there, report = found(f"{server.url}/catalog.json")
    assert there.hash == here.hash
    assert report.requests == 6
    assert there.index.column("href").to_pylist()[0].startswith("http://127.0.0.1")


def test_the_hash_does_not_depend_on_where_the_folder_lies(tmp_path):
    for name in ("one", "two/deeper"):
        for city in ("S2_pisa_20150704", "S2_pisa_20180211"):
            (tmp_path / name / city).mkdir(parents=True)
            shutil.copy(OSCD / city / f"{city}.json", tmp_path / name / city)
        items = [link("item", f"./{city}/{city}.json") for city in ("S2_pisa_20150704", "S2_pisa_20180211")]
        write(tmp_path / name / "collection.json", collection("c", *items))
    one, two = (found(tmp_path / name / "collection.json")[0] for name in ("one", "two/deeper"))
    assert one.hash == two.hash
    assert one.items([0])[0]["assets"]["B02"]["href"] != two.items([0])[0]["assets"]["B02"]["href"]


def test_http_faults_are_tried_again_and_a_lasting_one_names_the_document(nested):
    with serving(nested.parent) as server:
        server.inject("items/s2.json", Fault("status", status=503), 2)
        server.inject("a/collection.json", Fault("truncate"))
        assert len(ids(found(f"{server.url}/catalog.json"))) == 2
        server.inject("items/s2.json", Fault("status", status=503), -1)
        with pytest.raises(CatalogError, match=r"items/s2.json: HTTP 503.*try again later"):
            found(f"{server.url}/catalog.json")


def test_item_collections_and_single_items_are_catalogs_too(tmp_path):
    items = real_items("site2")
    answer = found(write(tmp_path / "items.json", {"type": "FeatureCollection", "features": items}))
    assert len(ids(answer)) == len(items)
    assert ids(found(write(tmp_path / "item.json", items[0]))) == [items[0]["id"]]


def test_items_with_a_range_match_by_overlap(tmp_path):
    path = write(tmp_path / "item.json", real_item("lidar_id"))  # datetime null, start and end 2012-01-01
    assert ids(found(path, datetime="2012")) == ["lidar_id"]
    assert ids(found(path, datetime="2012-01-01T00:00:00Z")) == ["lidar_id"]
    assert ids(found(path, datetime="2013/..")) == []


def test_an_area_across_the_antimeridian_finds_items_on_both_sides(tmp_path):
    """Synthetic: real items moved to Fiji, one of them across 180 degrees."""
    places = {"west": [[178, -18, 179, -17]], "east": [[-179, -18, -178, -17]], "far": [[0, -18, 1, -17]]}
    items = [moved(name, boxes) for name, boxes in places.items()]
    across = moved("across", [[179.5, -18, 180, -17], [-180, -18, -179.5, -17]])
    across["bbox"] = [179.5, -18, -179.5, -17]
    path = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": [*items, across]})
    answer = found(path, (177.0, -19.0, -177.0, -16.0))
    assert sorted(ids(answer)) == ["across", "east", "west"]


def moved(name, boxes):
    import shapely

    item = real_item("3af1acae-0255-4762-b2b2-f26034cf3ce8")
    geometry = shapely.union_all([shapely.box(*box) for box in boxes])
    item |= {"id": name, "geometry": json.loads(shapely.to_geojson(geometry)), "bbox": list(geometry.bounds)}
    return item


ITEM = '{"type": "Feature", "id": "x", "properties": {"datetime": "2020-01-01T00:00:00Z"}, "assets": {}, %s}'


@pytest.mark.parametrize(
    ("document", "error", "said"),
    [
        ("{", CatalogError, "is not JSON"),
        ("[]", CatalogError, "is no JSON object"),
        ('{"type": "Topology"}', CatalogError, "has the type 'Topology'"),
        ('{"type": "FeatureCollection", "features": [3]}', ItemError, "not a STAC item"),
        ('{"type": "Feature", "id": "x", "assets": {}}', ItemError, "has no properties"),
        ('{"type": "Feature", "id": "", "properties": {}, "assets": {}}', ItemError, "has no id"),
        (
            '{"type": "Feature", "id": "x", "properties": {}, "assets": {"a": 1}}',
            ItemError,
            "asset that is no mapping",
        ),
        ('{"type": "Feature", "id": "x", "properties": {}, "assets": {}}', ItemError, "has no datetime"),
        (ITEM.replace("2020-01-01T00:00:00Z", "May") % '"bbox": null', ItemError, "'May' is no RFC 3339"),
        (ITEM % '"geometry": null', ItemError, "item 'x' has neither proj:transform and proj:shape"),
        (ITEM % '"geometry": {"type": "Polygon", "coordinates": "here"}', ItemError, "its geometry is not GeoJSON"),
        (ITEM % '"geometry": {"type": "Point", "coordinates": [NaN, 1]}', ItemError, "item 'x': its geometry"),
        (ITEM % '"geometry": null, "bbox": ["a", 1, 2, 3]', ItemError, "item 'x': its bbox"),
        (ITEM % '"geometry": null, "bbox": [1, 2, 3]', ItemError, "is not 4 or 6 numbers"),
    ],
)
def test_broken_documents_end_in_one_line(tmp_path, document, error, said):
    path = tmp_path / "broken.json"
    path.write_text(document)
    with pytest.raises(error, match=said) as caught:
        found(path)
    assert "\n" not in str(caught.value)


def test_a_missing_item_names_its_address(nested):
    (nested.parent / "items/s2.json").unlink()
    with pytest.raises(CatalogError, match=r"items/s2.json does not exist"):
        found(nested)


def test_a_collection_that_is_not_there_names_those_that_are(nested):
    with pytest.raises(SpecError, match="no collection 'landsat'; it has landsat-c2-l2, sentinel-2-l2a"):
        found(nested, collections=["landsat"])


def test_a_folder_without_a_catalog(tmp_path):
    with pytest.raises(CatalogError, match=r"folder without collection.json"):
        found(tmp_path)


def test_too_many_items_are_refused():
    with pytest.raises(SpecError, match=r"above max_items 5.*raise source.max_items"):
        found(OSCD, max_items=5)


def test_a_function_that_is_not_cql2s_is_refused_for_a_static_catalog():
    with pytest.raises(SpecError, match="unknown function 'soundex'"):
        found(OSCD, filter="soundex(oscd:city) = 'P200'")


def test_pages_of_an_item_list_are_all_followed(tmp_path):
    items = real_items("site2")
    pages = [items[:5], items[5:10], items[10:]]
    for number, page in enumerate(pages):
        links = [link("next", f"page{number + 1}.json")] if number < 2 else []
        write(tmp_path / f"page{number}.json", {"type": "FeatureCollection", "features": page, "links": links})
    path = write(tmp_path / "collection.json", collection("sentinel-2-l2a", link("items", "./page0.json")))
    assert len(ids(found(path))) == len(items)


def test_an_item_listed_twice_is_used_once(tmp_path):
    item = real_item("lidar_id")
    path = write(tmp_path / "items.json", {"type": "FeatureCollection", "features": [item, item]})
    snapshot, report = found(path)
    assert len(snapshot) == 1
    assert "listed more than once" in report.warnings[0]


def test_any_fsspec_scheme_is_a_catalog_too():
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/cat/collection.json", json.dumps(collection("c", link("item", "./a/item.json"))).encode())
    memory.pipe("/cat/a/item.json", (OSCD / "S2_pisa_20150704" / "S2_pisa_20150704.json").read_bytes())
    snapshot, _ = found("memory://cat/collection.json")
    assert snapshot.items([0])[0]["assets"]["B02"]["href"] == "memory://cat/a/B02.tif"
    with pytest.raises(CatalogError, match=r"memory://cat/none.json does not exist"):
        found("memory://cat/none.json")
    with pytest.raises((CatalogError, SpecError), match="nosuch"):
        found("nosuch://cat/none.json")


@pytest.mark.parametrize("address", ["http://[bad", "http://127.0.0.1:1/catalog.json", "https://"])
def test_addresses_that_lead_nowhere(address):
    with pytest.raises(CatalogError) as caught:
        found(address)
    assert "\n" not in str(caught.value)
