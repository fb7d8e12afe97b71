"""A real S3-speaking server (moto's server mode) in its own process, started once and shared by all tests."""

import atexit
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import pytest


@dataclass(frozen=True)
class S3Server:
    """Where it listens, and what a process needs in its environment to reach it."""

    endpoint: str
    log: str

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "testing-id",
            "AWS_SECRET_ACCESS_KEY": "testing-secret",
        }

    def make_bucket(self) -> str:
        """A new, empty bucket; returns its name."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        request = urllib.request.Request(f"{self.endpoint}/{name}", method="PUT")
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.status == 200
        return name

    def requests(self) -> list[str]:
        """The server's log so far, one line a request such as ``PUT /bucket/key HTTP/1.1" 200``."""
        with open(self.log, encoding="utf-8", errors="replace") as file:  # noqa: PTH123  (a plain path is stored)
            return [line.strip() for line in file if "HTTP/1." in line]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@cache
def server() -> S3Server:
    """Start the server in this test session; it ends with the session."""
    for _ in range(3):  # another process may take the port between its choice and its use
        started = _start(_free_port())
        if started is not None:
            return started
    raise AssertionError("moto did not start in three attempts; run `python -m moto.server` to see why")


def _start(port: int) -> S3Server | None:
    handle, log = tempfile.mkstemp(prefix="moto-", suffix=".log")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=handle, stderr=handle)
    os.close(handle)

    def stop() -> None:
        process.terminate()
        process.wait(10)

    atexit.register(stop)
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=5):
            return S3Server(f"http://127.0.0.1:{port}", log) if process.poll() is None else None
        time.sleep(0.1)
    return None


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with this process's environment pointing at it."""
    running = server()
    for key, value in running.env.items():
        monkeypatch.setenv(key, value)
    return running


@pytest.fixture
def s3_uri(s3: S3Server) -> str:
    """Address of an empty folder in a bucket of its own."""
    return f"s3://{s3.make_bucket()}/some/folder"
