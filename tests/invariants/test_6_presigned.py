"""Invariant 6, of signatures that a spec keeps: a run reads by them, resumes, and writes none of them anywhere."""

import json
import os
import shutil
import subprocess
import sys
from urllib.parse import parse_qs

import pytest

from tests.invariants.test_6_secrets import AMZ, SECRETS, leaked, leaks
from tests.support.http_files import Fault, serve
from tests.support.paths import needs_shared, shared
from tests.support.runs import pisa
from tests.support.stac_api import StacApi

pytestmark = needs_shared


def run(spec):
    command = [sys.executable, "-m", "eopipe.cli", "--verbose", "run", str(spec)]
    environment = {**os.environ, "CPL_DEBUG": "ON"}
    return subprocess.run(command, capture_output=True, env=environment, check=False, timeout=300)


@pytest.mark.parametrize("stop", [False, True], ids=["at once", "resumed"])
def test_a_run_by_kept_signatures_writes_none_of_them(tmp_path, stop):
    folder = tmp_path / "files"
    shutil.copytree(shared() / "data/sentinel2-oscd/S2_pisa_20150704", folder)
    item = json.loads((folder / "S2_pisa_20150704.json").read_text())
    with serve(folder) as server:
        item["links"] = []
        for key, asset in item["assets"].items():
            asset["href"] = f"{server.url}/{key}.tif{AMZ}"
        if stop:
            server.inject("B08.tif", Fault("status", status=403), times=-1)
        with StacApi([item]) as api:
            document = pisa(tmp_path / "out", cluster={"kind": "local", "workers": 1})
            document["source"] |= {"catalog": api.url, "sign": "keep", "datetime": "2015-07"}
            (tmp_path / "spec.yaml").write_text(json.dumps(document))
            done = run(tmp_path / "spec.yaml")
            logs = [done.stdout, done.stderr]
            if stop:
                assert done.returncode == 3, done.stderr.decode()
                server.reset()
                done = run(tmp_path / "spec.yaml")
                logs += [done.stdout, done.stderr]
            assert done.returncode == 0, done.stderr.decode()
        signatures = {parse_qs(request.query).get("X-Amz-Signature", [""])[0] for request in server.requests()}
    assert signatures == {SECRETS["amz"]}
    assert [leaked(log) for log in logs] == [None] * len(logs)
    assert leaks(tmp_path / "out") == {}
