"""Invariant 6: no token, signed query string or password in any file, log line or STAC document.

Everything that can hold a secret does: the catalog's address, hrefs and links of items, texts in their properties,
a token server's answers, the environment. Some assets fail, so that messages are tempted to quote addresses.
The blobs are at Azure's own host names, for which the file server stands in as an HTTP proxy.
"""

import base64
import copy
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from eopipe.engine.display import Display
from eopipe.engine.finish.status import read_status
from eopipe.engine.finish.validate import validate_run
from eopipe.engine.run import execute
from eopipe.spec import parse_spec
from tests.support.http_files import Fault, serve
from tests.support.runs import CALIBRATION, PISA
from tests.support.seeded_scenes import SeededScene, seeded, write_scene
from tests.support.stac_api import StacApi

SECRETS = {
    "password": "SECRETpassword",
    "sas": "SECRETsas",
    "token": "SECRETtoken",
    "amz": "SECRETamz",
    "credential": "SECRETcredential",
    "session": "SECRETsession",
    "link": "SECRETlink",
    "text": "SECRETtext",
    "key": "SECRETkey",
    "subscription": "SECRETsubscription",
}
NEEDLES = [b"SECRET", base64.b64encode(b"user:SECRETpassword")[:-4], base64.b64encode(b"SECRET")]
SCENE = SeededScene("scene", "EPSG:4326", PISA, seed=3)
BLOBS = "http://eopipetest.blob.core.windows.net"
SAS = f"?sv=2021-06-08&se=2030-01-01&sr=c&sp=rl&sig={SECRETS['sas']}%3D"
AMZ = (
    f"?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={SECRETS['credential']}%2F20250101"
    f"&X-Amz-Security-Token={SECRETS['session']}&X-Amz-Signature={SECRETS['amz']}"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Files, catalog and environment, with secrets wherever one can be."""
    folder = tmp_path_factory.mktemp("files")
    document = write_scene(folder / "oscd/good", SCENE)
    for name in ("bad", "denied"):
        shutil.copytree(folder / "oscd/good", folder / f"oscd/{name}")
    (folder / "oscd/bad/B08.tif").write_bytes(os.urandom(20000))
    token = {
        "token": f"sv=2021-06-08&st=x&sig={SECRETS['token']}%3D",
        "msft:expiry": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
    }
    (folder / "token/eopipetest").mkdir(parents=True)
    (folder / "token/eopipetest/oscd").write_text(json.dumps(token))
    with serve(folder) as server:
        items = [
            item(document, "good", 0, f"{BLOBS}/oscd/good", SAS),
            item(document, "gone", 1, f"{BLOBS}/oscd/gone", SAS),
            item(document, "bad", 2, f"{BLOBS}/oscd/bad", ""),
            item(document, "denied", 3, f"{server.url}/oscd/denied", AMZ),
        ]
        server.inject("oscd/denied/B02.tif", Fault("status", status=403), times=-1)
        with StacApi(items) as api:
            api.password = f"user:{SECRETS['password']}"
            environment = {
                "PC_SDK_SAS_URL": f"{server.url}/token",
                "PC_SDK_SUBSCRIPTION_KEY": SECRETS["subscription"],
                "http_proxy": server.url,
                "no_proxy": "127.0.0.1,localhost",
                "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
                "AWS_SECRET_ACCESS_KEY": SECRETS["key"],
                "AWS_SESSION_TOKEN": SECRETS["session"],
                "CPL_DEBUG": "ON",
            }
            address = api.url.replace("http://", f"http://user:{SECRETS['password']}@")
            yield address, environment, server


def item(document, name, place, base, query):
    """The scene's item, moved eastwards by its width times ``place``, with signed hrefs."""
    moved = copy.deepcopy(document)
    west, south, east, north = moved["bbox"]
    shift = place * (east - west)
    ring = [[x + shift, y] for x, y in moved["geometry"]["coordinates"][0]]
    moved |= {
        "id": f"seeded-{name}",
        "bbox": [west + shift, south, east + shift, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "links": [{"rel": "self", "href": f"https://catalog.example/items/{name}?token={SECRETS['link']}"}],
    }
    moved["properties"]["description"] = f"Seen at https://viewer.example/x?sig={SECRETS['text']}, among others"
    for key, asset in moved["assets"].items():
        asset["href"] = f"{base}/{key}.tif{query}"
        asset["proj:transform"][2] += shift
        asset["alternate"] = {"s3": {"href": f"s3://bucket/{key}.tif{AMZ}"}}
    moved["assets"]["thumbnail"] = {"href": f"./preview.png{SAS}", "roles": ["thumbnail"]}
    return moved


def spec_of(address, folder, **cluster):
    return seeded(
        folder / "out",
        address,
        area=[10.40, 43.70, 10.40 + 3.3 * 0.0772, 43.72],
        source__sign="planetary-computer",
        output={"uri": str(folder / "out"), "cog": True},
        cluster=cluster or {"kind": "current"},
    )


def leaks(folder):
    """Files below a folder that hold a secret, parquet decoded too."""
    hits = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".parquet":
                table = pq.read_table(io.BytesIO(data))
                data += repr(table.to_pylist()).encode() + repr(table.schema.metadata).encode()
            if hit := leaked(data):
                hits[path.relative_to(folder).as_posix()] = hit
    return hits


def leaked(data):
    """The first secret in some bytes, with what stands around it."""
    for needle in NEEDLES:
        at = data.find(needle)
        if at >= 0:
            return data[max(0, at - 80) : at + 40]
    return None


def test_nothing_that_a_run_writes_or_says_holds_a_secret(world, tmp_path):
    address, environment, server = world
    spec = tmp_path / "spec.yaml"
    spec.write_text(json.dumps(spec_of(address, tmp_path, kind="local", workers=2)))
    command = [sys.executable, "-m", "eopipe.cli", "--verbose", "run", str(spec)]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment}, check=False, timeout=300)
    assert done.returncode == 3, done.stderr.decode()
    # It was all there to be told: signed reads, and three kinds of failure.
    queries = {request.query for request in server.requests() if request.path.startswith("/oscd/good")}
    assert queries == {f"sv=2021-06-08&st=x&sig={SECRETS['token']}%3D"}
    status = read_status(str(tmp_path / "out"))
    assert status["done"] >= 1
    assert set(status["failed_reasons"]) == {"read.http_404", "read.http_403", "read.corrupt"}
    assert leaked(done.stdout) is None
    assert leaked(done.stderr) is None
    assert leaked(json.dumps([status, validate_run(str(tmp_path / "out"))]).encode()) is None
    assert leaks(tmp_path / "out") == {}


