"""A real HTTP/1.1 file server for tests: ranges, keep-alive, a log of what it sent, and faults on demand."""

from __future__ import annotations

import os
import re
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    Args:
        kind: ``status``, ``reset`` (connection reset after the headers), ``truncate`` (half of the body,
            then close), ``slow`` (wait ``seconds``, then answer), ``length`` (Content-Length says more than is
            sent), ``garbage`` (right length, wrong bytes).
        status: HTTP status for ``status``.
        seconds: Delay for ``slow``.
        ranges_only: Strike only requests beyond the first bytes, so that an open succeeds and a read fails.
    """

    kind: str
    status: int = 503
    seconds: float = 0.0
    ranges_only: bool = False


@dataclass(frozen=True)
class Request:
    """One line of the server's log; ``sent`` counts body bytes."""

    method: str
    path: str
    query: str
    start: int | None
    stop: int | None
    status: int
    sent: int
    headers: dict[str, str] = field(default_factory=dict)


class FileServer:
    """Serves a folder on 127.0.0.1; use :func:`serve`."""

    def __init__(self, folder: Path, latency: float = 0.0) -> None:
        self.folder = folder
        self.latency = latency
        self.log: list[Request] = []
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self.lock = threading.Lock()
        self._server = _bind(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Address of the folder, without a trailing slash."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def inject(self, path: str, fault: Fault, times: int = 1) -> None:
        """The next ``times`` requests for ``/path`` go wrong; times = -1 for ever."""
        with self.lock:
            self.faults["/" + path.lstrip("/")].extend([fault] * (times if times >= 0 else 10**5))

    def requests(self, path: str | None = None, method: str | None = None) -> list[Request]:
        """The log, for one path if given."""
        with self.lock:
            log = list(self.log)
        absolute = None if path is None else "/" + path.lstrip("/")
        return [r for r in log if (absolute in (None, r.path)) and (method in (None, r.method))]

    def bytes_sent(self) -> int:
        """Body bytes sent since the last reset."""
        return sum(r.sent for r in self.requests())

    def reset(self) -> None:
        """Forget the log and the faults."""
        with self.lock:
            self.log.clear()
            self.faults.clear()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def take_fault(self, path: str, start: int | None) -> Fault | None:
        """The fault that strikes this request, if any."""
        with self.lock:
            waiting = self.faults.get(path)
            if not waiting or (waiting[0].ranges_only and not start):
                return None
            return waiting.popleft()

    def record(self, request: Request) -> None:
        """Write one line of the log."""
        with self.lock:
            self.log.append(request)


_PORTS: set[int] = set()
"""Ports of this process's earlier servers: GDAL remembers what their URLs answered, so none is used twice."""


def _bind(files: FileServer) -> ThreadingHTTPServer:
    while (server := _Server(("127.0.0.1", 0), _handler(files))).server_address[1] in _PORTS:
        server.server_close()
    _PORTS.add(server.server_address[1])
    return server


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of these tests."""


def _handler(files: FileServer) -> type[BaseHTTPRequestHandler]:  # noqa: C901  (a class of small methods)
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_HEAD(self) -> None:
            self._serve(body=False)

        def do_GET(self) -> None:
            self._serve(body=True)

        def _serve(self, *, body: bool) -> None:
            url = urlsplit(self.path)
            path, size, data = unquote(url.path), 0, b""
            start, stop = _range(self.headers.get("Range"))
            fault = files.take_fault(path, start)
            if files.latency:
                time.sleep(files.latency)
            target = (files.folder / path.lstrip("/")).resolve()
            if fault is not None and fault.kind == "status":
                self._answer(url, body, fault.status, b"fault", start, stop)
                return
            if not target.is_file() or files.folder.resolve() not in target.parents:
                self._answer(url, body, 404, b"no such file", start, stop)
                return
            size = target.stat().st_size
            status = 200
            if start is not None:
                if start >= size:
                    self._answer(url, body, 416, b"", start, stop)
                    return
                stop = min(size, size if stop is None else stop)
                status = 206
            with target.open("rb") as file:
                file.seek(start or 0)
                span = (stop if stop is not None else size) - (start or 0)
                data = file.read(span) if body else b""
            if fault is not None and fault.kind == "slow":
                time.sleep(fault.seconds)
            if fault is not None and fault.kind == "garbage":
                data = os.urandom(len(data))
            self._answer(url, body, status, data, start, stop, size=size, span=span, fault=fault)

        def _answer(self, url, body, status, data, start, stop, *, size=None, span=None, fault=None) -> None:
            length = len(data) if span is None else span
            if fault is not None and fault.kind == "length":
                length += 1000
            if fault is not None and fault.kind in ("truncate", "length"):
                data = data[: len(data) // 2] if fault.kind == "truncate" else data
            sent = 0
            try:
                self.send_response(status)
                self.send_header("Content-Length", str(length))
                self.send_header("Accept-Ranges", "bytes")
                if status == 206:
                    self.send_header("Content-Range", f"bytes {start or 0}-{(start or 0) + span - 1}/{size}")
                self.end_headers()
                if fault is not None and fault.kind == "reset":
                    _reset(self.connection)
                    self.close_connection = True
                elif body:
                    self.wfile.write(data)
                    sent = len(data)
                if fault is not None and fault.kind in ("truncate", "length"):
                    self.close_connection = True
            finally:
                headers = {k.lower(): v for k, v in self.headers.items()}
                files.record(Request(self.command, unquote(url.path), url.query, start, stop, status, sent, headers))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
            """The log is kept in memory."""

    return Handler


def _range(header: str | None) -> tuple[int | None, int | None]:
    match = _RANGE.match(header or "")
    if match is None:
        return None, None
    return int(match[1]), int(match[2]) + 1 if match[2] else None


def _reset(connection: socket.socket) -> None:
    # A zero linger makes close() send RST instead of FIN.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@contextmanager
def serve(folder: Path, latency: float = 0.0):
    """Serve ``folder``: ``with serve(path) as server: server.url``."""
    server = FileServer(folder, latency)
    try:
        yield server
    finally:
        server.close()
