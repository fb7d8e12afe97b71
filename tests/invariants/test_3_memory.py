"""Invariant 3: a worker stays within 1.15 times of the plan; what does not fit is refused, with what would."""

import pytest
from distributed import Client, LocalCluster

from eopipe.engine.display import Display
from eopipe.engine.plan.memory import check_fits, choose_tile
from eopipe.engine.plan.resolved_spec import resolve
from eopipe.engine.run import execute
from eopipe.engine.sources.scenes import Scenes
from eopipe.engine.work.calibrate import calibrate_in_process
from eopipe.errors import PlanError
from eopipe.spec import parse_spec, resolve_now
from tests.support.paths import needs_shared
from tests.support.runs import high_water, pisa


@needs_shared
@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("tile", [512, 2048])
def test_a_worker_stays_within_the_plan(tmp_path, tile):
    spec = parse_spec(pisa(tmp_path / "out", grid__tile=tile, output={"uri": str(tmp_path / "out"), "cog": True}))
    kernel = resolve(spec, resolve_now(None)).kernel
    calibration = calibrate_in_process(Scenes(), kernel)
    options = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "memory_limit": "6GB"}
    with LocalCluster(dashboard_address="127.0.0.1:0", **options) as cluster, Client(cluster) as client:
        summary = execute(spec, display=Display(), calibration=calibration)
        [peak] = client.run(high_water).values()
    promised = summary["session"]["plan"]["worker_peak_bytes"]
    assert peak <= 1.15 * promised
    assert peak >= 0.4 * promised, "the plan promises far more than it needs, and would refuse what fits"


def test_what_does_not_fit_is_refused_with_the_size_that_would():
    peaks = {4096: 8 * 2**30, 2048: 4 * 2**30, 1024: 2 * 2**30, 512: 2**30}
    with pytest.raises(PlanError, match=r"grid\.tile: 1024 would fit"):
        check_fits(4096, peak=peaks.__getitem__, limit=3 * 2**30)
    with pytest.raises(PlanError, match=r"a worker needs 1.00 GiB even for tiles of 512"):
        choose_tile(peak=peaks.__getitem__, tiles=lambda _: 10, limit=2**29, workers=1)


def test_auto_takes_the_largest_that_fits_and_feeds_every_worker():
    peaks = {4096: 8 * 2**30, 2048: 4 * 2**30, 1024: 2 * 2**30, 512: 2**30}
    counts = {4096: 2, 2048: 8, 1024: 32, 512: 128}
    chosen = {
        "fits": choose_tile(peak=peaks.__getitem__, tiles=counts.__getitem__, limit=3 * 2**30, workers=2),
        "feeds": choose_tile(peak=peaks.__getitem__, tiles=counts.__getitem__, limit=None, workers=2),
        "neither": choose_tile(peak=peaks.__getitem__, tiles=lambda _: 1, limit=None, workers=9),
    }
    assert chosen == {"fits": 1024, "feeds": 2048, "neither": 512}
