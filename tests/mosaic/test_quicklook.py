"""The picture and its numbers."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pyproj import Geod, Transformer

from eopipe.grid import Grid, PixelBox, Tile
from eopipe.mosaic.class_areas import class_areas, pixel_km2
from eopipe.mosaic.coarse_pyramid import build_coarse
from eopipe.mosaic.quicklook import FAILED, NO_OBSERVATION, NOT_RUN, QuicklookInfo, quicklook
from eopipe.mosaic.store import Layout, MosaicWriter, create, write_status
from eopipe.storage import Storage
from tests.mosaic.conftest import LABEL, make_layout

WATER, BUILT = (0x41, 0x9B, 0xDF), (0xC4, 0x28, 0x1B)


def make(storage, layout, labels, statuses=None):
    """A mosaic with one code a tile; None is not written."""
    create(storage, layout, {})
    writer = MosaicWriter(storage, layout)
    found = {}
    for tile, code in zip(layout.tiles(), labels, strict=True):
        if code is not None:
            writer.write(tile, {"label": np.full((layout.tile, layout.tile), code, np.uint8)})
            found[tile] = "done"
    write_status(storage, layout, found | (statuses or {}))
    build_coarse(storage, layout)


def draw(storage, layout, beside=None, **more):
    data = quicklook(storage, layout, QuicklookInfo("A title", **more), beside=beside)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def count(picture, colour):
    return int((picture == np.array(colour, np.uint8)).all(axis=-1).sum())


def test_each_state_has_its_own_look(anywhere):
    layout = make_layout(bounds=PixelBox(-950, 118, -948, 121), arrays=(LABEL,))
    make(anywhere, layout, [1, 3, 0, None, None, None], {Tile(-949, 118): "failed", Tile(-949, 120): "outside"})
    picture = draw(anywhere, layout, subtitle="2025", attribution="someone")
    tile = 256 * 256 * 0.95
    assert count(picture, WATER) > tile
    assert count(picture, BUILT) > tile
    assert count(picture, NO_OBSERVATION) > tile
    assert count(picture, FAILED) > tile / 4
    assert count(picture, NOT_RUN) > tile / 30
    assert max(picture.shape) < 2000


def test_another_picture_stands_left_of_the_map(tmp_path):
    storage, layout = Storage.open(str(tmp_path)), make_layout(bounds=PixelBox(0, 0, 1, 1), arrays=(LABEL,))
    make(storage, layout, [1])
    alone = draw(storage, layout)
    both = draw(storage, layout, beside=lambda view: np.full((*view.values.shape, 3), (250, 0, 250), np.uint8))
    assert count(both, WATER) == count(alone, WATER)
    assert count(both, (250, 0, 250)) > 0.9 * count(alone, WATER)
    (_, pink), (_, water) = (np.nonzero((both == np.array(colour)).all(axis=-1)) for colour in ((250, 0, 250), WATER))
    assert pink.max() < water.min()


def test_other_maps_of_classes_stand_left_of_the_first(tmp_path):
    after = replace(LABEL, name="label_after", long_name="land cover after")
    layout = make_layout(bounds=PixelBox(0, 0, 1, 1), arrays=(LABEL, after))
    storage = Storage.open(str(tmp_path))
    create(storage, layout, {})
    shape = (layout.tile, layout.tile)
    codes = {"label": np.full(shape, 1, np.uint8), "label_after": np.full(shape, 3, np.uint8)}
    MosaicWriter(storage, layout).write(next(iter(layout.tiles())), codes)
    write_status(storage, layout, {next(iter(layout.tiles())): "done"})
    build_coarse(storage, layout)
    picture = draw(storage, layout)
    assert count(picture, WATER) > 400 * 400
    assert count(picture, BUILT) > 400 * 400
    places = {colour: np.nonzero((picture == np.array(colour)).all(axis=-1))[1] for colour in (BUILT, WATER)}
    assert np.median(places[BUILT]) < np.median(places[WATER])


def test_what_did_not_happen_is_not_in_the_legend(tmp_path):
    layout = make_layout(bounds=PixelBox(-950, 118, -949, 119), arrays=(LABEL,))
    storage = Storage.open(str(tmp_path))
    make(storage, layout, [1])
    picture = draw(storage, layout)
    assert count(picture, FAILED) == count(picture, NOT_RUN) == count(picture, NO_OBSERVATION) == 0


def test_picture_is_cropped_to_what_was_mapped(tmp_path):
    layout = make_layout(bounds=PixelBox(0, 0, 8, 8), arrays=(LABEL,))
    storage = Storage.open(str(tmp_path))
    outside = dict.fromkeys(list(layout.tiles())[1:], "outside")
    make(storage, layout, [1, *[None] * 63], outside)
    assert count(draw(storage, layout), WATER) > 400 * 400


@pytest.mark.parametrize("labels", [[None], [0]])
def test_nothing_mapped_is_still_a_picture(tmp_path, labels):
    layout = make_layout(bounds=PixelBox(0, 0, 1, 1), arrays=(LABEL,))
    storage = Storage.open(str(tmp_path))
    make(storage, layout, labels)
    assert draw(storage, layout).shape[2] == 3


def test_areas_are_exact_from_the_ledger_and_close_from_the_pyramid(tmp_path):
    layout = make_layout(bounds=PixelBox(-950, 118, -949, 121), arrays=(LABEL,))
    storage = Storage.open(str(tmp_path))
    make(storage, layout, [1, 1, 3])
    areas = {area.name: area for area in class_areas(storage, layout)}
    assert areas["water"].pixels == 2 * 512 * 512
    assert areas["water"].share == pytest.approx(2 / 3)
    assert areas["water"].km2 == pytest.approx(2 * 5.12**2, rel=2e-3)  # UTM's scale
    assert areas["flooded vegetation"].km2 == 0
    exact = {area.name: area for area in class_areas(storage, layout, histogram={1: 100, 0: 7, 255: 9})}
    assert exact["water"].pixels == 100
    assert exact["water"].share == 1
    assert exact["water"].km2 == pytest.approx(0.01, rel=2e-3)


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:6933"])
def test_ground_area_does_not_depend_on_the_crs(crs):
    grid = Grid(crs, 0.001 if crs == "EPSG:4326" else 100.0)
    layout = Layout.plan(
        grid, 512, PixelBox(-80, 3, -79, 4) if crs == "EPSG:4326" else PixelBox(-100, 3, -99, 4), (LABEL,)
    )
    column = pixel_km2(layout, 0).sum() * 512
    left, bottom, right, top = grid.bounds(layout.box)
    n = 200
    xs = np.concatenate(
        [np.linspace(left, right, n), np.full(n, right), np.linspace(right, left, n), np.full(n, left)]
    )
    ys = np.concatenate(
        [np.full(n, top), np.linspace(top, bottom, n), np.full(n, bottom), np.linspace(bottom, top, n)]
    )
    lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(xs, ys)
    assert column == pytest.approx(abs(Geod(ellps="WGS84").polygon_area_perimeter(lon, lat)[0]) / 1e6, rel=1e-4)


def test_long_and_foreign_names_are_drawn(tmp_path):
    layout = make_layout(bounds=PixelBox(0, 0, 1, 1), arrays=(LABEL,))
    storage = Storage.open(str(tmp_path))
    make(storage, layout, [1])
    picture = draw(storage, layout, subtitle="x" * 500, attribution="données — 数据 " * 40)
    assert picture.shape[1] < 1200


def test_letters_that_the_font_lacks_are_never_boxes(monkeypatch):
    from eopipe.mosaic import quicklook as module

    monkeypatch.setattr(module, "_WIDE_FONTS", ())
    assert module._lettering(16, "forêt \u2013 2025")[0] == "foret - 2025"
    assert module._lettering(16, "森林")[0] == "??"
    assert module._lettering(16, "2025 · a…")[0] == "2025 · a…"
