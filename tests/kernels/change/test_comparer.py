"""The low-resolution form against upsampled feature maps."""

import numpy as np
import pytest
from skimage.exposure import match_histograms
from skimage.filters import threshold_otsu

from eopipe.errors import SpecError
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.spectral.threshold import otsu, otsu_of_counts
from eopipe.kernels.change.stages.compare.latent import compare_objects, compare_pixels
from eopipe.kernels.change.stages.compare.pooling import Axis, mean_features
from eopipe.kernels.change.stages.preprocess import match_histogram
from tests.support import change as plain

SHAPE = (61, 90)


@pytest.fixture(scope="module")
def dense():
    masks = plain.discs(np.random.default_rng(8), 20, SHAPE, least=0.7)
    return masks[masks.any(axis=(1, 2))]


def features(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@pytest.mark.parametrize("cells", [(5, 7), (1, 1), (1, 6), (4, 1), (61, 90), (70, 33)])
def test_means_are_those_of_the_upsampled_map(dense, cells):
    before, after = features(11, *cells), features(11, *cells, seed=1)
    masks = Masks.from_dense(dense, SHAPE)
    for means, each in zip(mean_features(masks, before, after), (before, after), strict=True):
        np.testing.assert_allclose(means, plain.mean_features(each, dense), atol=2e-6)
    np.testing.assert_allclose(
        compare_objects(before, after, masks, beta=145).score, plain.scores(before, after, dense), atol=1e-5
    )
    np.testing.assert_allclose(
        compare_pixels(before, after, SHAPE, beta=145).score, plain.pixel_scores(before, after, SHAPE), atol=1e-5
    )


def test_a_mask_is_summed_alone(dense):
    """Its mean has the same bytes in any company: a map must not depend on what else lies in a tile."""
    before, after = features(33, 9, 8), features(33, 9, 8, seed=1)
    masks = Masks.from_dense(dense, SHAPE)
    together = np.concatenate(mean_features(masks, before, after), axis=1)
    for number in range(len(masks)):
        alone = np.concatenate(mean_features(masks.take([number]), before, after), axis=1)
        assert alone.tobytes() == together[number].tobytes()


def test_corners_are_aligned():
    axis = Axis.stretch(3, 5)
    assert axis.lower.tolist() == [0, 0, 1, 1, 1]
    assert axis.fraction.tolist() == [0, 0.5, 0, 0.5, 1]
    with pytest.raises(ValueError, match="0 cells"):
        Axis.stretch(0, 5)


def test_an_empty_mask_has_not_changed():
    masks = Masks.from_dense([np.zeros(SHAPE)], SHAPE)
    comparison = compare_objects(features(4, 3, 3), features(4, 3, 3, seed=1), masks, beta=180)
    assert np.isnan(comparison.score).all()
    assert not comparison.changed.any()
    assert not len(compare_objects(features(4, 3, 3), features(4, 3, 3), Masks.empty(SHAPE), beta=145).changed)


def test_equal_features_have_not_changed_at_any_angle():
    """At 180° everything at an angle has changed; what is at none has not by the published margin."""
    field = features(4, 5, 5)
    comparison = compare_pixels(field, field, SHAPE, beta=179)
    np.testing.assert_allclose(comparison.score, -1, atol=1e-7)
    assert not comparison.changed.any()
    assert not compare_pixels(0 * field, 0 * field, SHAPE, beta=90).score.any()  # a zero vector has cosine 0


def test_a_larger_angle_keeps_more():
    before, after = features(6, 5, 5), features(6, 5, 5, seed=1)
    shares = [compare_pixels(before, after, SHAPE, beta=beta).changed.mean() for beta in (60, 90, 120, 150)]
    assert shares == sorted(shares)
    assert shares[0] < shares[-1]


@pytest.mark.parametrize("beta", [-1, 181, float("nan")])
def test_what_is_no_angle_is_told(beta):
    with pytest.raises(SpecError, match=r"kernel\.beta: .* is no angle; give 0 to 180"):
        compare_pixels(features(1, 2, 2), features(1, 2, 2), SHAPE, beta=beta)


def test_features_of_two_shapes_are_told(dense):
    masks = Masks.from_dense(dense, SHAPE)
    with pytest.raises(ValueError, match="one shape"):
        compare_objects(features(2, 3, 3), features(2, 3, 4), masks, beta=145)
    with pytest.raises(ValueError, match="one shape"):
        compare_pixels(features(2, 3, 3), features(2, 3, 4), SHAPE, beta=145)


def test_otsu_as_scikit_image():
    generator = np.random.default_rng(4)
    values = np.concatenate([generator.normal(-0.9, 0.03, 4000), generator.normal(-0.4, 0.1, 300)])
    assert otsu(values) == pytest.approx(threshold_otsu(values), abs=1e-9)
    counts, edges = np.histogram(values, 64, (-1, 1))
    centres = (edges[1:] + edges[:-1]) / 2
    assert otsu_of_counts(counts, centres) == pytest.approx(threshold_otsu(hist=(counts, centres)), abs=1e-9)


def test_otsu_can_say_that_nothing_differs():
    assert otsu(np.full(9, 0.25)) == 0.25
    assert otsu_of_counts(np.array([0, 7, 0]), np.array([1.0, 2.0, 3.0])) == 2.0
    assert np.isnan(otsu(np.array([np.nan])))
    assert np.isnan(otsu_of_counts(np.zeros(3), np.arange(3)))


def test_histograms_are_matched_as_scikit_image():
    generator = np.random.default_rng(6)
    picture, reference = generator.integers(0, 90, (2, 20, 30)), generator.integers(40, 255, (2, 20, 30))
    expected = np.stack([match_histograms(*bands) for bands in zip(picture, reference, strict=True)])
    np.testing.assert_allclose(match_histogram(picture, reference), expected)
    valid = generator.random((20, 30)) < 0.5
    matched = match_histogram(picture, reference, valid)
    np.testing.assert_array_equal(matched[:, ~valid], picture[:, ~valid])
    assert (matched[:, valid] >= 40).all()
    np.testing.assert_array_equal(match_histogram(picture, reference, np.zeros((20, 30), bool)), picture)
