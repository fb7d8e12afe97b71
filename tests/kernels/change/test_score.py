"""Where a change score is cut: all scores at all thresholds, and what cannot cut it."""

import numpy as np
import pytest

from eopipe.errors import SpecError
from eopipe.kernels.change.create import create
from eopipe.kernels.change.score import HIGHEST, change_of, check_threshold
from eopipe.kernels.change.spectral.kernel import SpectralOptions
from eopipe.kernels.protocol import Rethresholding
from eopipe.kernels.registry import create as create_kernel

SCORES = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("at", [1, 2, 99, 100, 249, 250])
def test_from_the_threshold_on_a_pixel_changed(at):
    codes = change_of(SCORES, at)
    assert codes.dtype == np.uint8
    assert codes[:251].tolist() == [0] * at + [1] * (251 - at)
    assert codes[254:].tolist() == [254, 255]  # not seen, not produced: never "unchanged"


def test_a_higher_threshold_never_finds_more():
    counts = [int((change_of(SCORES, at) == 1).sum()) for at in range(1, HIGHEST + 1)]
    assert counts == list(range(250, 0, -1))


@pytest.mark.parametrize("at", [0, 251, -5, 99.5, True, "100", None])
def test_what_is_no_threshold_is_one_line(at):
    with pytest.raises(SpecError, match=r"^at: .* whole number from 1 to 250") as refused:
        check_threshold(at)
    assert "\n" not in str(refused.value)


def test_the_kernel_cuts_where_it_is_told_and_says_so():
    kernel = create(SpectralOptions(), resolution=10)
    assert isinstance(kernel, Rethresholding)
    other = kernel.with_threshold(130).with_threshold(60)
    names = {spec.name: spec.long_name for spec in other.info.arrays}
    assert names.pop("change") == "change of construction, from 60 hundredths of the threshold on"
    assert names.items() <= {spec.name: spec.long_name for spec in kernel.info.arrays}.items()
    assert "threshold on" not in kernel.info.arrays[0].long_name
    assert other.info.options == kernel.info.options
    assert not isinstance(create_kernel("land-cover", {}, resolution=10), Rethresholding)
