"""Files behind logins, tokens and signatures, at a real local server."""

import base64
import http.server
import json
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

import eopipe
from eopipe import credentials
from eopipe.cube import asset_file
from eopipe.cube.access import expiry_of
from eopipe.cube.asset_file import AssetFile, ReadStats
from eopipe.cube.gdal_settings import settings_for, worker_settings
from eopipe.cube.scenes import AssetRef
from eopipe.errors import SpecError, TileFault
from eopipe.grid import PixelBox
from eopipe.stac import signing
from eopipe.stac.http import Backoff, Http
from tests.cube.helpers import QUICK, write_tif

VALUES = np.arange(300 * 300, dtype="uint16").reshape(300, 300)
LOGIN = b"<!DOCTYPE html><html><body>Please log in<form><input type=password></form></body></html>"
DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"


class Server:
    """``answer(request)`` gives (status, headers, body), or None for the file, by ranges."""

    def __init__(self, path, answer, name="127.0.0.1"):  # noqa: C901  (the methods of one class)
        data, self.log, outer = path.read_bytes(), [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def serve(self):
                outer.log.append((self.command, self.path, dict(self.headers)))
                status, headers, body = answer(self) or self.ranges()
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def ranges(self):
                if ".msk" in self.path:
                    return 404, {}, b""
                match = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
                if match is None:
                    return 200, {"Accept-Ranges": "bytes"}, data
                first, last = int(match[1]), min(int(match[2] or len(data) - 1), len(data) - 1)
                if first >= len(data):
                    return 416, {}, b""
                return 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"}, data[first : last + 1]

            def do_GET(self):
                self.serve()

            def do_HEAD(self):
                self.serve()

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None
        self.netloc = f"{name}:{self.http.server_address[1]}"
        self.url = f"http://{self.netloc}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def serve(tmp_path, monkeypatch):
    for name, value in worker_settings(64 * 2**20).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "20")
    monkeypatch.setattr(signing, "_KEPT", {})
    monkeypatch.setattr(asset_file, "_WITHOUT_HEAD", set())
    write_tif(tmp_path / "a.tif", VALUES)
    servers = []

    def start(answer, **more):
        servers.append(Server(tmp_path / "a.tif", answer, **more))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


def read(href, **more):
    sign = more.pop("sign", None)
    ref = AssetRef(href, **more)
    file = AssetFile(ref, sign=sign, requester_pays=False, retry=QUICK, stats=ReadStats())
    try:
        return file.read(ref, PixelBox(0, 0, 300, 300), -1)
    finally:
        file.close()


def fault(href, **more):
    with pytest.raises(TileFault) as error:
        read(href, **more)
    assert not error.value.transient
    assert "\n" not in error.value.detail
    return error.value


HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGES = {
    "200 and HTML": lambda _: (200, HTML, LOGIN),
    "200 and HTML without a type": lambda _: (200, {}, LOGIN),
    "401 and HTML": lambda _: (401, HTML, LOGIN),
    "401 and a challenge": lambda _: (401, {"WWW-Authenticate": 'Basic realm="files"'}, b""),
    "403 and HTML": lambda _: (403, HTML, LOGIN),
    "a long page": lambda _: (200, HTML, LOGIN + b" " * 100_000),
}


@pytest.mark.parametrize("answer", PAGES.values(), ids=PAGES)
def test_a_login_page_is_a_fault_of_credentials(serve, answer):
    server = serve(answer)
    error = fault(f"{server.url}/B04.tif")
    assert error.reason == "read.login"
    assert "credentials are missing; " in error.detail
    assert "EOPIPE_HTTP_TOKENS=127.0.0.1=TOKEN or a ~/.netrc" in error.detail


@pytest.mark.parametrize("path", ["/oauth/authorize?app=x", "/login", "/sso/start"])
def test_a_redirect_to_a_login_page_is_one_too(serve, path):
    def answer(request):
        if request.path.startswith("/B04"):
            return 302, {"Location": path}, b""
        return 200, HTML, b"<html>Welcome</html>"

    error = fault(f"{serve(answer).url}/B04.tif")
    assert (error.reason, "the server sends readers to http://127.0.0.1" in error.detail) == ("read.login", True)
    assert "app=x" not in error.detail


