"""Broken items and catalogs: one line that names the item or the document, and nothing written."""

import copy
import json

import pytest

from tests.support.command import eopipe
from tests.support.paths import needs_shared, shared
from tests.support.runs import pisa
from tests.support.stac_api import Fault, StacApi

pytestmark = needs_shared
NAME = "sentinel-2-l1c-oscd"
COLLECTION = {"type": "Collection", "id": NAME, "extent": {}, "links": [{"rel": "item", "href": "./item.json"}]}


def real():
    """The real Pisa item, its files where they are."""
    folder = shared() / "data/sentinel2-oscd/S2_pisa_20150704"
    document = json.loads((folder / "S2_pisa_20150704.json").read_text())
    for asset in document["assets"].values():
        asset["href"] = str(folder / asset["href"])
    return document | {"collection": NAME, "links": []}


def changed(item, changes):
    """A copy with ``{"assets.B08.href": value}`` set, or taken out where the value is ``...``."""
    item = copy.deepcopy(item)
    for key, value in changes.items():
        *path, last = key.split(".")
        place = item
        for part in path:
            place = place[part]
        place[last] = value
        if value is ...:
            del place[last]
    return item


NOWHERE = {
    f"assets.{band}.proj:transform": ... for band in ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12")
}
ITEMS = {
    "missing asset": (
        {"assets.B08": ...},
        "no asset for band 'nir'; its assets are B02, B03, B04, B05, B06, B07, B11",
    ),
    "no assets": ({"assets": {}}, "no asset for band 'blue'"),
    "assets in a list": ({"assets": []}, "has no assets (a mapping); leave it out (source.ids, source.query"),
    "an asset of nothing": ({"assets.B08": None}, "has an asset that is no mapping"),
    "an asset without an address": ({"assets.B08.href": ...}, "is malformed (KeyError: 'href')"),
    "an address that is a number": ({"assets.B08.href": 5}, "asset href '5' is relative"),
    "no projection, no geometry": (
        NOWHERE | {"geometry": None},
        "has neither proj:transform and proj:shape, nor proj:",
    ),
    "a transform of words": ({"assets.B08.proj:transform": ["x"] * 6}, "is malformed (ValueError: could not convert"),
    "a geometry of 5": ({"geometry": 5}, "its geometry is not GeoJSON"),
    "a ring of numbers": ({"geometry": {"type": "Polygon", "coordinates": [[1, 2]]}}, "its geometry is not GeoJSON"),
    "a bbox of three": ({"bbox": [1, 2, 3]}, "its bbox [1, 2, 3] is not 4 or 6 numbers"),
    "a bbox of words": ({"bbox": ["a"] * 4}, "is not numbers; leave it out (source.ids, source.query"),
    "a bbox on its head": (
        {"bbox": [10.36, 43.75, 10.45, 43.68]},
        "has south above north; leave it out (source.ids, source.query",
    ),
    "no time": ({"properties.datetime": None}, "has no datetime, start_datetime or end_datetime"),
    "a time in words": ({"properties.datetime": "May"}, "'May' is no RFC 3339 time"),
    "no properties": ({"properties": None}, "has no properties (a mapping)"),
    "no id": ({"id": ...}, "has no id (a text); leave it out (source.ids, source.query"),
    "another type": ({"type": "Topology"}, "its type is 'Topology', not 'Feature'"),
    "bands that are none": ({"assets.B08.raster:bands": 5}, "is malformed (TypeError"),
    "a scale of words": ({"assets.B08.raster:bands": [{"scale": "x"}]}, "scale is 'x', not a number"),
    "clouds in words": ({"properties.eo:cloud_cover": "many"}, "is malformed (ValueError: could not convert"),
}


@pytest.mark.parametrize("case", ITEMS)
def test_a_broken_item_is_named(tmp_path, case):
    changes, message = ITEMS[case]
    ended = plan(tmp_path, {"collection.json": COLLECTION, "item.json": changed(real(), changes)})
    assert (ended.status, ended.out) == (2, ""), ended.err
    assert message in ended.line
    assert "S2_pisa_20150704" in ended.line or "item.json" in ended.line


def links(*values):
    return {"collection.json": COLLECTION | {"links": list(values)}}


