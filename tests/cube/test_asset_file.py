"""Real faults from a real server: what is retried reaches the server, what is not retried does not."""

import logging
import shutil
import time

import pytest
import rasterio

from eopipe.cube.asset_file import DOUBTS, AssetFile, ReadStats, RetryPolicy
from eopipe.cube.gdal_settings import gdal_path, settings_for, worker_settings
from eopipe.cube.http_probe import probe
from eopipe.cube.scenes import AssetRef
from eopipe.errors import TileFault
from eopipe.grid import PixelBox
from tests.support.http_files import Fault, serve
from tests.support.paths import needs_shared, shared

pytestmark = needs_shared
WHOLE = PixelBox(0, 0, 776, 718)
TRANSIENT = [
    (Fault("status", 408), "read.http_408"), (Fault("status", 429), "read.http_429"),
    (Fault("status", 500), "read.http_500"), (Fault("status", 503), "read.http_503"),
    (Fault("slow", seconds=2.5), "read.timeout"), (Fault("reset"), "read.reset"),
    (Fault("truncate"), "read.truncated"),
]  # fmt: skip
PERMANENT = [
    (Fault("status", 404), "read.http_404"), (Fault("status", 403), "read.http_403"),
    (Fault("garbage"), "read.corrupt"),
]  # fmt: skip


def ids(cases):
    return [case[1] for case in cases]


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name, value in worker_settings(170 * 2**20).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    shutil.copy(shared() / "data/sentinel2-oscd/S2_pisa_20150704/B02.tif", tmp_path / "a.tif")
    with serve(tmp_path) as found:
        yield found


def asset(server, attempts=3, name="a.tif", sign=None):
    ref = AssetRef(f"{server.url}/{name}", nodata=0)
    retry = RetryPolicy(attempts=attempts, base=0.01)
    return ref, AssetFile(ref, sign=sign, requester_pays=False, retry=retry, stats=(stats := ReadStats())), stats


def settled(server, method=None, name="a.tif"):
    time.sleep(0.1)  # the server logs a request after it is answered
    return server.requests(name, method)


@pytest.mark.parametrize(("fault", "reason"), TRANSIENT, ids=ids(TRANSIENT))
def test_a_transient_fault_is_retried_at_the_server(server, fault, reason):
    server.inject("a.tif", fault, 1)
    ref, file, stats = asset(server)
    found = file.read(ref, WHOLE, -1)
    with rasterio.open(server.folder / "a.tif") as local:
        assert (found == local.read(1)).all()
    if reason.startswith("read.http"):
        assert stats.retries == 1
        assert [r.status for r in settled(server, "HEAD")][:2] == [fault.status, 200]


@pytest.mark.parametrize(("fault", "reason"), TRANSIENT, ids=ids(TRANSIENT))
def test_a_lasting_transient_fault_says_what_it_was_after_every_try_reached_the_server(server, fault, reason):
    server.inject("a.tif", fault, -1)
    ref, file, stats = asset(server)
    with pytest.raises(TileFault) as error:
        file.read(ref, WHOLE, -1)
    assert error.value.reason == reason
    assert error.value.transient
    assert stats.retries == 2
    assert len(settled(server)) >= 3 or reason == "read.timeout"


def test_gdals_memory_of_a_failure_is_not_asked_again(server):
    """The server's log has one more request for each try; without the non-cached reopen it has one in all."""
    server.inject("a.tif", Fault("status", 503), -1)
    counts = []
    for attempts in (1, 2, 4):
        server.log.clear()
        ref, file, _ = asset(server, attempts, name="a.tif")
        with pytest.raises(TileFault, match="HTTP 503"):
            file.read(ref, WHOLE, -1)
        counts.append(len(settled(server, "HEAD")))
    # The first try of later files is answered from GDAL's memory: that is the cache which normal opens keep.
    assert counts[0] == 1
    assert counts[1] >= 1
    assert counts[2] >= counts[1] + 2


@pytest.mark.parametrize(("fault", "reason"), PERMANENT, ids=ids(PERMANENT))
def test_a_permanent_fault_is_not_retried(server, fault, reason):
    server.inject("a.tif", fault, -1)
    ref, file, stats = asset(server)
    with pytest.raises(TileFault) as error:
        file.read(ref, WHOLE, -1)
    # A file that seems corrupt gets a second opinion, see the next test.
    opinions = DOUBTS if reason == "read.corrupt" else 0
    assert (error.value.reason, error.value.transient, stats.retries) == (reason, False, opinions)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_connection_that_breaks_within_the_header_is_not_a_corrupt_file(server, times):
    """GDAL says only that it knows no such format. Of the size and of the header, each is struck in turn."""
    server.inject("a.tif", Fault("reset"), times)
    ref, file, stats = asset(server)
    assert file.read(ref, WHOLE, -1).any()
    assert stats.retries <= DOUBTS


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault("status", 429, ranges_only=True), "read.http_429"),
        (Fault("status", 503, ranges_only=True), "read.http_503"),
        (Fault("status", 404, ranges_only=True), "read.http_404"),
        (Fault("reset", ranges_only=True), "read.reset"),
        (Fault("truncate", ranges_only=True), "read.truncated"),
        (Fault("garbage", ranges_only=True), "read.corrupt"),
    ],
)
def test_a_fault_of_the_data_after_a_good_open_is_told_apart(server, fault, reason):
    server.inject("a.tif", fault, -1)
    ref, file, _ = asset(server)
    with pytest.raises(TileFault) as error:
        file.read(ref, WHOLE, -1)
    assert error.value.reason == reason


