"""Signing at a real local token server."""

import json
import pickle
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from eopipe.errors import TileFault
from eopipe.spec import SourceSpec
from eopipe.stac import signing
from eopipe.stac.http import Backoff
from eopipe.stac.signing import NoSigner, PlanetaryComputerSigner, signer_for

BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/06/V/B02.tif"
OTHER = "https://naipeuwest.blob.core.windows.net/naip/v002/a.tif"


class TokenServer:
    """Hands out numbered tokens; ``life`` seconds long; ``statuses`` are answered first."""

    def __init__(self):
        self.paths, self.headers, self.statuses = [], [], []
        self.life, self.delay, self.body = 3600.0, 0.0, None
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/token"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def handler(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.paths.append(self.path)
                outer.headers.append(dict(self.headers))
                time.sleep(outer.delay)
                status = outer.statuses.pop(0) if outer.statuses else 200
                expiry = (datetime.now(UTC) + timedelta(seconds=outer.life)).strftime("%Y-%m-%dT%H:%M:%SZ")
                token = {"msft:expiry": expiry, "token": f"sv=2021&st=x&sig=n{len(outer.paths)}%3D"}
                data = json.dumps(outer.body if outer.body is not None else token).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *parts):
                pass

        return Handler


@pytest.fixture
def tokens():
    signing._TOKENS.clear()
    server = TokenServer()
    yield server
    server.close()
    signing._TOKENS.clear()


def signer(server):
    return PlanetaryComputerSigner(server.url, Backoff(attempts=3, base=0.01, cap=0.02))


def test_one_token_a_container(tokens):
    sign = signer(tokens)
    assert sign(BLOB) == f"{BLOB}?sv=2021&st=x&sig=n1%3D"
    assert sign(BLOB.replace("B02", "B03")).endswith("n1%3D")
    assert sign(f"{BLOB}?comp=metadata") == f"{BLOB}?comp=metadata&sv=2021&st=x&sig=n1%3D"
    assert sign(OTHER).endswith("n2%3D")
    assert tokens.paths == ["/token/sentinel2l2a01/sentinel2-l2", "/token/naipeuwest/naip"]


def test_other_hosts_public_thumbnails_and_bare_hosts_are_left_alone(tokens):
    sign = signer(tokens)
    for href in (
        "https://host/a.tif",
        "/data/a.tif",
        "s3://bucket/a.tif",
        "https://ai4edatasetspublicassets.blob.core.windows.net/assets/a.png",
        "https://x.blob.core.windows.net/",
        "https://evil.com/?x=.blob.core.windows.net/a/b",
    ):
        assert sign(href) == href
    assert tokens.paths == []


def test_an_old_signature_is_replaced(tokens):
    assert signer(tokens)(f"{BLOB}?sv=2019&se=2020&sig=old") == f"{BLOB}?sv=2021&st=x&sig=n1%3D"


def test_a_token_is_fetched_again_before_it_expires(tokens):
    sign = signer(tokens)
    tokens.life = 3600
    sign(BLOB)
    sign(BLOB)
    assert len(tokens.paths) == 1
    signing._TOKENS.clear()
    tokens.life = 200  # less than REFRESH_BEFORE: too short to start a read with
    sign(BLOB)
    assert sign(BLOB).endswith("n3%3D")
    assert len(tokens.paths) == 3


def test_time_passing_makes_a_token_stale(tokens, monkeypatch):
    sign = signer(tokens)
    sign(BLOB)
    real = signing._now
    monkeypatch.setattr(signing, "_now", lambda: real() + timedelta(seconds=3600 - 299))
    assert sign(BLOB).endswith("n2%3D")


def test_many_threads_make_one_fetch(tokens):
    tokens.delay = 0.1
    sign, found = signer(tokens), []
    threads = [threading.Thread(target=lambda: found.append(sign(BLOB))) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert len(tokens.paths) == 1


def test_a_copy_from_another_process_signs_and_carries_no_token(tokens):
    sign = signer(tokens)
    sign(BLOB)
    data = pickle.dumps(sign)
    assert b"sig=" not in data
    assert pickle.loads(data) == sign
    assert pickle.loads(data)(BLOB).endswith("n1%3D")


def test_passing_faults_are_tried_again(tokens):
    tokens.statuses = [429, 503]
    assert signer(tokens)(BLOB).endswith("n3%3D")


@pytest.mark.parametrize(
    ("statuses", "body", "reason", "transient"),
    [
        ([503] * 3, None, "read.http_503", True),
        ([403], None, "read.denied", False),
        ([404], None, "read.http_404", False),
        ([], {"no": "token"}, "read.denied", False),
    ],
)
def test_a_token_that_cannot_be_had_is_a_tile_fault(tokens, statuses, body, reason, transient):
    tokens.statuses, tokens.body = statuses, body
    with pytest.raises(TileFault) as caught:
        signer(tokens)(BLOB)
    assert caught.value.reason == reason
    assert caught.value.transient is transient
    assert "sentinel2l2a01/sentinel2-l2" in caught.value.detail


def test_environment_of_the_planetary_computer_sdk(tokens, monkeypatch):
    monkeypatch.setenv("PC_SDK_SAS_URL", tokens.url)
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", "k3y")
    assert PlanetaryComputerSigner()(BLOB).endswith("n1%3D")
    assert tokens.headers[0]["Ocp-Apim-Subscription-Key"] == "k3y"


@pytest.mark.parametrize(
    ("catalog", "sign", "kind"),
    [
        ("https://planetarycomputer.microsoft.com/api/stac/v1", "auto", PlanetaryComputerSigner),
        ("https://planetarycomputer.microsoft.com/api/stac/v1", "none", NoSigner),
        ("https://earth-search.aws.element84.com/v1", "auto", NoSigner),
        ("/data/collection.json", "auto", NoSigner),
        ("/data/collection.json", "planetary-computer", PlanetaryComputerSigner),
        ("https://evil.com/planetarycomputer.microsoft.com", "auto", NoSigner),
    ],
)
def test_the_signer_is_picked_by_host(catalog, sign, kind):
    assert isinstance(signer_for(SourceSpec(catalog=catalog, sign=sign)), kind)
