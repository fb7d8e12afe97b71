import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eopipe.grid import PixelBox
from eopipe.kernels.ovss.segmentor import lay_windows
from tests.support.paths import golden, needs_shared


@needs_shared
def test_benchmark_windows_are_the_published_tables():
    tables = json.loads(golden("slide_windows_224_112.json").read_text())
    assert len(tables) == 7
    for name, expected in tables.items():
        height, width = map(int, name.split("x"))
        windows = lay_windows(PixelBox(0, 0, height, width), size=224, stride=112, lattice=False)
        assert [[w.row0, w.col0, w.row1, w.col1] for w in windows] == expected, name


def test_a_small_image_is_one_smaller_window():
    assert list(lay_windows(PixelBox(0, 0, 50, 72), size=64, stride=32, lattice=False)) == [
        PixelBox(0, 0, 50, 64),
        PixelBox(0, 8, 50, 72),
    ]


boxes = st.builds(
    lambda row, col, height, width: PixelBox(row, col, row + height, col + width),
    st.integers(-5000, 5000), st.integers(-5000, 5000), st.integers(1, 700), st.integers(1, 700),
)  # fmt: skip


@given(boxes)
def test_lattice_windows_are_all_that_touch_the_box(box):
    windows = list(lay_windows(box, size=224, stride=112, lattice=True))
    assert windows == sorted(windows)
    expected = {
        (row, col)
        for row in range(box.row0 // 112 - 3, box.row1 // 112 + 3)
        for col in range(box.col0 // 112 - 3, box.col1 // 112 + 3)
        if not (PixelBox(row * 112, col * 112, row * 112 + 224, col * 112 + 224) & box).empty
    }
    assert {(w.row0 // 112, w.col0 // 112) for w in windows} == expected
    assert all(w.row0 % 112 == 0 and w.col0 % 112 == 0 and w.shape == (224, 224) for w in windows)


@given(boxes, st.integers(16, 64), st.integers(8, 64))
def test_benchmark_windows_cover_the_image_and_stay_inside(box, size, stride):
    stride = min(size, stride)
    height, width = box.shape
    windows = list(lay_windows(box, size=size, stride=stride, lattice=False))
    covered = set()
    for window in windows:
        assert box.row0 <= window.row0 < window.row1 <= box.row1
        assert box.col0 <= window.col0 < window.col1 <= box.col1
        assert window.shape == (min(size, height), min(size, width))
    rows = {row for window in windows for row in range(window.row0, window.row1)}
    cols = {col for window in windows for col in range(window.col0, window.col1)}
    covered = len(rows), len(cols)
    assert covered == (height, width)


def test_the_result_is_lazy():
    assert next(lay_windows(PixelBox(0, 0, 10**7, 10**7), size=224, stride=112, lattice=True)).row0 == -112


@pytest.mark.parametrize("lattice", [True, False])
def test_neighbouring_windows_are_a_stride_apart(lattice):
    windows = list(lay_windows(PixelBox(0, 0, 448, 448), size=224, stride=112, lattice=lattice))
    starts = sorted({window.row0 for window in windows})
    assert {b - a for a, b in itertools.pairwise(starts)} == {112}
