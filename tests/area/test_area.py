"""The area: read or refused in one line, and on the grid a function of absolute pixels alone."""

import json
import pickle
import time
from itertools import pairwise

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st
from pyproj import CRS, Geod, Transformer

from eopipe.area.on_grid import Area, GridArea, resolve_crs, space_filling
from eopipe.errors import AreaError, EopipeError, SpecError
from eopipe.grid import Grid, PixelBox, Tile

PISA = [10.36, 43.68, 10.45, 43.75]
FIJI = [178.0, -18.0, -179.0, -16.0]


def ring(*places: tuple[float, float]) -> dict:
    return {"type": "Polygon", "coordinates": [[list(place) for place in (*places, places[0])]]}


STAR = ring(
    *((10.4 + (0.05 if i % 2 else 0.02) * np.cos(i), 43.7 + (0.05 if i % 2 else 0.02) * np.sin(i)) for i in range(6))
)
DONUT = {
    "type": "Polygon",
    "coordinates": [
        [[10.3, 43.6], [10.5, 43.6], [10.5, 43.8], [10.3, 43.8], [10.3, 43.6]],
        [[10.38, 43.68], [10.42, 43.68], [10.42, 43.72], [10.38, 43.72], [10.38, 43.68]],
    ],
}


# --- reading ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "give \\[west"),
        ([1, 2, 3], "give \\[west"),
        ([1, 2, 3, 4, 5, 6], "give \\[west"),
        (["a", 2, 3, 4], "give \\[west"),
        ([10.36, 43.75, 10.45, 43.68], "south 43.75 is not below north"),
        ([10.36, 43.68, 10.45, 43.68], "not below"),
        ([10.36, 43.68, 10.36, 43.75], "is empty"),
        ([10.45, 43.68, 10.36, 43.75], "swap them"),
        ([10, 43, 10.5, float("nan")], "not a finite number"),
        ([10, 43, float("inf"), 44], "not a finite number"),
        ([43.6, 120.0, 43.7, 121.0], "swapped"),
        ([600000, 4830000, 610000, 4840000], "metres"),
        ([10, 43, 500, 44], "longitude 500"),
        ([-300, 43, 300, 44], "once round"),
        ({"type": "Point", "coordinates": [1, 2]}, "'Point' covers no ground"),
        ({"type": "LineString", "coordinates": [[1, 2], [3, 4]]}, "covers no ground"),
        ({}, "None covers no ground"),
        ({"type": "Feature", "geometry": None}, "no geometry"),
        ({"type": "FeatureCollection", "features": []}, "no polygon"),
        ({"type": "FeatureCollection"}, "no list 'features'"),
        ({"type": "Polygon", "coordinates": []}, "no ring"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}, "not closed"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}, "not closed"),
        ({"type": "Polygon", "coordinates": [[0, 0, 1, 1]]}, "no ring of"),
        (ring((0, 0), (1, 1), (2, 2)), "no area"),
        (ring((0, 0), (1, 0), (1, 91)), "latitude 91"),
        (
            {**ring((0, 0), (1, 0), (1, 1)), "crs": {"type": "name", "properties": {"name": "EPSG:32632"}}},
            "EPSG:32632",
        ),
        (ring((0, 60), (120, 60), (-120, 60)), "round a pole"),
    ],
)
def test_a_bad_area_is_refused_in_one_line(value: object, says: str) -> None:
    with pytest.raises(AreaError, match=says) as caught:
        Area.parse(value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("area: ")


def test_geojson_comes_in_every_form() -> None:
    box = shapely.geometry.mapping(shapely.box(*PISA))
    bare = Area.parse(PISA)

    def same(value: dict) -> bool:
        return bool(Area.parse(value).geometry.equals(bare.geometry))

    feature = {"type": "Feature", "geometry": box, "properties": {}}
    assert same(box)
    assert same(feature)
    assert same({"type": "FeatureCollection", "features": [feature, feature]})
    assert same({"type": "GeometryCollection", "geometries": [box]})
    assert same({**box, "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:OGC:1.3:CRS84"}}})
    assert same({"type": "MultiPolygon", "coordinates": [box["coordinates"]]})
    height = json.loads(json.dumps(box))
    height["coordinates"][0] = [[*place, 5.0] for place in height["coordinates"][0]]
    assert same(height)
    assert bare.bbox == tuple(PISA)
    assert Area.parse(bare.geojson) == bare