def test_normal_opens_stay_cached(server):
    for _ in range(3):
        ref, file, _ = asset(server)
        file.read(ref, PixelBox(0, 0, 10, 10), -1)
        file.close()
    assert len(settled(server, "HEAD")) == 1
    assert len([r for r in settled(server, "GET") if r.start == 0]) == 1


def test_no_signature_in_a_message_or_a_log_line(server, caplog):
    def sign(href):
        return f"{href}?sig=SECRET&se=2030"

    for number, fault in enumerate((Fault("status", 404), Fault("garbage"), Fault("reset"))):
        server.log.clear()
        shutil.copy(server.folder / "a.tif", server.folder / f"{number}.tif")
        server.inject(f"{number}.tif", fault, -1)
        ref, file, _ = asset(server, sign=sign, name=f"{number}.tif")
        with caplog.at_level(logging.DEBUG), pytest.raises(TileFault) as error:
            file.read(ref, WHOLE, -1)
        assert any("sig=SECRET" in request.query for request in settled(server, name=None))
        assert "SECRET" not in f"{error.value} {error.value.__cause__} {caplog.text}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "read.corrupt"),
        (b"not a tiff" * 100, "read.corrupt"),
        (None, "read.missing"),
        ("half", "read.truncated"),
    ],
)
def test_damaged_files_on_disk(tmp_path, content, reason):
    path = tmp_path / "a.tif"
    if content == "half":
        data = (shared() / "data/sentinel2-oscd/S2_pisa_20150704/B02.tif").read_bytes()
        path.write_bytes(data[: len(data) // 2])
    elif content is not None:
        path.write_bytes(content)
    ref = AssetRef(str(path), nodata=0)
    file = AssetFile(ref, sign=None, requester_pays=False, retry=RetryPolicy(3, 0.01), stats=(stats := ReadStats()))
    with pytest.raises(TileFault) as error:
        file.read(ref, WHOLE, -1)
    assert (error.value.reason, error.value.transient, stats.retries) == (reason, False, 0)


def test_a_band_that_the_file_lacks(tmp_path):
    shutil.copy(shared() / "data/sentinel2-oscd/S2_pisa_20150704/B02.tif", tmp_path / "a.tif")
    ref = AssetRef(str(tmp_path / "a.tif"), band_index=4)
    file = AssetFile(ref, sign=None, requester_pays=False, retry=RetryPolicy(), stats=ReadStats())
    with pytest.raises(TileFault, match="has 1 bands; the item says band 4"):
        file.facts(ref)


def test_an_unreachable_server():
    assert probe("http://127.0.0.1:9/a.tif", "http://127.0.0.1:9/a.tif?x").reason == "read.reset"


def test_waits_are_jittered_and_capped():
    policy = RetryPolicy(base=0.5, cap=3.0)
    waits = [policy.wait(n) for n in range(12) for _ in range(40)]
    assert 0 <= min(waits) < 0.2
    assert 2 < max(waits) <= 3.0


@pytest.mark.parametrize(
    ("href", "path"),
    [("https://a/b.tif", "/vsicurl/https://a/b.tif"), ("s3://b/k.tif", "/vsis3/b/k.tif"), ("gs://b/k", "/vsigs/b/k"),
     ("az://c/k", "/vsiaz/c/k"), ("file:///d/e.tif", "/d/e.tif"), ("/d/e.tif", "/d/e.tif")],
)  # fmt: skip
def test_addresses(href, path):
    assert gdal_path(href) == path


def test_charges_are_never_accepted_by_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_REQUEST_PAYER", "requester")
    free = settings_for(AssetRef("s3://somewhere/x.tif"), requester_pays=False)
    assert free["AWS_REQUEST_PAYER"] == ""
    paid = settings_for(AssetRef("s3://usgs-landsat/x.tif", requester_pays=True), requester_pays=True)
    assert paid["AWS_REQUEST_PAYER"] == "requester"


def test_an_unknown_scheme():
    with pytest.raises(TileFault, match="scheme 'ftp' cannot be read"):
        gdal_path("ftp://a/b.tif")