def test_a_refusal_that_is_no_page_keeps_its_status_and_says_what_to_set(serve):
    error = fault(f"{serve(lambda _: (403, {}, DENIED)).url}/B04.tif")
    assert error.reason == "read.http_403"
    assert "HTTP 403; credentials are missing or were refused; set EOPIPE_HTTP_TOKENS" in error.detail


@pytest.mark.parametrize("status", [403, 405, 400, 401, 501])
def test_a_server_that_refuses_head_is_asked_by_get(serve, status):
    server = serve(lambda request: (status, {}, b"") if request.command == "HEAD" else None)
    assert (read(f"{server.url}/{status}.tif") == VALUES).all()
    heads = [path for verb, path, *_ in server.log if verb == "HEAD" and ".msk" not in path]
    assert len(heads) <= 1
    assert (read(f"{server.url}/{status}-2.tif") == VALUES).all()


def with_token(token):
    def answer(request):
        return None if request.headers.get("Authorization") == token else (401, HTML, LOGIN)

    return answer


@pytest.mark.parametrize("pattern", ["127.0.0.1", "netloc", ".0.0.1"])
def test_a_token_of_the_environment_goes_to_its_host_alone(serve, monkeypatch, pattern, caplog):
    caplog.set_level("DEBUG")
    server, other = serve(with_token("Bearer SECRET=")), serve(lambda _: None, name="localhost")
    host = server.netloc if pattern == "netloc" else pattern
    monkeypatch.setenv(credentials.TOKENS, f"nobody.example=x, {host}=SECRET=")
    assert (read(f"{server.url}/B04.tif") == VALUES).all()
    assert (read(f"{other.url}/B04.tif") == VALUES).all()
    assert not any("Authorization" in headers for *_, headers in other.log)
    assert "SECRET" not in caplog.text


def test_headers_of_the_environment_for_files_and_for_catalogues(serve, monkeypatch):
    server = serve(lambda request: None if request.headers.get("X-Api-Key") == "k" else (403, {}, DENIED))
    monkeypatch.setenv(credentials.HEADERS, json.dumps({server.netloc: {"X-Api-Key": "k"}}))
    assert (read(f"{server.url}/B04.tif") == VALUES).all()
    assert len(Http(Backoff(attempts=1)).bytes(f"{server.url}/B04.tif")) > VALUES.nbytes // 10


def test_a_redirect_to_another_host_carries_no_header_of_the_first(serve, monkeypatch):
    other = serve(lambda _: (200, {}, b"{}"), name="localhost")
    server = serve(lambda _: (302, {"Location": f"{other.url}/x"}, b""))
    monkeypatch.setenv(
        credentials.HEADERS, json.dumps({server.netloc: {"X-Api-Key": "k", "Authorization": "Basic x"}})
    )
    assert Http(Backoff(attempts=1)).json(f"{server.url}/x") == {}
    assert server.log[0][2]["X-Api-Key"] == "k"
    assert not {"X-Api-Key", "Authorization"} & set(other.log[0][2])


@pytest.mark.parametrize(("name", "value"), [("TOKENS", "SECRET"), ("HEADERS", "{SECRET"), ("HEADERS", '["SECRET"]')])
def test_a_variable_that_cannot_be_read_is_one_line_without_its_value(monkeypatch, name, value):
    variable = getattr(credentials, name)
    monkeypatch.setenv(variable, value)
    with pytest.raises(SpecError, match=variable) as error:
        credentials.headers_for("https://host/a")
    assert "SECRET" not in str(error.value)


def test_earthdatas_token_and_the_netrc_of_other_tools_are_heeded(monkeypatch, tmp_path):
    monkeypatch.setenv("EARTHDATA_TOKEN", "t")
    for url, sent in (
        ("https://data.lpdaac.earthdatacloud.nasa.gov/a.tif", {"Authorization": "Bearer t"}),
        ("https://cmr.earthdata.nasa.gov/stac", {"Authorization": "Bearer t"}),
        ("https://earthdatacloud.nasa.gov.evil.org/a.tif", {}),
    ):
        assert credentials.headers_for(url) == sent
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    settings = settings_for(AssetRef("https://data.lpdaac.earthdatacloud.nasa.gov/a.tif"), requester_pays=False)
    assert settings == {
        "GDAL_HTTP_HEADERS": "Authorization: Bearer t",
        "GDAL_HTTP_NETRC_FILE": str(tmp_path / "netrc"),
    }


