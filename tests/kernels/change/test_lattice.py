"""Pictures on the lattice: which touch a box, and that each object has one that sees it whole."""

import numpy as np
import pytest

from eopipe.grid import PixelBox
from eopipe.kernels.change.dynamicearth.lattice import beyond_core, core_of, in_core, pictures, stride_of
from eopipe.kernels.change.masks.runs import Masks


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_pictures_are_those_that_touch_and_cores_tile_the_plane(side):
    box = PixelBox(-512, 1024, 512, 1536)
    touching = list(pictures(box, side))
    stride = stride_of(side)
    around = box.pad(2 * side)
    starts = np.arange(around.row0, around.row1, stride), np.arange(around.col0, around.col1, stride)
    squares = (PixelBox(row, col, row + side, col + side) for row in starts[0].tolist() for col in starts[1].tolist())
    assert touching == [square for square in squares if not (square & box).empty]
    covered = np.zeros(box.shape, int)
    for picture in touching:
        shared = core_of(picture) & box
        if not shared.empty:
            covered[shared.slices(box)] += 1
    assert (covered == 1).all()


@pytest.mark.parametrize("side", [256, 512])
def test_an_object_of_half_a_picture_has_one_that_sees_it_whole(side):
    """Wherever it lies, also where its middle is on a core's edge."""
    rng = np.random.default_rng(0)
    stride = stride_of(side)
    for _ in range(150):
        height, width = rng.integers(1, stride + 1, 2)
        row, col = rng.integers(-stride, stride, 2)
        if rng.random() < 0.3:  # its middle exactly on an edge of cores
            row = stride // 2 - height // 2
        box = PixelBox(int(row), int(col), int(row + height), int(col + width))
        owners = []
        for picture in pictures(PixelBox(-2 * side, -2 * side, 2 * side, 2 * side), side):
            shared = box & picture
            if shared.empty:
                continue
            mask = np.zeros(picture.shape, bool)
            mask[shared.slices(picture)] = True
            if shared == box and in_core(Masks.from_dense([mask], picture.shape))[0]:
                owners.append(picture)
        assert len(owners) == 1


def test_what_reaches_beyond_the_core():
    side = 256
    boxes = [(64, 64, 192, 192), (63, 70, 100, 100), (70, 70, 100, 193), (0, 0, 0, 0)]
    masks = np.zeros((4, side, side), bool)
    for mask, (top, left, bottom, right) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = True
    runs = Masks.from_dense(masks, (side, side))
    assert beyond_core(runs).tolist()[:3] == [False, True, True]
    assert in_core(runs).tolist() == [True, True, True, False]