DOCUMENTS = {
    "empty": ({"collection.json": ""}, 4, "collection.json is not JSON"),
    "half": ({"collection.json": "{"}, 4, "collection.json is not JSON"),
    "a list": ({"collection.json": "[]"}, 4, "is no JSON object"),
    "another type": ({"collection.json": {"type": "Topology"}}, 4, "has the type 'Topology'; give a STAC Catalog"),
    "links that are none": ({"collection.json": COLLECTION | {"links": 5}}, 4, "has links that are no list"),
    "features that are none": (
        {"collection.json": {"type": "FeatureCollection", "features": 5}},
        4,
        "has features that are no list",
    ),
    "a feature of nothing": (
        {"collection.json": {"type": "FeatureCollection", "features": [None]}},
        2,
        "not a STAC item at",
    ),
    "a link to nothing": (
        links({"rel": "item", "href": "./gone.json"}),
        4,
        "gone.json does not exist; leave its collection out",
    ),
    "no links": (links(), 2, "no item of sentinel-2-l1c-oscd matches"),
    "an item that is no JSON": ({"collection.json": COLLECTION, "item.json": "{,"}, 4, "item.json is not JSON"),
    "parquet of no bytes": ({"items.parquet": ""}, 4, "cannot be read as parquet"),
    "parquet of words": ({"items.parquet": "hello" * 99}, 4, "cannot be read as parquet"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
def test_a_broken_document_is_named(tmp_path, case):
    files, status, message = DOCUMENTS[case]
    ended = plan(tmp_path, files)
    assert (ended.status, ended.out) == (status, ""), ended.err
    assert message in ended.line


def test_an_id_that_is_used_twice_is_told(tmp_path):
    twice = [real(), changed(real(), {"properties.gsd": 11})]
    ended = plan(tmp_path, {"collection.json": {"type": "FeatureCollection", "features": twice}})
    assert ended.status == 0
    assert any("same id and other content" in line for line in ended.document["warnings"])


API = {
    "500 for ever": ("/search", Fault(status=500), 4, "HTTP 500"),
    "401": ("/search", Fault(status=401), 4, "it wants credentials"),
    "403": ("/search", Fault(status=403), 4, "access is denied"),
    "404": ("/search", Fault(status=404), 4, "nothing is there; check the address"),
    "429 for ever": ("/search", Fault(status=429), 4, "limits the rate; try again later"),
    "reset for ever": ("/search", Fault("reset"), 4, "connection failed"),
    "truncated for ever": ("/search", Fault("truncate"), 4, "connection failed"),
    "a web page": ("/search", Fault("html"), 4, "something else than items"),
    "500 at its root": ("/", Fault(status=500), 4, "HTTP 500"),
    "500 at its collection": (f"/collections/{NAME}", Fault(status=500), 4, f"collections/{NAME}: HTTP 500"),
}


@pytest.mark.parametrize("case", API)
def test_an_api_that_fails(tmp_path, case):
    path, fault, status, message = API[case]
    with StacApi([real()]) as api:
        api.inject(path, *[fault] * 50)
        ended = plan(tmp_path, {}, catalog=api.url)
    assert (ended.status, ended.out) == (status, ""), ended.err
    assert message in ended.line
    assert api.url in ended.line


QUESTIONS = {
    "no such collection": ([], {"collections": ["s2"]}, f"no collection 's2'; it has {NAME}"),
    "no collection": ([], {"collections": []}, "name at least one collection of the API"),
    "nothing matches": ([], {"datetime": "1999"}, "widen one of them, or pass --allow-empty"),
    "too many": ([{"id": "b"}], {"max_items": 1}, "2 items match, or more, above max_items 1"),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_an_api_asked_for_the_wrong_thing(tmp_path, case):
    more, source, message = QUESTIONS[case]
    with StacApi([real(), *(changed(real(), change) for change in more)]) as api:
        ended = plan(tmp_path, {}, catalog=api.url, **source)
        assert (ended.status, ended.out) == (2, ""), ended.err
        assert message in ended.line
        if case == "nothing matches":
            assert plan(tmp_path, {}, "--allow-empty", catalog=api.url, **source).status == 0


def test_an_item_that_cannot_be_used_is_left_out_with_a_line_and_strict_refuses_it(tmp_path):
    with StacApi([real(), changed(real(), {"id": "b", "assets": []})]) as api:
        ended = plan(tmp_path, {}, catalog=api.url)
        assert ended.status == 0, ended.err
        assert any(line.startswith("left out: STAC item 'b'") for line in ended.document["warnings"])
        refused = plan(tmp_path, {}, "--strict", catalog=api.url)
    assert (refused.status, refused.out) == (2, "")
    assert "'b'" in refused.line
    assert "has no assets (a mapping); leave it out" in refused.line


def plan(folder, files, *options, **source):
    """``eopipe plan --json`` on a catalog of these files; whatever comes, nothing is written."""
    for name, content in files.items():
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    spec = pisa(folder / "out", cluster={"kind": "local", "workers": 1})
    spec["source"] |= {"catalog": str(folder / next(iter(files))) if files else "", **source}
    (folder / "spec.yaml").write_text(json.dumps(spec))
    ended = eopipe("plan", folder / "spec.yaml", "--json", *options)
    assert not (folder / "out").exists()
    return ended
