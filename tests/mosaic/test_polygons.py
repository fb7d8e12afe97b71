"""Polygons of runs: valid, and exactly the pixels, by rasterio and by shapely."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pyproj import Geod, Transformer
from rasterio import features

from eopipe.grid import Grid, PixelBox
from eopipe.mosaic import polygons as module
from eopipe.mosaic.class_areas import pixel_m2
from eopipe.mosaic.polygons import polygons, runs_of, united
from tests.support.objects import runs

GRID = Grid("EPSG:32632", 10.0)


def drawn(masks, places):
    parts = [runs(mask, *place) for mask, place in zip(masks, places, strict=True)]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return np.concatenate(parts), offsets, polygons(np.concatenate(parts), offsets, GRID)


def check(masks, places):
    found, offsets, shapes = drawn(masks, places)
    assert shapely.is_valid(shapes).all()
    for mask, (row, col), shape in zip(masks, places, shapes, strict=True):
        box = PixelBox(row, col, row + mask.shape[0], col + mask.shape[1])
        transform = GRID.geobox(box).affine
        back = features.rasterize([shape], mask.shape, transform=transform).astype(bool)
        np.testing.assert_array_equal(back, mask)
        other = [
            shapely.geometry.shape(one)
            for one, _ in features.shapes(mask.astype(np.uint8), mask, connectivity=4, transform=transform)
        ]
        assert shapely.get_num_geometries(shape) == len(other)
        assert shapely.equals(shapely.multipolygons(other), shape)
        assert shapely.get_num_coordinates(shape) == sum(map(shapely.get_num_coordinates, other)), "corners only"
    again, ends = runs_of(shapes, GRID)
    np.testing.assert_array_equal(again, found)
    np.testing.assert_array_equal(ends, offsets)


MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))).filter(np.any)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(MASKS, st.integers(-90, 90), st.integers(-90, 90)), min_size=1, max_size=5))
def test_any_masks(objects):
    check([mask for mask, _, _ in objects], [(row, col) for _, row, col in objects])


@pytest.mark.parametrize(
    "rows",
    [
        ["#"],
        ["###", "#.#", "###"],  # a hole
        ["###", "#.#", "##."],  # a hole that touches the outside at a corner
        ["#.", ".#"],  # two parts at a corner
        ["###..", "#.#..", "#####", "..#.#", "..###"],  # two holes that touch
        ["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"],  # an island with a lake
        ["..#..", ".#.#.", "#...#", ".#.#.", "..#.."],  # a diamond of corners: no hole, eight parts
        ["#.#", "...", "#.#"],  # parts that do not touch at all
    ],
)
def test_drawn_by_hand(rows):
    check([np.array([[letter == "#" for letter in row] for row in rows])], [(-484000, 61000)])


def test_more_than_are_drawn_at_a_time(monkeypatch):
    """Some by themselves more; holes by the hundred."""
    monkeypatch.setattr(module, "_CHUNK", 300)
    noise = np.random.default_rng(5).random((12, 40, 50))
    masks = [one[: 5 + 3 * k] > 0.4 for k, one in enumerate(noise)]
    check(masks, [(1000 * k, -7 * k) for k in range(12)])


def test_shells_run_counterclockwise_and_holes_clockwise():
    _, _, [shape] = drawn([np.pad(np.zeros((1, 1), bool), 1, constant_values=True)], [(0, 0)])
    assert shape.exterior.is_ccw
    assert not shape.interiors[0].is_ccw


def test_runs_of_several_parts_become_one():
    """Cut by a grid of windows, put together again."""
    mask = np.random.default_rng(2).random((50, 70)) > 0.3
    cut = [runs(mask[r : r + 16, c : c + 16], r, c) for r in range(0, 50, 16) for c in range(0, 70, 16)]
    owner = np.repeat([0] * len(cut), [len(part) for part in cut])
    joined, offsets = united(np.concatenate([*cut, cut[3]]), np.append(owner, [0] * len(cut[3])))
    np.testing.assert_array_equal(joined, runs(mask))
    assert offsets.tolist() == [0, len(joined)]


@pytest.mark.parametrize(
    ("crs", "resolution", "x", "y"),
    [("EPSG:32632", 10, 610_000, 4_840_000), ("EPSG:3857", 10, 1e6, 8e6), ("EPSG:4326", 1e-3, 179.9995, 60)],
)
def test_a_pixel_s_ground_area_is_the_ellipsoid_s(crs, resolution, x, y):
    down, right = -y / resolution, x / resolution
    [found] = pixel_m2(Grid(crs, resolution), np.array([down]), np.array([right]))
    steps = np.linspace(-0.5, 0.5, 9)
    ring = [*((s, -0.5) for s in steps), *((0.5, s) for s in steps)]
    ring += [(-u, -v) for u, v in ring]
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(
        [(right + u) * resolution for u, _ in ring], [-(down + v) * resolution for _, v in ring]
    )
    assert found == pytest.approx(abs(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0]), rel=1e-6)
