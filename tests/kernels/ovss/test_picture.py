"""Fixed clips: the same decibels are the same colour everywhere."""

import numpy as np

from eopipe.kernels.ovss.picture import sar_picture


def picture(vv, vh, channels="vv-vh-ratio"):
    return sar_picture(np.array([[[vv]], [[vh]]], np.float32), channels=channels)[:, 0, 0]


def test_the_clips_ends_are_black_and_white():
    assert picture(-25, -32).tolist() == [0, 0, np.float32(7 / 15)]
    assert picture(0, -5).tolist() == [1, 1, np.float32(1 / 3)]
    assert picture(-40, -40).tolist() == [0, 0, 0]
    assert picture(20, -20)[[0, 2]].tolist() == [1, 1]


def test_one_band_is_replicated():
    bands = sar_picture(np.full((1, 2, 3), -12.5, np.float32), channels="vv")
    assert bands.shape == (3, 2, 3)
    assert bands.dtype == np.float32
    assert set(np.unique(bands)) == {0.5}
    assert np.array_equal(picture(-12.5, -99, "vv"), bands[:, 0, 0])
