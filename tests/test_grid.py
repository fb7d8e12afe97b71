"""The lattice: whatever box, size or place, pixels keep their names."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from eopipe.errors import SpecError
from eopipe.grid import CELL, TILE_SIZES, Grid, PixelBox, Tile

INDEX = st.integers(-(2**31) + 1, 2**31 - 1)
NEAR = st.integers(-100_000, 100_000)
SIDE = st.integers(1, 5_000)
RESOLUTIONS = st.sampled_from([10.0, 20.0, 30.0, 0.3, 2.5, 100.0, 0.0001, 1 / 3, 8.983152841195215e-05])
CRSS = st.sampled_from(["EPSG:32632", "EPSG:32733", "EPSG:3035", "EPSG:8857", "EPSG:4326", "EPSG:3413"])


@st.composite
def boxes(draw: st.DrawFn) -> PixelBox:
    row, col = draw(NEAR), draw(NEAR)
    return PixelBox(row, col, row + draw(SIDE), col + draw(SIDE))


@given(boxes(), RESOLUTIONS)
def test_a_boxs_bounds_give_the_box_back(box: PixelBox, resolution: float) -> None:
    grid = Grid("EPSG:32632", resolution)
    assert grid.box_of(*grid.bounds(box)) == box


@given(NEAR, NEAR, st.floats(0, 0.9), st.floats(0, 0.9), SIDE, SIDE)
def test_box_of_covers_and_wastes_no_pixel(row: int, col: int, dy: float, dx: float, height: int, width: int) -> None:
    grid = Grid("EPSG:32632", 10.0)
    left, top = (col + dx) * 10.0, -(row + dy) * 10.0
    right, bottom = left + width * 10.0, top - height * 10.0
    found = grid.bounds(grid.box_of(left, bottom, right, top))
    slack = 10.0 * 2e-6
    assert found[0] <= left + slack
    assert found[1] <= bottom + slack
    assert found[2] >= right - slack
    assert found[3] >= top - slack
    assert left - found[0] < 10.0
    assert found[2] - right < 10.0
    assert bottom - found[1] < 10.0
    assert found[3] - top < 10.0


@given(INDEX, INDEX)
@example(-472, 59)
@example(0, 0)
@example(99_999, -100_000)
def test_a_tiles_name_parses_to_the_tile(row: int, col: int) -> None:
    assert Tile.parse(Tile(row, col).name) == Tile(row, col)


def test_the_name_of_the_design() -> None:
    assert Tile(-472, 59).name == "r-00472c00059"


@given(st.tuples(INDEX, INDEX), st.tuples(INDEX, INDEX))
def test_two_tiles_never_share_a_name(one: tuple[int, int], other: tuple[int, int]) -> None:
    assume(one != other)
    assert Tile(*one).name != Tile(*other).name


@pytest.mark.parametrize(
    "name", ["", "r1c2", "r00001", "r00001c", "c00001r00001", "r00001c00002 ", "r00001c00002.tif", "r--0001c00001"]
)
def test_a_bad_name_says_what_a_good_one_is(name: str) -> None:
    with pytest.raises(SpecError, match="r-00472c00059"):
        Tile.parse(name)


@given(boxes(), st.sampled_from([CELL, *TILE_SIZES, 7]))
def test_blocks_partition_what_they_cover(box: PixelBox, size: int) -> None:
    assume(box.shape[0] * box.shape[1] / size**2 < 10_000)
    blocks = list(box.blocks(size))
    outer = box.snap(size)
    assert len(set(blocks)) == len(blocks)
    assert sum(math.prod(block.shape) for block in blocks) == math.prod(outer.shape)
    assert blocks == sorted(blocks)
    for block in blocks[:50]:
        assert block.row0 % size == block.col0 % size == 0
        assert block.shape == (size, size)
        assert not (block & box).empty


@given(boxes(), st.sampled_from([1, 2, 512, 4096, 13]))
def test_snap_is_the_smallest_that_holds(box: PixelBox, step: int) -> None:
    found = box.snap(step)
    assert found.snap(step) == found
    assert found & box == box
    assert box.row0 - found.row0 < step
    assert found.col1 - box.col1 < step


@given(NEAR, NEAR, st.sampled_from(TILE_SIZES[:-1]))
def test_a_tile_is_exactly_its_smaller_tiles(row: int, col: int, size: int) -> None:
    box = Tile(row, col).box(size)
    halves = [Tile(2 * row + i, 2 * col + j).box(size // 2) for i in (0, 1) for j in (0, 1)]
    assert halves == list(box.blocks(size // 2))


@given(NEAR, NEAR, st.sampled_from(TILE_SIZES), CRSS, RESOLUTIONS)
def test_neighbours_meet_without_gap_or_overlap(row: int, col: int, size: int, crs: str, resolution: float) -> None:
    grid = Grid(crs, resolution)
    here, right, below = (Tile(row + i, col + j).box(size) for i, j in ((0, 0), (0, 1), (1, 0)))
    assert grid.bounds(here)[2] == grid.bounds(right)[0]
    assert grid.bounds(here)[1] == grid.bounds(below)[3]
    assert (here & right).empty
    assert (here & below).empty


@given(NEAR, NEAR, st.tuples(*[st.integers(0, 60)] * 4))
def test_slices_pick_the_same_pixels(row: int, col: int, edges: tuple[int, int, int, int]) -> None:
    outer = PixelBox(row, col, row + 70, col + 80)
    part = (
        PixelBox(row + edges[0], col + edges[1], row + edges[0] + 1 + edges[2], col + edges[1] + 1 + edges[3]) & outer
    )
    rows, cols = np.ogrid[outer.row0 : outer.row1, outer.col0 : outer.col1]
    found = (rows * 1_000_003 + cols)[part.slices(outer)]
    assert found.shape == part.shape
    assert found[0, 0] == part.row0 * 1_000_003 + part.col0
    assert found[-1, -1] == (part.row1 - 1) * 1_000_003 + part.col1 - 1


@given(boxes(), st.integers(0, 1000))
def test_pad_is_undone_by_pad(box: PixelBox, pixels: int) -> None:
    assert box.pad(pixels).pad(-pixels) == box
    assert box.pad(pixels) & box == box


@given(boxes(), CRSS, RESOLUTIONS)
def test_a_geobox_is_the_box(box: PixelBox, crs: str, resolution: float) -> None:
    grid = Grid(crs, resolution)
    geobox = grid.geobox(box)
    assert geobox.shape == box.shape
    assert (geobox.affine.a, geobox.affine.e) == (resolution, -resolution)
    assert (geobox.affine.c, geobox.affine.f) == (grid.bounds(box)[0], grid.bounds(box)[3])


@given(boxes(), boxes())
def test_intersection_is_what_both_hold(one: PixelBox, other: PixelBox) -> None:
    assert one & other == other & one
    assert (one & one) == one
    found = one & other
    if not found.empty:
        assert found & one == found
        assert found & other == found


@pytest.mark.parametrize("resolution", [0.0, -10.0, float("nan"), float("inf")])
def test_a_resolution_is_positive(resolution: float) -> None:
    with pytest.raises(SpecError, match="not a positive number"):
        Grid("EPSG:32632", resolution)