def test_a_netrc_opens_files_and_catalogues(serve, monkeypatch, tmp_path):
    server = serve(with_token("Basic " + base64.b64encode(b"user:pass").decode()))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password pass\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert len(Http(Backoff(attempts=1)).bytes(f"{server.url}/c.json")) > 0
    assert (read(f"{server.url}/B04.tif") == VALUES).all()


def test_an_earthdata_login_by_netrc_redirects_and_cookies(serve, monkeypatch, tmp_path):
    """File server, to login server, which takes the netrc's password, back with a code, for which comes a cookie."""
    monkeypatch.setenv("GDAL_HTTP_COOKIEFILE", str(tmp_path / "cookies"))
    monkeypatch.setenv("GDAL_HTTP_COOKIEJAR", str(tmp_path / "cookies"))
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password pass\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    basic = "Basic " + base64.b64encode(b"user:pass").decode()

    def login(request):
        if request.headers.get("Authorization") != basic:
            return 401, {"WWW-Authenticate": 'Basic realm="urs"'}, b""
        back = parse_qs(urlsplit(request.path).query)["back"][0]
        return 302, {"Location": f"{back}?code=1"}, b""

    urs = serve(login)

    def files(request):
        if "session=1" in (request.headers.get("Cookie") or ""):
            return None
        path = urlsplit(request.path)
        if "code=1" in path.query:
            return 302, {"Location": path.path, "Set-Cookie": "session=1; Path=/"}, b""
        return 302, {"Location": f"{urs.url}/oauth/authorize?back=http://{request.headers['Host']}{path.path}"}, b""

    server = serve(files, name="localhost")
    assert (read(f"{server.url}/B04.tif") == VALUES).all()


