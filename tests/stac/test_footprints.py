"""Footprints as catalogs write them around 180 degrees, against their areas and places computed by hand."""

import json

import pytest
import shapely
from shapely.geometry import MultiPolygon, Polygon, box, mapping

from eopipe.errors import ItemError
from eopipe.stac.footprints import box_geometry, item_bbox, item_geometry, normal_longitudes
from eopipe.stac.search import search
from tests.stac.test_paging import NOW, item
from tests.support.stac_items import spec_for

SOUTH, NORTH = -17.0, -16.0
CROSSING = MultiPolygon([box(179.9, SOUTH, 180, NORTH), box(-180, SOUTH, -179.8, NORTH)])


def ring(*longitudes):
    west, east = longitudes
    return Polygon([(west, SOUTH), (east, SOUTH), (east, NORTH), (west, NORTH)])


FORMS = {
    "as RFC 7946 has it": CROSSING,
    "unsplit": ring(179.9, -179.8),
    "unsplit, clockwise": ring(179.9, -179.8).reverse(),
    "below -180": ring(-180.1, -179.8),
    "above 180": ring(179.9, 180.2),
    "a turn further": ring(539.9, 540.2),
    "unsplit in several": MultiPolygon([ring(179.9, -179.8), ring(179.95, -179.9)]),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_scene_across_180_degrees_has_one_place_however_it_is_written(form):
    geometry = normal_longitudes(FORMS[form])
    assert geometry.symmetric_difference(CROSSING).area < 1e-9
    west, _, east, _ = geometry.bounds
    assert (west, east) == (-180, 180)


@pytest.mark.parametrize(
    "geometry",
    [box(-180, -90, 180, 90), box(-180, 60, 180, 90), box(-170, -10, 5, 10), box(10, 43, 11, 44)],
    ids=["world", "cap", "wide", "scene"],
)
def test_what_does_not_cross_stays(geometry):
    assert normal_longitudes(geometry).equals(geometry)


def test_longitudes_from_0_to_360():
    assert normal_longitudes(box(0, -90, 360, 90)).equals(box(-180, -90, 180, 90))
    assert normal_longitudes(box(190, 0, 200, 1)).equals(box(-170, 0, -160, 1))


def test_a_ring_round_a_pole_holds_the_pole():
    geometry = normal_longitudes(Polygon([(-170, 70), (-50, 70), (70, 70), (170, 70)]))
    assert shapely.covers(geometry, box(-180, 70, 180, 90))
    southern = normal_longitudes(Polygon([(170, -80), (50, -80), (-70, -80), (-170, -80)]))
    assert shapely.covers(southern, box(-180, -90, 180, -80))


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([179.9, SOUTH, -179.8, NORTH], (179.9, -179.8)),
        ([-180.1, SOUTH, -179.8, NORTH], (179.9, -179.8)),
        ([179.9, SOUTH, 180.2, NORTH], (179.9, -179.8)),
        ([0, -90, 0, 360, 90, 9], (-180.0, 180.0)),
        ([190, SOUTH, 200, NORTH], (-170.0, -160.0)),
    ],
)
def test_boxes_beyond_180_degrees(bbox, expected):
    west, _, east, _ = item_bbox({"id": "x", "bbox": bbox})
    assert (west, east) == pytest.approx(expected)
    assert box_geometry((west, SOUTH, east, NORTH)).bounds[0] >= -180


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("bbox", [[179.9, SOUTH, -179.8, NORTH], [-179.8, SOUTH, 179.9, NORTH], None])
@pytest.mark.parametrize("area", [(179.92, -16.9, 179.98, -16.1), (-179.98, -16.9, -179.9, -16.1)])
def test_a_static_catalog_gives_the_scene_on_both_sides_and_nowhere_else(tmp_path, form, bbox, area):
    document = item(0) | {"geometry": mapping(FORMS[form])}
    document.pop("bbox")
    if bbox is not None:
        document["bbox"] = bbox
    for name in ("proj:epsg", "proj:shape", "proj:transform"):
        del document["properties"][name]
    document["properties"]["proj:epsg"] = 32760
    document["properties"]["proj:bbox"] = [805000, 8110000, 837000, 8230000]
    path = tmp_path / "items.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [document]}))
    spec, place = spec_for(str(path), area, collections=["test"])
    assert len(search(spec.source, place, NOW)[0]) == 1
    spec, place = spec_for(str(path), (10.0, -16.9, 11.0, -16.1), collections=["test"])
    assert len(search(spec.source, place, NOW)[0]) == 0


def test_a_geometry_of_no_numbers_is_refused():
    with pytest.raises(ItemError, match="not GeoJSON"):
        item_geometry({"id": "x", "geometry": {"type": "Polygon", "coordinates": [["a"]]}})