def test_a_polygon_that_crosses_itself_is_mended_and_noted() -> None:
    area = Area.parse(ring((0, 0), (1, 1), (1, 0), (0, 1)))
    assert area.geometry.is_valid
    assert area.geometry.area == pytest.approx(0.5)
    assert "mended" in area.notes[0]
    assert Area.parse(PISA).notes == ()


@pytest.mark.parametrize(
    "value",
    [
        FIJI,
        [178.0, -18.0, 181.0, -16.0],
        [-182.0, -18.0, -179.0, -16.0],
        ring((178, -18), (-179, -18), (-179, -16), (178, -16)),
        ring((178, -18), (181, -18), (181, -16), (178, -16)),
        ring((-182, -18), (-179, -18), (-179, -16), (-182, -16)),
        ring((-179, -18), (-179, -16), (178, -16), (178, -18)),
    ],
)
def test_every_way_to_cross_the_antimeridian_is_the_same_area(value: object) -> None:
    area = Area.parse(value)
    assert area.crosses_antimeridian
    assert area.bbox == tuple(FIJI)
    assert len(area.geometry.geoms) == 2
    assert area.geometry.symmetric_difference(Area.parse(FIJI).geometry).area == 0
    assert area.km2 == pytest.approx(Area.parse([0.0, -18.0, 3.0, -16.0]).km2)


def test_a_hole_stays_with_its_outline_across_the_antimeridian() -> None:
    hole = [[-179.8, -17.2], [-179.8, -16.8], [-179.4, -16.8], [-179.4, -17.2], [-179.8, -17.2]]
    donut = {
        "type": "Polygon",
        "coordinates": [*ring((178, -18), (-179, -18), (-179, -16), (178, -16))["coordinates"], hole],
    }
    assert Area.parse(donut).geometry.area == pytest.approx(6.0 - 0.16)


def test_the_globe_and_polar_caps_are_boxes() -> None:
    globe = Area.parse([-180, -90, 180, 90])
    assert not globe.crosses_antimeridian
    assert globe.km2 == pytest.approx(510_065_621.7, rel=1e-6)
    assert Area.parse([-180, 60, 180, 90]).km2 == pytest.approx(Area.parse([-180, -90, 180, -60]).km2)


@settings(max_examples=50, deadline=None)
@given(st.floats(-170, 160), st.floats(-80, 70), st.floats(0.01, 5), st.floats(0.01, 5))
def test_square_kilometres_are_those_of_the_ellipsoid(west: float, south: float, width: float, height: float) -> None:
    area = Area.parse([west, south, west + width, south + height])
    fine = shapely.segmentize(area.geometry, 0.01)
    geodesic = abs(Geod(ellps="WGS84").geometry_area_perimeter(fine)[0]) / 1e6
    assert area.km2 == pytest.approx(geodesic, rel=1e-5)


# --- choosing a CRS --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bbox", "code"),
    [
        (PISA, "EPSG:32632"),
        ([10, -45, 11, -44], "EPSG:32732"),
        ([10, -1, 11, 0.5], "EPSG:32732"),  # across the equator: the larger part decides
        ([10, -0.5, 11, 1], "EPSG:32632"),
        ([11.9, 43, 12.3, 44], "EPSG:32633"),  # a sliver over the edge of a zone
        ([5, 60, 6, 61], "EPSG:32632"),  # south-west Norway
        ([2, 60, 2.9, 61], "EPSG:32631"),
        ([20, 78, 21, 79], "EPSG:32633"),  # Svalbard
        ([10, 78, 11, 79], "EPSG:32633"),
        ([179.9, -18, -179.7, -16], "EPSG:32701"),
        ([177, -18, 180, -16], "EPSG:32760"),
    ],
)
def test_utm_is_chosen_from_the_area(bbox: list[float], code: str) -> None:
    assert resolve_crs("utm", Area.parse(bbox)) == code
    assert resolve_crs("UTM", Area.parse(bbox)) == code


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.floats(0.5, 4.5), st.floats(0.1, 1.0), st.floats(-79, 54))
def test_utm_agrees_with_the_zone_formula_away_from_norway(
    zone: int, east: float, width: float, south: float
) -> None:
    west = zone * 6 - 186 + east
    area = Area.parse([west, south, west + width, south + width])
    assume(not (south < 0 < south + width))
    assert resolve_crs("utm", area) == f"EPSG:{(32600 if south >= 0 else 32700) + zone}"