def test_s3_keys_of_the_copernicus_data_space(monkeypatch):
    for name in ("AWS_S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    ref = AssetRef("s3://eodata/Sentinel-2/MSI/B04_10m.jp2")
    settings = settings_for(ref, requester_pays=False)
    assert settings["AWS_S3_ENDPOINT"] == "eodata.dataspace.copernicus.eu"
    assert settings["AWS_VIRTUAL_HOSTING"] == "FALSE"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    assert "AWS_NO_SIGN_REQUEST" not in settings_for(ref, requester_pays=False)
    monkeypatch.setenv("AWS_S3_ENDPOINT", "mirror.example.org")
    assert "AWS_S3_ENDPOINT" not in settings_for(ref, requester_pays=False)
    assert "AWS_S3_ENDPOINT" not in settings_for(AssetRef("s3://usgs-landsat/a.tif"), requester_pays=False)


@pytest.mark.parametrize("answer", [PAGES["200 and HTML"], lambda _: (404, {}, b""), lambda _: (403, {}, DENIED)])
def test_an_alternate_is_read_where_the_main_address_cannot_be(serve, answer, tmp_path):
    main = serve(answer)
    ref = {"alternates": ((f"{main.url}/neither.tif", False), (str(tmp_path / "a.tif"), False))}
    assert (read(f"{main.url}/B04.tif", **ref) == VALUES).all()
    asked = len(main.log)
    assert (read(f"{main.url}/B04.tif", **ref) == VALUES).all()
    assert len(main.log) == asked, "the alternate that was readable is read at once"


def test_a_file_that_no_address_gives_is_one_line_of_the_main_one(serve):
    main = serve(PAGES["200 and HTML"])
    error = fault(f"{main.url}/B04.tif", alternates=(("/none/such.tif", False),))
    assert error.reason == "read.login"
    assert error.detail.endswith("; its alternate /none/such.tif neither (read.missing)")


NOW = datetime.now(UTC)


def presigned(seconds, lifetime=3600):
    start = NOW + timedelta(seconds=seconds - lifetime)
    return f"X-Amz-Date={start:%Y%m%dT%H%M%SZ}&X-Amz-Expires={lifetime}&X-Amz-Signature=SECRET"


@pytest.mark.parametrize(
    ("query", "expiry"),
    [
        (presigned(100), NOW + timedelta(seconds=100)),
        (presigned(-100).replace("X-Amz", "X-Goog"), NOW - timedelta(seconds=100)),
        ("sv=2021&se=2025-06-01T10%3A00%3A00Z&sig=x", datetime(2025, 6, 1, 10, tzinfo=UTC)),
        ("Expires=1748772000&Signature=x&Key-Pair-Id=y", datetime(2025, 6, 1, 10, tzinfo=UTC)),
        ("a=b", None),
        ("X-Amz-Date=nonsense&X-Amz-Expires=1", None),
    ],
)
def test_when_a_signature_expires(query, expiry):
    found = expiry_of(f"https://host/a.tif?{query}")
    assert found is None if expiry is None else abs(found - expiry) < timedelta(seconds=1)


def test_an_expired_signature_is_one_clear_line(serve):
    server = serve(lambda _: (403, {}, DENIED.replace(b"AccessDenied", b"ExpiredToken")))
    error = fault(f"{server.url}/B04.tif", sign=lambda href: f"{href}?{presigned(-100)}")
    assert error.reason == "read.expired"
    assert f"the signature of its address expired at {NOW - timedelta(seconds=100):%Y-%m-%d}" in error.detail
    assert "run again" in error.detail
    assert "SECRET" not in error.detail


def catalogue(tmp_path, href):
    ring = [[10.25, 43.78], [10.27, 43.78], [10.27, 43.8], [10.25, 43.8], [10.25, 43.78]]
    item = {
        "type": "Feature", "stac_version": "1.0.0", "id": "x", "collection": "c", "links": [],
        "bbox": [10.25, 43.78, 10.27, 43.8], "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": "2020-01-01T00:00:00Z", "proj:epsg": 32632, "proj:shape": [300, 300],
                       "proj:transform": [10, 0, 600000, 0, -10, 4850000]},
        "assets": {"red": {"href": href, "raster:bands": [{"scale": 0.0001, "offset": 0, "nodata": 0}]}},
    }  # fmt: skip
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    return {"catalog": str(tmp_path / "items.json"), "area": [10.252, 43.788, 10.258, 43.792]}


@pytest.mark.parametrize("sign", ["keep", "auto"])
def test_kept_signatures_read_and_are_in_no_snapshot(serve, tmp_path, sign, caplog):
    caplog.set_level("DEBUG")
    server = serve(lambda request: None if "Signature=SECRET" in request.path else (403, {}, DENIED))
    source = catalogue(tmp_path, f"{server.url}/B 04.tif?{presigned(1000)}")
    snapshot, report = eopipe.search(**source, sign="keep")
    assert report.warnings == []
    assert "SECRET" not in repr(snapshot.index.to_pylist()) + repr(snapshot.items([0])) + repr(snapshot)
    cube = eopipe.open_cube(snapshot, area=source["area"], bands=["red"], resolution=10, sign=sign)
    assert np.isfinite(cube.dataset.red.compute(scheduler="synchronous").values).all()
    assert "SECRET" not in repr(cube) + caplog.text


def test_signatures_that_are_left_out_are_a_remark_with_the_key(serve, tmp_path):
    server = serve(lambda _: None)
    source = catalogue(tmp_path, f"{server.url}/B04.tif?{presigned(1000)}")
    _, report = eopipe.search(**source)
    assert report.warnings == [
        "1 item: its hrefs are signed, and the signatures were left out; source.sign: keep reads by them (first 'x')"
    ]
    assert signing._KEPT == {}
    assert eopipe.search(**source, sign="planetary-computer")[1].warnings == []


def test_a_kept_signer_travels_with_its_addresses_and_shows_none():
    signer = signing.KeptSigner(addresses={"https://host/a.tif": "https://host/a.tif?sig=SECRET"})
    assert "SECRET" not in repr(signer)
    assert signer("https://host/a.tif").endswith("SECRET")
    assert signer("https://host/b.tif") == "https://host/b.tif"
    assert replace(signer, other=lambda href: href + "!")("x") == "x!"
