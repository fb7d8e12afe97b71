"""The pieces of the embedded comparison, each by itself."""

import numpy as np
import pytest

from eopipe.errors import TileFault
from eopipe.kernels.change.registration import phase_correlation, shift
from eopipe.kernels.change.spectral import colour_difference, threshold
from eopipe.kernels.change.spectral.threshold import otsu

RNG = np.random.default_rng(4)


def texture(side, *, down=0.0, right=0.0, seed=1):
    """Noise of all scales, moved exactly: by the phases of its transform, on a larger picture that wraps around."""
    whole = np.fft.fft2(np.random.default_rng(seed).normal(size=(side + 32, side + 32)))
    rows, cols = np.fft.fftfreq(side + 32)[:, None], np.fft.fftfreq(side + 32)[None]
    scales = 1 / np.maximum(np.hypot(rows, cols), 0.02) * (np.hypot(rows, cols) < 0.45)
    moved = np.fft.ifft2(whole * scales * np.exp(2j * np.pi * (rows * down + cols * right))).real
    return (moved[16 : side + 16, 16 : side + 16] / moved.std()).astype(np.float32)


# ---- filters -----------------------------------------------------------------------------------------------------


def test_smoothing_is_a_weighted_mean_of_what_is_valid():
    weights = shift.gaussian(1.5, 4)
    planes, valid = RNG.normal(size=(2, 30, 40)).astype(np.float32), RNG.random((30, 40)) > 0.4
    planes *= valid
    around = np.outer(weights, weights).astype(float)
    expected = np.array([
        [[(around * plane[r : r + 9, c : c + 9]).sum() for c in range(32)] for r in range(22)] for plane in planes
    ])  # fmt: skip
    share = np.array([[(around * valid[r : r + 9, c : c + 9]).sum() for c in range(32)] for r in range(22)])
    np.testing.assert_allclose(shift.smooth(planes, weights), expected, atol=1e-6)
    np.testing.assert_allclose(shift.smooth_valid(planes, valid, weights), expected / share, atol=1e-5)
    assert not shift.smooth_valid(planes, np.zeros_like(valid), weights).any()


def test_a_mean_of_a_pixel_is_the_same_in_any_array():
    weights, planes = colour_difference.TEXTURE, RNG.normal(size=(1, 120, 150)).astype(np.float32)
    part = shift.smooth(planes[:, 13:90, 41:], weights)
    np.testing.assert_array_equal(shift.smooth(planes, weights)[:, 13:60, 41:], part)


def test_moving():
    margin, one, all_of_it = 6, np.ones((30, 30)), np.ones((42, 42), bool)
    picture = texture(42)
    for down, right in ((0, 0), (1, -3), (-2, 2)):
        moved, valid = shift.move(picture[None], all_of_it, down * one, right * one, margin)
        np.testing.assert_array_equal(moved[0], picture[6 + down : 36 + down, 6 + right : 36 + right])
        assert valid.all()
    smooth = (np.arange(42.0)[:, None] * 3 + np.arange(42.0)[None] * 0.5).astype(np.float32)
    moved, _ = shift.move(smooth[None], all_of_it, 0.3 * one, -2.6 * one, margin)
    np.testing.assert_allclose(moved[0], smooth[6:36, 6:36] + 0.3 * 3 - 2.6 * 0.5, rtol=1e-6)


def test_moving_leaves_out_what_is_invalid():
    margin, one = 6, np.ones((30, 30))
    picture, valid = np.full((42, 42), 5, np.float32), RNG.random((42, 42)) > 0.3
    picture[~valid] = 1e6
    moved, inner = shift.move(picture[None], valid, 0.3 * one, 0.4 * one, margin)
    np.testing.assert_array_equal(inner, valid[6:36, 6:36])
    np.testing.assert_allclose(moved[0], np.where(inner, 5, 0), rtol=1e-6)


