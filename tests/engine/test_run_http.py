"""A run from a STAC API over files behind HTTP that fail now and then: every tile is done, and nothing shows."""

import json
import shutil

import pytest

from eopipe.engine.display import Display
from eopipe.engine.run import execute
from eopipe.spec import parse_spec
from tests.support.http_files import Fault, serve
from tests.support.paths import needs_shared, shared
from tests.support.runs import CALIBRATION, mosaic, pisa, records, same_pixels
from tests.support.stac_api import Fault as ApiFault
from tests.support.stac_api import StacApi

pytestmark = [needs_shared, pytest.mark.slow]

FAULTS = {
    "B02.tif": Fault("status", status=429),
    "B03.tif": Fault("status", status=503),
    "B04.tif": Fault("reset"),
    "B08.tif": Fault("truncate"),
    "B05.tif": Fault("status", status=503, ranges_only=True),
    "B06.tif": Fault("reset", ranges_only=True),
    "B07.tif": Fault("truncate", ranges_only=True),
}


TIMES = 2
"""Faults of each kind, since GDAL by itself asks twice."""


class Faulty(Display):
    """Lets faults strike once the tiles begin: the plan's own reads of headers must not use them up."""

    def __init__(self, server, scene):
        self.server, self.scene, self.since = server, scene, 0

    def start(self, **_):
        self.since = len(self.server.requests())
        for name, fault in FAULTS.items():
            self.server.inject(f"{self.scene}/{name}", fault, times=TIMES)


@pytest.fixture
def pisa_by_http(tmp_path):
    """The real Pisa scene behind HTTP, and an API that lists it."""
    name = "S2_pisa_20150704"
    shutil.copytree(shared() / f"data/sentinel2-oscd/{name}", tmp_path / "files" / name)
    item = json.loads((tmp_path / f"files/{name}/{name}.json").read_text())
    item |= {"collection": "sentinel-2-l1c-oscd", "links": []}
    with serve(tmp_path / "files") as server:
        for asset in item["assets"].values():
            asset["href"] = f"{server.url}/{name}/{asset['href'].removeprefix('./')}"
        with StacApi([item]) as api:
            yield server, api, name


def go(api, out, display):
    return execute(parse_spec(pisa(out, source__catalog=api.url)), display=display, calibration=CALIBRATION)


def test_transient_faults_cost_retries_and_nothing_else(client, pisa_by_http, tmp_path):
    server, api, name = pisa_by_http
    api.inject("/search", ApiFault(status=503, retry_after="0"), ApiFault("reset"))
    display = Faulty(server, name)
    faulty = go(api, tmp_path / "faulty", display)
    assert faulty["exit_status"] == 0
    assert faulty["failed"] == 0
    assert len(api.requests("/search")) >= 3
    log = server.requests()[display.since :]
    assert not any(server.faults[f"/{name}/{path}"] for path in FAULTS), "not every fault has struck"
    assert [request.status for request in log if request.status >= 400].count(503) == 2 * TIMES
    assert [request.status for request in log if request.status >= 400].count(429) == TIMES
    # Each fault was followed by another request for the same file: the retry reached the server.
    for path in FAULTS:
        requests = [request for request in log if request.path == f"/{name}/{path}"]
        assert len(requests) > TIMES
        assert requests[-1].status in {200, 206}
    # GDAL asks a second time by itself for some ranges of pixels, and does not say so; what is left is ours.
    assert faulty["retries"] >= 2

    fine = go(api, tmp_path / "fine", Display())
    assert (fine["exit_status"], fine["retries"]) == (0, 0)
    assert same_pixels(mosaic(tmp_path / "fine"), mosaic(tmp_path / "faulty")) > 400_000
    one, two = records(tmp_path / "fine"), records(tmp_path / "faulty")
    assert {tile: record["checksums"] for tile, record in one.items()} == {
        tile: record["checksums"] for tile, record in two.items()
    }
    assert {record["attempts"] for record in two.values()} == {1}


def test_a_lasting_fault_fails_its_tiles_and_a_later_run_mends_them(client, pisa_by_http, tmp_path):
    server, api, name = pisa_by_http
    path = f"{name}/B11.tif"
    (server.folder / path).rename(server.folder / "away.tif")
    first = go(api, tmp_path / "out", Display())
    assert first["exit_status"] == 3
    assert first["failed_reasons"] == {"read.http_404": first["failed"]}
    (server.folder / "away.tif").rename(server.folder / path)
    second = go(api, tmp_path / "out", Display())
    assert (second["exit_status"], second["failed"]) == (0, 0)
    assert second["done"] == first["tiles"]