@pytest.mark.parametrize(
    ("bbox", "says"),
    [
        ([10, 43, 13, 44], "EPSG:32632, EPSG:32633"),
        (FIJI, "EPSG:32701, EPSG:32760"),
        ([-20, -35, 52, 37], "13 UTM zones.*EPSG:32639.*equal-earth"),
        ([0, 84, 1, 86], "EPSG:3413, EPSG:5041"),
        ([0, -85, 1, -83], "EPSG:3031, EPSG:5042"),
    ],
)
def test_utm_is_refused_with_the_choices(bbox: list[float], says: str) -> None:
    with pytest.raises(AreaError, match=says):
        resolve_crs("utm", Area.parse(bbox))


def test_a_crs_has_one_name() -> None:
    area = Area.parse(PISA)
    utm = CRS("EPSG:32632")
    for text in ("EPSG:32632", "epsg:32632", " EPSG:32632 ", utm.to_wkt(), utm.to_json()):
        assert resolve_crs(text, area) == "EPSG:32632"
    assert resolve_crs("OGC:CRS84", area) == "EPSG:4326"
    assert resolve_crs("equal-earth", area) == "EPSG:8857"
    assert resolve_crs("EASE2", area) == "EPSG:6933"
    own = "+proj=laea +lat_0=43 +lon_0=10 +datum=WGS84"
    assert CRS(resolve_crs(own, area)) == CRS(own)
    assert resolve_crs(resolve_crs(own, area), area) == resolve_crs(own, area)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("EPSG:99999", "is no CRS"),
        ("WGS 84 / nonsense", "is no CRS"),
        ("", "is no CRS"),
        ("EPSG:4978", "Geocentric"),
        ("EPSG:5773", "Vertical"),
        ("EPSG:9518", "Compound"),
        ("EPSG:2053", "westwards"),
    ],
)
def test_what_is_no_crs_for_a_grid_is_refused(text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        resolve_crs(text, Area.parse(PISA))
    assert "\n" not in str(caught.value)


# --- on the grid -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("area", "crs", "resolution", "says"),
    [
        (PISA, "EPSG:4326", 10.0, "in degrees.*0.0000898.*metres"),
        (PISA, "EPSG:32632", 0.0000898, "projected"),
        (PISA, "EPSG:32632", 0.002, "more than a raster can hold"),
        ([-180, -90, 180, 90], "EPSG:4326", 1e-8, "more than a raster can hold"),
        (PISA, "EPSG:32632", 100_000.0, "centre of no pixel"),
        (FIJI, "EPSG:8857", 10.0, "crosses the antimeridian.*3832"),
        (FIJI, "EPSG:4326", 0.001, "crosses the antimeridian"),
        ([-40, 0, -20, 10], "EPSG:3832", 1000.0, "is cut"),
        ([-180, -90, 180, 90], "EPSG:3413", 1000.0, "EPSG:3413"),
        ([-100, 10, -90, 20], "EPSG:32632", 100.0, "far from here"),
        ([5, 80, 8, 84], "EPSG:3857", 100.0, "times as large"),
    ],
)
def test_an_area_that_does_not_fit_the_grid_is_refused(
    area: list[float], crs: str, resolution: float, says: str
) -> None:
    with pytest.raises(EopipeError, match=says) as caught:
        GridArea.project(Area.parse(area), Grid(crs, resolution))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("crs", ["EPSG:32760", "EPSG:32701", "EPSG:3832", "EPSG:2193"])
def test_parts_reunite_where_the_crs_is_not_cut(crs: str) -> None:
    region = GridArea.project(Area.parse(FIJI), Grid(crs, 100.0))
    assert region.geometry.geom_type == "Polygon"
    assert not region.geometry.interiors
    back = Transformer.from_crs(crs, 4326, always_xy=True)
    mask = region.mask(region.box)
    rows, cols = np.nonzero(mask)
    x, y = (region.box.col0 + cols[::997] + 0.5) * 100.0, -(region.box.row0 + rows[::997] + 0.5) * 100.0
    lon, lat = back.transform(x, y)
    assert ((lon > 178 - 1e-4) | (lon < -179 + 1e-4)).all()
    assert ((lat > -18 - 1e-4) & (lat < -16 + 1e-4)).all()


def test_a_polar_cap_has_no_slit() -> None:
    region = GridArea.project(Area.parse([-180, 60, 180, 90]), Grid("EPSG:3413", 1000.0))
    mask = region.mask(region.box)
    rows, cols = np.ogrid[region.box.row0 : region.box.row1, region.box.col0 : region.box.col1]
    radius = np.hypot(rows + 0.5, cols + 0.5)
    reach = Transformer.from_crs(4326, 3413, always_xy=True).transform(-45, 60)[1] / -1000
    assert mask[radius < reach - 0.1].all()
    assert not mask[radius > reach + 0.1].any()