# ---- registration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("down", "right"), [(0, 0), (0.3, -0.3), (-1.43, 0.05), (2.9, -2.2)])
def test_a_shift_is_found_from_surfaces_that_add(down, right):
    surface, whole = 0, np.ones((128, 128), bool)
    for seed in (1, 2):
        before, after = texture(128, seed=seed), texture(128, down=-down, right=-right, seed=seed)
        noise = RNG.normal(0, 0.2, (2, 128, 128)).astype(np.float32)
        surface = surface + phase_correlation.surface(before + noise[0], 1.7 * after + noise[1] + 40, whole)
    assert phase_correlation.shift_of(surface) == pytest.approx({"down": down, "right": right}, abs=0.06)


def test_a_shift_that_is_none():
    whole = np.ones((128, 128), bool)
    picture = texture(128)
    noise = RNG.normal(size=(2, 128, 128)).astype(np.float32)
    nothing = {"down": 0.0, "right": 0.0}
    assert phase_correlation.shift_of(phase_correlation.surface(picture, picture, whole)) == pytest.approx(
        nothing, abs=1e-9
    )
    assert phase_correlation.shift_of(phase_correlation.surface(*noise, whole)) == nothing  # nothing to hold on to
    assert phase_correlation.shift_of(phase_correlation.surface(picture, np.ones_like(picture), whole)) == nothing
    assert phase_correlation.shift_of(phase_correlation.surface(picture, picture, ~whole)) == nothing
    with pytest.raises(TileFault, match=r"the dates lie \+0\.4 rows and -5\.2 columns apart"):
        phase_correlation.shift_of(phase_correlation.surface(picture, texture(128, down=-0.4, right=5.2), whole))


# ---- comparing ---------------------------------------------------------------------------------------------------

SIDE = 2 * colour_difference.MARGIN + 60


def test_a_place_that_changed_stands_out_and_haze_does_not():
    before = np.stack([texture(SIDE, seed=seed) for seed in (1, 2, 3)])
    haze = np.linspace(0, 2, SIDE)[:, None] * np.ones(SIDE)
    after = (0.8 * before + haze).astype(np.float32)
    after[:, 120:135, 120:135] += 2 + texture(15, seed=9) / 3
    score = colour_difference.compare(before, after, np.ones((SIDE, SIDE), bool))
    inside = np.zeros_like(score, bool)
    inside[22:37, 22:37] = True
    assert score.shape == (60, 60)
    assert np.median(score[inside]) > 10 * np.percentile(score[:14], 99)


def test_pixels_without_both_dates_count_nowhere():
    before = np.stack([texture(SIDE, seed=seed) for seed in (1, 2, 3)])
    valid = RNG.random((SIDE, SIDE)) > 0.2
    valid[:, :150] = False
    other = np.where(valid, before, 7).astype(np.float32)
    difference = colour_difference.compare(before * valid, other * valid, valid)
    np.testing.assert_array_equal(difference, 0)
    level = colour_difference.Level(np.float32(3), np.float32(2))
    np.testing.assert_array_equal(
        level.of(np.full((3, 2, 2), 7, np.float32), np.eye(2, dtype=bool))[0], 2 * np.eye(2)
    )


# ---- threshold ---------------------------------------------------------------------------------------------------


def test_the_threshold_is_that_of_the_values():
    scores = np.concatenate([RNG.gamma(4, 0.05, 50_000), RNG.normal(3, 0.4, 1_500)]).astype(np.float32)
    median = np.median(scores)
    robust = median + 6 * 1.4826 * np.median(np.abs(scores - median))
    limit = threshold.threshold_of(sum(map(threshold.counts_of, np.array_split(scores, 3))))
    assert limit == pytest.approx(np.sqrt(otsu(scores, bins=2000) * robust), rel=0.01)


def test_where_nothing_changed_nothing_is_above_the_threshold():
    for scores in (np.zeros(500), RNG.gamma(4, 0.005, 50_000)):
        limit = threshold.threshold_of(threshold.counts_of(scores.astype(np.float32)))
        assert limit == threshold.FLOOR
        assert (scores > limit).mean() <= 0.001
