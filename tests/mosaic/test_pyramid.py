"""The reductions against an oracle that is slow and plainly right."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eopipe.kernelinfo import ArraySpec, ClassInfo
from eopipe.mosaic.pyramid import histogram, reduce, reduce_mean, reduce_mode


def oracle_mode(four, losers):
    pool = [v for v in four if v not in losers] or list(four)
    most = max(pool.count(v) for v in pool)
    return min(v for v in pool if pool.count(v) == most)


def oracle_mean(four, losers):
    valid = [v for v in four if v not in losers]
    if not valid:
        return oracle_mode(four, losers)
    return floor(Fraction(sum(valid), len(valid)) + Fraction(1, 2))


def blocks(array):
    for i in range(0, array.shape[0], 2):
        for j in range(0, array.shape[1], 2):
            yield (i // 2, j // 2), [int(v) for v in array[i : i + 2, j : j + 2].reshape(-1)]


even = st.sampled_from([(2, 2), (2, 6), (4, 4)])
codes = st.sampled_from([0, 1, 2, 3, 254, 255])


@settings(deadline=None)
@given(arrays(np.uint8, even, elements=codes), st.sampled_from([(), (0, 255), (254, 255), (255,)]))
def test_mode(array, losers):
    out = reduce_mode(array, losers)
    for place, four in blocks(array):
        assert out[place] == oracle_mode(four, losers)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_mean(dtype, data):
    info = np.iinfo(dtype)
    ends = [int(info.min), int(info.max), 0, 1, 2, 3]
    array = data.draw(
        arrays(dtype, (4, 4), elements=st.one_of(st.sampled_from(ends), st.integers(info.min, info.max)))
    )
    losers = data.draw(st.sampled_from([(), (int(info.max),), (0, int(info.max))]))
    out = reduce_mean(array, losers)
    assert out.dtype == dtype
    for place, four in blocks(array):
        assert out[place] == oracle_mean(four, losers)


@given(st.permutations([1, 1, 2, 255]))
@settings(deadline=None, max_examples=24)
def test_order_does_not_matter(four):
    assert reduce_mode(np.array(four, np.uint8).reshape(2, 2), (0, 255))[0, 0] == 1


@pytest.mark.parametrize(
    ("four", "losers", "expected"),
    [
        ([3, 3, 1, 1], (), 1),  # a tie goes to the lowest code
        ([0, 0, 0, 7], (0, 255), 7),  # three without an observation never win over one class
        ([255, 255, 255, 0], (0, 255), 255),  # nothing but losers: their mode
        ([255, 255, 0, 0], (0, 255), 0),
        ([0, 254, 254, 254], (254, 255), 0),  # change: unchanged is a class
    ],
)
def test_mode_by_example(four, losers, expected):
    assert reduce_mode(np.array(four, np.uint8).reshape(2, 2), losers)[0, 0] == expected


def test_mean_by_example():
    assert reduce_mean(np.array([[10, 255], [255, 255]], np.uint8), (255,))[0, 0] == 10
    assert reduce_mean(np.array([[1, 2], [255, 255]], np.uint8), (255,))[0, 0] == 2  # a half goes up
    assert reduce_mean(np.array([[254, 255], [255, 255]], np.uint8), (254, 255))[0, 0] == 255


def test_odd_sides_are_completed_with_fill():
    spec = ArraySpec("label", "uint8", 255, 0, (ClassInfo(1, "a", "#000000"),), (0, 255))
    array = np.array([[1, 1, 2], [1, 1, 2], [3, 3, 4]], np.uint8)
    assert reduce(array, spec).tolist() == [[1, 2], [3, 4]]


def test_planes_are_reduced_one_by_one():
    spec = ArraySpec("p", "uint8", 255, 0, losers=(255,), bands=("a", "b"))
    array = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    out = reduce(array, spec)
    assert out.shape == (2, 2, 2)
    assert (out[1] == reduce(array[1], spec)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
def test_histogram(dtype):
    array = np.random.default_rng(0).integers(-100 if dtype is np.int16 else 0, 100, (37, 11)).astype(dtype)
    values, counts = np.unique(array, return_counts=True)
    assert histogram(array) == dict(zip(values.tolist(), counts.tolist(), strict=True))