@st.composite
def regions(draw: st.DrawFn) -> GridArea:
    """An area of some shape on some grid, a few hundred pixels across."""
    crs, place = draw(
        st.sampled_from(
            [
                ("EPSG:32632", (10.4, 43.7)),
                ("EPSG:32733", (14.0, -22.5)),
                ("EPSG:3035", (10.4, 43.7)),
                ("EPSG:8857", (-60.0, -10.0)),
                ("EPSG:4326", (10.4, 43.7)),
                ("EPSG:3413", (-45.0, 83.0)),
                ("EPSG:32760", (179.98, -17.0)),
            ]
        )
    )
    resolution = draw(st.sampled_from([10.0, 13.7, 30.0])) * (1e-5 if crs == "EPSG:4326" else 1.0)
    corners = draw(st.integers(3, 9))
    angles = np.sort(draw(st.lists(st.floats(0, 6.28), min_size=corners, max_size=corners, unique=True)))
    reach = draw(st.lists(st.floats(0.005, 0.04), min_size=corners, max_size=corners))
    lon = place[0] + np.array(reach) * np.cos(angles) / np.cos(np.radians(place[1]))
    lat = place[1] + np.array(reach) * np.sin(angles)
    try:
        return GridArea.project(
            Area.parse(ring(*zip(lon.tolist(), lat.tolist(), strict=True))), Grid(crs, resolution)
        )
    except AreaError:  # too thin to hold a pixel
        reject()


some = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])


@some
@given(regions(), st.integers(0, 300), st.integers(0, 300), st.integers(1, 200), st.integers(1, 200))
def test_a_mask_knows_no_window(region: GridArea, down: int, right: int, height: int, width: int) -> None:
    outer = region.box.pad(20)
    row, col = outer.row0 + down % outer.shape[0], outer.col0 + right % outer.shape[1]
    inner = outer & PixelBox(row, col, row + height, col + width)
    whole = region.mask(outer)
    np.testing.assert_array_equal(region.mask(inner), whole[inner.slices(outer)])
    alone = GridArea(region.grid, region.geometry)  # no index kept from other windows
    np.testing.assert_array_equal(alone.mask(inner), whole[inner.slices(outer)])


@some
@given(regions())
def test_a_mask_is_gdals_where_no_centre_is_on_the_outline(region: GridArea) -> None:
    box = region.box.pad(2)
    left, _, _, top = region.grid.bounds(box)
    res = region.grid.resolution
    theirs = rasterio.features.geometry_mask(
        [region.geometry], box.shape, rasterio.Affine(res, 0, left, 0, -res, top), invert=True
    )
    differ = region.mask(box) != theirs
    rows, cols = np.nonzero(differ)
    centres = shapely.points(left + (cols + 0.5) * res, top - (rows + 0.5) * res)
    assert (shapely.distance(region.geometry.boundary, centres) < 1e-6 * res).all()


