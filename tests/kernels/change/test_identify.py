"""Classes of masks on the probabilities' own grid, and the two rules."""

import numpy as np
import pytest

from eopipe.errors import SpecError
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.identify.rules import class_means, classes_of, eligible, pixel_classes
from tests.support import change as plain

SHAPE = (61, 90)


@pytest.mark.parametrize("cells", [(40, 40), (61, 90), (130, 97), (7, 3), (1, 1)])
def test_means_are_those_of_the_resized_mask(cells):
    generator = np.random.default_rng(8)
    dense = plain.discs(generator, 30, SHAPE, least=0.6, most=9)
    probabilities = generator.random((3, *cells), np.float32)
    means = class_means(Masks.from_dense(dense, SHAPE), probabilities)
    for mean, mask in zip(means, dense, strict=True):
        inside = plain.resized(mask, cells)
        expected = probabilities[:, inside].mean(axis=1) if inside.any() else np.full(3, np.nan)
        np.testing.assert_allclose(mean, expected, rtol=1e-5)
    np.testing.assert_array_equal(classes_of(means), plain.classes(probabilities, dense))


def test_a_mask_that_no_cell_shows_is_background():
    dot = np.zeros((4, 4), bool)
    dot[1, 1] = True
    means = class_means(Masks.from_dense([dot], (4, 4)), np.array([[[0.1, 0.1]] * 2, [[0.9, 0.9]] * 2]))
    assert np.isnan(means).all()
    assert classes_of(means).tolist() == [0]


def test_no_mask_has_no_class():
    assert classes_of(class_means(Masks.empty(SHAPE), np.ones((2, 3, 3)))).shape == (0,)


def test_an_object_of_both_dates_need_be_foreground_on_one():
    before, after = np.array([0, 1, 1, 2, 0]), np.array([1, 0, 1, 1, 0])
    for date, expected in ((1, [0, 1, 0, 1, 0]), (2, [1, 0, 0, 1, 0]), (3, [1, 1, 0, 1, 0])):
        flags = eligible(before, after, np.full(5, date), rule="instance")
        assert flags.tolist() == [bool(n) for n in expected], date
    assert eligible(before, after, np.full(5, 1), rule="stuff").tolist() == [True, True, False, True, False]


def test_another_rule_is_told():
    with pytest.raises(SpecError, match="'thing'; it is instance, stuff or likely"):
        eligible(np.zeros(1, int), np.zeros(1, int), np.ones(1, int), rule="thing")


def test_pixels_have_their_cell_s_class():
    cells = np.array([[[0.6, 0.5], [0.1, 0.2]], [[0.4, 0.5], [0.9, 0.8]]])
    assert pixel_classes(cells, (3, 4)).tolist() == [[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]
