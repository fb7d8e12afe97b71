"""Precision: measured, frozen, and refused where it crawls."""

import json
from types import SimpleNamespace

import pytest

from eopipe.engine.plan.model import Calibration
from eopipe.engine.plan.open import freeze_precision, open_run
from eopipe.engine.sources.scenes import Scenes
from eopipe.engine.work import precision
from eopipe.engine.work.calibrate import calibrate_here, calibrate_on_worker
from eopipe.errors import ClusterError, WeightsError
from eopipe.kernelinfo import Window
from eopipe.spec import parse_spec, resolve_now
from tests.support.kernels import Options, Overlapping
from tests.support.paths import needs_shared
from tests.support.runs import pisa, run

SMALL = [10.39, 43.70, 10.395, 43.705]


def times(**seconds):
    """Calibrations by precision, as a worker would give them."""
    return lambda kernel: Calibration(
        base=2**29,
        window_seconds=seconds[kernel.info.options["precision"]],
        device="test",
        bfloat16=seconds.get("product", 1.0),
    )


@pytest.fixture
def opened(overlapping, tmp_path):
    spec = pisa(tmp_path / "out", kernel={"name": "overlapping", "precision": "auto"}, area=SMALL)
    return open_run(parse_spec(spec), now=resolve_now(None), allow_empty=False)


@needs_shared
@pytest.mark.parametrize(
    ("measured", "taken", "warning"),
    [
        ({"float32": 0.4, "bfloat16": 0.1}, "bfloat16", "float32 0.400 s, bfloat16 0.100 s a window"),
        ({"float32": 0.4, "bfloat16": 0.5}, "float32", "float32 was taken"),
        ({"float32": 0.4, "product": 400.0}, "float32", "a bfloat16 product takes 400 times as long"),
    ],
)
def test_auto_takes_the_faster_and_says_so(opened, measured, taken, warning):
    """Where the product crawls bfloat16 is not tried in the kernel: a window could take minutes."""
    chosen, calibration = freeze_precision(opened, times(**measured))
    assert chosen.job.kernel.info.options["precision"] == taken
    assert calibration.window_seconds == measured[taken]
    assert warning in chosen.warnings[-1]


@needs_shared
def test_a_worker_that_crawls_is_refused_and_named(overlapping, threads, tmp_path, monkeypatch):
    spec = pisa(tmp_path / "out", kernel={"name": "overlapping", "precision": "bfloat16"}, area=SMALL)
    monkeypatch.setattr(precision, "product_ratio", lambda *_: 4.2)
    with pytest.raises(ClusterError) as refused:
        run(spec)
    line = str(refused.value)
    assert line.startswith("worker inproc://")
    assert "4.2 times as long in bfloat16 as in float32" in line
    assert "kernel.precision: float32" in line
    monkeypatch.setattr(precision, "product_ratio", lambda *_: 2.9)
    assert run(spec)["exit_status"] == 0
    options = json.loads((tmp_path / "out/run.json").read_text())["resolved"]["kernel"]
    assert options["precision"] == "bfloat16"


def test_float32_is_not_measured_and_a_kernel_may_know_better(monkeypatch):
    monkeypatch.setattr(precision, "product_ratio", lambda *_: 7.0)
    plain, half = (Overlapping(Options(precision=name)) for name in ("float32", "bfloat16"))
    assert precision.slowdown(plain, "cpu") == 1.0
    assert precision.slowdown(half, "cpu") == 7.0
    half.precision_ratio = lambda: 0.5
    assert precision.slowdown(half, "cpu") == 0.5


def test_this_machine_is_measured():
    """Real products: float32 against itself is about 1, and bfloat16 is some number above 0."""
    assert 0.5 < precision.product_ratio("float32", "cpu") < 2.0
    assert 0.01 < precision.product_ratio("bfloat16", "cpu") < 5000


def test_a_hopeless_precision_is_given_up_early(monkeypatch):
    calls = []

    def seconds(left, right):
        calls.append(left.dtype)
        return 400.0 if "bfloat16" in str(left.dtype) else 1.0

    monkeypatch.setattr(precision, "_seconds", seconds)
    assert precision.product_ratio("bfloat16", "cpu") == 400.0
    assert len(calls) == 4


def test_overlapping_windows_are_counted_not_pixels():
    """Where windows overlap a box of one stride has four, and only the share of one is new."""
    ovss, beside = Window(224, 112, 223), Window(576, 512, 32)
    assert [ovss.touching(side) for side in (112, 448, 1120)] == [2, 5, 11]
    assert ovss.touching(2048) == pytest.approx((2048 + 224 - 16) / 112)
    assert [beside.touching(side) for side in (512, 2048)] == [1, 4]


def test_the_calibration_of_overlapping_windows_is_per_window(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    kernel = Overlapping(Options())
    encode = kernel._tokens
    kernel._tokens = lambda *args: (setattr(clock, "now", clock.now + 0.1), encode(*args))[1]
    monkeypatch.setattr("eopipe.engine.work.calibrate.time.perf_counter", lambda: clock.now)
    monkeypatch.setattr("eopipe.engine.work.calibrate.product_ratio", lambda *_: 1.0)
    assert calibrate_here(kernel, device="cpu", threads=1).window_seconds == pytest.approx(0.1)
    assert kernel.encoded == 2 * 4 + 3 * 25


class Lacking(Overlapping):
    """A kernel whose weights are not on the worker."""

    def load(self, *, device, threads):
        raise WeightsError("weights w not found: put w here")


def test_a_worker_that_lacks_weights_is_named(threads):
    with pytest.raises(WeightsError, match=r"^worker inproc://.*: weights w not found"):
        calibrate_on_worker(threads, Scenes(), Lacking(Options()))
