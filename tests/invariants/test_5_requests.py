"""Invariant 5: bytes and requests of a run within 10 % of its plan, counted at the server.

What is promised is what the tiles read. So the server's log counts from the moment that tiles start
(search, headers for the plan, and the preflight lie before) to the moment that the last one has ended.
"""

import time

import pytest
from pyproj import Transformer

from eopipe.cube import file_layout
from eopipe.engine.display import Display
from eopipe.engine.plan import make as plan_module
from eopipe.engine.plan import resolved_spec as job_module
from eopipe.engine.plan.model import Workers
from eopipe.engine.run import execute, open_run
from eopipe.kernels import registry
from eopipe.spec import parse_spec, resolve_now
from tests.support.derived import CORNER, item, write_catalog, write_cogs
from tests.support.http_files import serve
from tests.support.kernels import Brightness
from tests.support.paths import needs_shared
from tests.support.runs import CALIBRATION, pisa

pytestmark = needs_shared

SIDE = 2048


class Marks(Display):
    """Where in the server's log each phase begins."""

    def __init__(self, server):
        self.server, self.at = server, {}

    def phase(self, name):
        self.at[name] = len(self.server.requests())

    def start(self, **_):
        self.phase("tiles")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two dates of nine bands, of real texture, over 20 km."""
    folder = tmp_path_factory.mktemp("derived")
    write_cogs(folder, SIDE, days=(1, 2))
    return folder


@pytest.fixture
def server(folder):
    """On a new port for each test: workers' caches know nothing of it."""
    with serve(folder) as server:
        yield server


@pytest.fixture
def cheap(monkeypatch):
    """The maps do not matter here, only what is read for them."""
    monkeypatch.setattr(job_module, "create", lambda *args, **more: Brightness(registry.create(*args, **more)))


def spec_of(server, folder, crs, days):
    """Over 80 tiles of 5 m pixels, from four bands of 10 m and five of 20 m a scene."""
    west, north = CORNER
    box = (west, north - SIDE * 10, west + SIDE * 10, north)
    spec = pisa(
        folder / "out",
        area=list(Transformer.from_crs(32632, 4326, always_xy=True).transform_bounds(*box)),
        source__catalog=write_catalog(folder / "catalog", [item(server.url, day, SIDE) for day in days]),
        source__collections=["sentinel-2-l1c-derived"],
        grid__resolution=5,
        grid__crs=crs,
    )
    return parse_spec(spec)


@pytest.mark.parametrize(
    ("crs", "days"),
    [
        pytest.param("EPSG:32632", (1,), id="aligned"),
        pytest.param("EPSG:32633", (1, 2), id="reprojected", marks=pytest.mark.slow),
    ],
)
def test_the_plan_is_what_the_server_counts(client, server, cheap, tmp_path, monkeypatch, crs, days):
    spec, marks = spec_of(server, tmp_path, crs, days), Marks(server)
    summary = execute(spec, display=marks, calibration=CALIBRATION)
    assert summary["exit_status"] == 0
    assert summary["tiles"] >= 64
    assert summary["retries"] == 0
    time.sleep(0.2)  # a request is logged when its answer has been sent
    before, reads = server.requests()[: marks.at["tiles"]], server.requests()[marks.at["tiles"] :]
    assert len({request.path for request in before}) <= file_layout.HEADERS
    counted = (sum(request.sent for request in reads), len(reads))
    plan = summary["session"]["plan"]
    assert (plan["bytes_read"], plan["requests"]) == pytest.approx(counted, rel=0.10)

    # The test can fail: without the halo the plan promises too little.
    monkeypatch.setattr(plan_module, "read_box", lambda box, _: box)
    workers = Workers(plan["workers"], None)
    opened = open_run(spec, now=resolve_now(None), allow_empty=False)
    broken = opened.plan(workers=workers, calibration=CALIBRATION)
    assert (broken.reads.bytes, broken.reads.requests) != pytest.approx(counted, rel=0.10)
