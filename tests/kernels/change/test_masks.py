"""Masks as runs against dense arrays."""

import numpy as np
import pytest
from skimage.measure import label
from torch import from_numpy
from torchvision.ops import nms

from eopipe.kernels.change.masks.overlap import box_nms, corner_boxes, mask_iou
from eopipe.kernels.change.masks.regions import regions
from eopipe.kernels.change.masks.runs import Masks
from tests.support import change as plain
from tests.support.change import discs

SHAPE = (37, 53)


@pytest.fixture(scope="module")
def dense():
    """Discs, noise, a full mask, the last pixel, and two empty ones, of which one is the last."""
    generator = np.random.default_rng(3)
    rasters = np.concatenate(
        [discs(generator, 12, SHAPE), generator.random((3, *SHAPE)) < 0.4, np.zeros((4, *SHAPE), bool)]
    )
    rasters[15] = True
    rasters[16, -1, -1] = True
    return rasters[[0, 1, 17, *range(2, 17), 18]]


@pytest.fixture(scope="module")
def masks(dense):
    return Masks.from_dense(dense, SHAPE)


def same(masks, dense):
    np.testing.assert_array_equal(plain.dense(masks), dense)


def test_they_are_what_they_were_made_of(masks, dense):
    same(masks, dense)
    np.testing.assert_array_equal(masks.areas, dense.sum(axis=(1, 2)))
    np.testing.assert_array_equal(masks.count(), dense.sum(axis=0))
    np.testing.assert_array_equal(masks.union(), dense.any(axis=0))


def test_boxes(masks, dense):
    for mask, (top, left, bottom, right) in zip(dense, masks.boxes, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        expected = (rows[0], columns[0], rows[-1] + 1, columns[-1] + 1) if mask.any() else (0, 0, 0, 0)
        assert (top, left, bottom, right) == expected


def test_some_of_them(masks, dense):
    chosen = np.arange(len(dense)) % 3 == 0
    same(masks.take(chosen), dense[chosen])
    same(masks.take([5, 2, 5]), dense[[5, 2, 5]])
    same(masks.take([]), dense[:0])
    same(Masks.empty(SHAPE).take(np.zeros(0, bool)), dense[:0])


def test_one_after_another(masks, dense):
    same(Masks.concatenate([masks, Masks.empty(SHAPE), masks.take([1])]), np.concatenate([dense, dense[[1]]]))
    with pytest.raises(ValueError, match=r"one shape.*\(3, 3\)"):
        Masks.concatenate([masks, Masks.empty((3, 3))])


def test_none_of_them():
    none = Masks.empty(SHAPE)
    assert len(none) == len(none.areas) == len(none.boxes) == 0
    assert not none.union().any()
    assert mask_iou(none, none).shape == (0, 0)
    assert len(box_nms(corner_boxes(none), np.zeros(0), 0.5)) == 0


def test_a_map_of_objects():
    labels = np.random.default_rng(1).integers(-1, 5, SHAPE)
    same(Masks.from_labels(labels), labels == np.arange(1, 5)[:, None, None])
    same(Masks.from_labels(np.zeros(SHAPE, np.uint8)), np.zeros((0, *SHAPE), bool))
    with pytest.raises(ValueError, match="integers"):
        Masks.from_labels(labels.astype(float))


def test_a_mask_of_another_shape_is_told():
    with pytest.raises(ValueError, match=r"\(2, 2\) on a picture of \(37, 53\)"):
        Masks.from_dense([np.ones((2, 2))], SHAPE)


def test_hundreds_take_kilobytes():
    hundreds = Masks.from_dense(discs(np.random.default_rng(2), 50, (512, 512)), (512, 512))
    assert hundreds.runs.nbytes + hundreds.offsets.nbytes < 50 * 512 * 512 / 100


def test_overlaps(masks, dense):
    flat = dense.reshape(len(dense), -1).astype(int)
    common = flat @ flat.T
    union = flat.sum(1)[:, None] + flat.sum(1)[None] - common
    np.testing.assert_array_equal(mask_iou(masks, masks), np.where(union, common / np.maximum(union, 1), 0))
    with pytest.raises(ValueError, match="cannot be compared"):
        mask_iou(masks, Masks.empty((3, 3)))


@pytest.mark.parametrize("limit", [0.1, 0.5, 0.7])
def test_doubled_boxes_as_torchvision(limit):
    generator = np.random.default_rng(5)
    corner = generator.integers(0, 40, (300, 2))
    boxes = np.concatenate([corner, corner + generator.integers(0, 20, (300, 2))], axis=1).astype(np.float32)
    scores = generator.integers(0, 9, 300).astype(np.float32)  # many are equal
    expected = nms(from_numpy(boxes), from_numpy(scores), limit).sort().values
    np.testing.assert_array_equal(box_nms(boxes, scores, limit), expected)


def test_a_box_ends_on_its_last_pixel(masks):
    assert corner_boxes(masks.take([len(masks) - 2])).tolist() == [[52, 36, 52, 36]]
    assert corner_boxes(masks.take([len(masks) - 1])).tolist() == [[0, 0, 0, 0]]


def test_doubled_masks():
    """Two bars that cross have boxes far larger than they are; the third is the first's double."""
    dense = np.zeros((3, 20, 20), bool)
    np.fill_diagonal(dense[0], val=True)
    np.fill_diagonal(dense[1, ::-1], val=True)
    dense[2] = dense[0]
    masks = Masks.from_dense(dense, (20, 20))
    scores = np.array([0.5, 0.7, 0.6])
    np.testing.assert_array_equal(box_nms(corner_boxes(masks), scores, 0.7), [1])


@pytest.mark.parametrize("density", [0.1, 0.5, 0.8])
def test_regions_as_scikit_image(density):
    generator = np.random.default_rng(int(10 * density))
    classes = np.where(generator.random(SHAPE) < density, generator.integers(1, 3, SHAPE), 0)
    result = regions(classes)
    expected = label(classes, background=0, connectivity=2)
    same(result, expected == np.arange(1, expected.max() + 1)[:, None, None])


def test_regions_need_whole_numbers():
    with pytest.raises(ValueError, match="integers"):
        regions(np.zeros(SHAPE))