GUARDS = (
    ("eopipe.stac.describe_item", "unsign_document"),
    ("eopipe.stac.describe_item", "unsign"),
    ("eopipe.stac.item", "unsign"),
    ("eopipe.engine.output.run_json", "unsign_document"),
    ("eopipe.cube.read_errors", "redact"),
    ("eopipe.engine.work.task_shell", "redact"),
    ("eopipe.engine.output.record", "redact"),
)
_GUARDED = {}


def set_guards(*, on, environment):
    """Switch every guard off, or on again, in this process."""
    for name, attribute in GUARDS:
        module = importlib.import_module(name)
        if on:
            setattr(module, attribute, _GUARDED.pop((name, attribute)))
        else:
            _GUARDED.setdefault((name, attribute), getattr(module, attribute))
            setattr(module, attribute, lambda value, *_, **__: value)
    for key, value in environment.items():
        if on:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value
    urllib.request.install_opener(None)  # urllib keeps the proxy of its first request for good


def test_it_fails_when_the_guards_are_off(client, world, tmp_path):
    """The test can fail: the same run without redaction leaves secrets in every kind of file."""
    address, environment, _ = world
    visible = {name: value for name, value in environment.items() if not name.startswith(("AWS", "CPL"))}
    assert not visible.keys() & os.environ.keys()
    for everywhere in (client.run, lambda call, **more: call(**more)):
        everywhere(set_guards, on=False, environment=visible)
    try:
        summary = execute(parse_spec(spec_of(address, tmp_path)), display=Display(), calibration=CALIBRATION)
    finally:
        for everywhere in (client.run, lambda call, **more: call(**more)):
            everywhere(set_guards, on=True, environment=visible)
    assert summary["exit_status"] == 3
    entries = {path.split("/")[0] for path in leaks(tmp_path / "out")}
    assert entries >= {"run.json", "snapshots", "ledger", "ledger.parquet", "stac"}
