"""The invariants for open-vocabulary maps, on the real scene, whose pixels are reprojected: a small seeded tower.

Cuts with every upsampler are in tests/kernels/ovss/test_lattice.py, a tower of ViT-B/16's size in
tests/bench/bench_ovss_tile.py.
"""

import pytest
from distributed import Client, LocalCluster

from eopipe.engine.display import Display
from eopipe.engine.plan.open import open_run
from eopipe.engine.run import execute
from eopipe.engine.work.calibrate import calibrate_in_process
from eopipe.spec import parse_spec, resolve_now
from tests.support.ovss import options
from tests.support.paths import needs_shared
from tests.support.runs import high_water, mosaic, pisa, run, same_pixels

pytestmark = needs_shared

NAMES = ("label", "confidence", "observations")


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EOPIPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def spec(tmp_path, name, upsampler, tile, **changes):
    kernel = {"name": "ovss", **options(tmp_path, upsampler, **changes)}
    return pisa(tmp_path / name, kernel=kernel, grid__tile=tile, area=[10.385, 43.70, 10.425, 43.74])


@pytest.mark.slow
def test_tiles_cannot_be_seen(client, tmp_path):
    for tile in (512, 1024):
        assert run(spec(tmp_path, str(tile), "jbu_one", tile))["exit_status"] == 0
    small, large = mosaic(tmp_path / "512"), mosaic(tmp_path / "1024")
    assert same_pixels(small, large, NAMES) > 100_000
    assert len(set(small.confidence.values.ravel())) > 5


@pytest.mark.alone
@pytest.mark.slow
def test_a_worker_stays_within_the_plan(tmp_path):
    settled = open_run(parse_spec(spec(tmp_path, "out", "jbu_one", 2048)), now=resolve_now(None), allow_empty=False)
    calibration = calibrate_in_process(settled.source, settled.job.kernel)
    limits = {"n_workers": 1, "threads_per_worker": 1, "processes": True, "memory_limit": "6GB"}
    with LocalCluster(dashboard_address="127.0.0.1:0", **limits) as cluster, Client(cluster) as one:
        summary = execute(settled.job.spec, display=Display(), calibration=calibration)
        [peak] = one.run(high_water).values()
    promised = summary["session"]["plan"]["worker_peak_bytes"]
    assert 0.4 * promised <= peak <= 1.15 * promised