@some
@given(regions(), st.sampled_from([16, 64, 512]))
def test_counts_tiles_parts_and_masks_agree(region: GridArea, size: int) -> None:
    index, counts = region.coverage(size)
    tiles, parts = region.tiles(size), region.parts(size)
    assert counts.sum() == region.mask(region.box).sum()
    assert list(parts) == tiles == sorted(tiles)
    bounds = region.tile_bounds(size)
    assert bounds & index == bounds
    for tile in tiles[:: max(1, len(tiles) // 20)]:
        mask = region.mask(tile.box(size))
        assert mask.sum() == counts[tile.row - index.row0, tile.col - index.col0] > 0
        assert parts[tile] == region.part(tile.box(size))
        assert (parts[tile] == "full") == mask.all()
        assert bounds.row0 <= tile.row < bounds.row1
        assert bounds.col0 <= tile.col < bounds.col1
    assert region.part(PixelBox(index.row1 * size, 0, index.row1 * size + 5, 5)) == "none"
    finer = region.coverage(size // 2)[1] if size > 16 else None
    assert finer is None or finer.sum() == counts.sum()


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:3035", "EPSG:4326"])
def test_areas_that_cut_a_tile_alike_have_the_same_part(crs: str) -> None:
    """A larger area with the same western edge: tiles on that edge are equal, others are not."""
    grid = Grid(crs, 10.0 if crs != "EPSG:4326" else 0.0001)
    small = GridArea.project(Area.parse([10.36, 43.60, 10.45, 43.75]), grid).parts(128)
    large = GridArea.project(Area.parse([10.36, 43.60, 10.60, 43.75]), grid).parts(128)
    shared = {tile for tile in small if small[tile] == large[tile]}
    cut = {tile for tile in shared if small[tile] != "full"}
    assert len(shared) > 0.5 * len(small)
    assert cut
    assert shared != set(small)


def test_parts_tell_masks_apart() -> None:
    grid = Grid("EPSG:32632", 10.0)
    box = PixelBox(-20, 0, 0, 20)
    seen = {}
    for right in range(1, 20):
        for top in range(1, 20):
            region = GridArea(grid, shapely.box(0, 0, right * 10, top * 10))
            seen[region.part(box)] = region.mask(box).sum()
    assert len(seen) == 19 * 19
    assert GridArea(grid, shapely.box(-50, -50, 500, 500)).part(box) == "full"


def test_holes_and_islands_count() -> None:
    region = GridArea.project(Area.parse(DONUT), Grid("EPSG:32632", 20.0))
    outer = GridArea.project(Area.parse([10.3, 43.6, 10.5, 43.8]), region.grid)
    hole = GridArea.project(Area.parse([10.38, 43.68, 10.42, 43.72]), region.grid)
    box = outer.box
    np.testing.assert_array_equal(region.mask(box), outer.mask(box) & ~hole.mask(box))
    assert region.coverage(512)[1].sum() * 400 / 1e6 == pytest.approx(Area.parse(DONUT).km2, rel=2e-3)


def test_neighbouring_areas_share_no_pixel_and_miss_none() -> None:
    """The seam lies on a parallel, which bends in UTM: a hundredth of a pixel decides."""
    grid = Grid("EPSG:32632", 10.0)
    south, north, both = (
        GridArea.project(Area.parse([10.0, lo, 10.8, hi]), grid)
        for lo, hi in ((43.6, 43.7), (43.7, 43.8), (43.6, 43.8))
    )
    box = both.box
    assert not (south.mask(box) & north.mask(box)).any()
    np.testing.assert_array_equal(south.mask(box) | north.mask(box), both.mask(box))


def test_edges_are_straight_in_degrees() -> None:
    """A parallel of six degrees sags by 5 km in UTM; the outline must follow it to a hundredth of a pixel."""
    region = GridArea.project(Area.parse([6.0, 60.0, 12.0, 61.0]), Grid("EPSG:32632", 10.0))
    lon = np.linspace(6.001, 11.999, 997)
    x, y = Transformer.from_crs(4326, 32632, always_xy=True).transform(lon, np.full_like(lon, 60.0))
    off = shapely.distance(region.geometry.boundary, shapely.points(x, y))
    assert off.max() < 0.1


def test_a_star_pickles_to_itself() -> None:
    region = GridArea.project(Area.parse(STAR), Grid("EPSG:32632", 10.0))
    region.mask(region.box)
    again = pickle.loads(pickle.dumps(region))
    assert again == region
    np.testing.assert_array_equal(again.mask(region.box), region.mask(region.box))
    assert region.cells(region.box) == [tile.box(512) for tile in region.tiles(512)]


@given(st.sets(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), max_size=300))
def test_the_curve_visits_every_tile_once(places: set[tuple[int, int]]) -> None:
    tiles = [Tile(*place) for place in sorted(places)]
    assert sorted(space_filling(tiles)) == tiles


@pytest.mark.parametrize("side", [1, 2, 8, 32])
def test_on_a_full_square_the_curve_never_jumps(side: int) -> None:
    tiles = space_filling([Tile(row - 7, col + 3) for row in range(side) for col in range(side)])
    steps = [abs(a.row - b.row) + abs(a.col - b.col) for a, b in pairwise(tiles)]
    assert all(step == 1 for step in steps)


@pytest.mark.alone
def test_twenty_thousand_tiles_are_listed_within_two_seconds() -> None:
    angle = np.linspace(0, 2 * np.pi, 50_001)
    coast = 3_300_000 * (1 + 0.1 * np.sin(7 * angle) + 0.02 * np.sin(97 * angle))
    outline = shapely.Polygon(np.column_stack([coast * np.cos(angle), coast * np.sin(angle)]))
    region = GridArea(Grid("EPSG:8857", 10.0), outline)
    start = time.process_time()  # the machine may be busy
    tiles = space_filling(region.tiles(4096))
    taken = time.process_time() - start
    assert len(tiles) > 20_000
    assert taken < 2
