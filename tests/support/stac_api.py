"""A small real STAC API over HTTP for tests: search by POST and GET, paging, query, filter, faults, a log."""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections import deque
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import cql2
import shapely
from shapely.geometry import shape

CORE = "https://api.stacspec.org/v1.0.0/core"
SEARCH = "https://api.stacspec.org/v1.0.0/item-search"
QUERY = "https://api.stacspec.org/v1.0.0/item-search#query"
FILTER = "http://www.opengis.net/spec/ogcapi-features-3/1.0/conf/filter"
_OPS = {
    "eq": lambda a, b: a == b,
    "neq": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "lte": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "gte": lambda a, b: a >= b,
    "in": lambda a, b: a in b,
    "startsWith": lambda a, b: a.startswith(b),
    "endsWith": lambda a, b: a.endswith(b),
    "contains": lambda a, b: b in a,
}


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request: ``status`` with headers and body, ``reset``, ``truncate`` or ``html``."""

    kind: str = "status"
    status: int = 503
    retry_after: str | None = None
    body: str = "try later"


@dataclass(frozen=True)
class ApiRequest:
    """One line of the log."""

    method: str
    path: str
    body: dict[str, Any]


class StacApi:
    """Serves items on 127.0.0.1; a context manager.

    Args:
        items: Given real items; each names its collection.
        page: Most items a page.
        conforms: Conformance classes it claims.
        methods: Methods its search link offers.
        matched: Whether it says how many match.
    """

    def __init__(
        self,
        items: list[dict[str, Any]],
        *,
        page: int = 10,
        conforms: tuple[str, ...] = (CORE, SEARCH, QUERY, FILTER),
        methods: tuple[str, ...] = ("POST", "GET"),
        matched: bool = True,
    ) -> None:
        self.stored, self.page, self.conforms, self.methods, self.matched = items, page, conforms, methods, matched
        self.log: list[ApiRequest] = []
        self.faults: dict[str, deque[Fault]] = {}
        self.largest_page: int | None = None
        self.password: str | None = None
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    @property
    def url(self) -> str:
        """Root of the API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def inject(self, path: str, *faults: Fault) -> None:
        """The next requests for the path (such as ``/search``) go wrong, one a fault."""
        with self.lock:
            self.faults.setdefault(path, deque()).extend(faults)

    def requests(self, path: str) -> list[ApiRequest]:
        """The log of one path."""
        with self.lock:
            return [line for line in self.log if line.path == path]

    def root(self) -> dict[str, Any]:
        links = [{"rel": "self", "href": self.url}, {"rel": "data", "href": f"{self.url}/collections"}]
        links += [
            {"rel": "search", "href": f"{self.url}/search", "method": m, "type": "application/geo+json"}
            for m in self.methods
        ]
        return {
            "type": "Catalog",
            "id": "test-api",
            "stac_version": "1.0.0",
            "description": "A test's API",
            "conformsTo": list(self.conforms),
            "links": links,
        }

    def collections(self) -> list[str]:
        return sorted({item["collection"] for item in self.stored})

    def collection(self, name: str) -> dict[str, Any]:
        href = f"{self.url}/collections/{name}"
        return {
            "type": "Collection",
            "id": name,
            "stac_version": "1.0.0",
            "description": name,
            "license": "other",
            "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
            "links": [{"rel": "self", "href": href}, {"rel": "items", "href": f"{href}/items"}],
        }

    def search(self, search: dict[str, Any], method: str) -> dict[str, Any]:
        matches = [item for item in self.stored if _matches(item, search)]
        start = int(search.get("token") or 0)
        limit = min(int(search.get("limit") or self.page), self.page)
        features = matches[start : start + limit]
        page: dict[str, Any] = {"type": "FeatureCollection", "features": features, "links": []}
        if self.matched:
            page["numberMatched"] = len(matches)
        if start + limit < len(matches):
            token = str(start + limit)
            link: dict[str, Any] = {"rel": "next", "method": method, "href": f"{self.url}/search"}
            if method == "POST":
                link |= {"body": {**search, "token": token}}
            else:
                query = "&".join(f"{key}={_plain(value)}" for key, value in {**search, "token": token}.items())
                link["href"] = f"{self.url}/search?{query}"
            page["links"].append(link)
        return page


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _matches(item: dict[str, Any], search: dict[str, Any]) -> bool:
    where = shape(item["geometry"])
    return (
        item["collection"] in (search.get("collections") or [item["collection"]])
        and item["id"] in (search.get("ids") or [item["id"]])
        and ("bbox" not in search or shapely.intersects(where, shapely.box(*search["bbox"])))
        and ("intersects" not in search or shapely.intersects(where, shape(search["intersects"])))
        and _in_time(item["properties"]["datetime"][:19], search.get("datetime") or "../..")
        and _meets(item, search.get("query") or {})
        and _filtered(item, search.get("filter"))
    )


def _in_time(when: str, interval: str) -> bool:
    first, _, last = interval.partition("/")
    return (first == ".." or first[:19] <= when) and (last == ".." or when <= last[:19])


def _meets(item: dict[str, Any], query: dict[str, Any]) -> bool:
    for name, conditions in query.items():
        value = item["properties"].get(name)
        if value is None or not all(_OPS[op](value, limit) for op, limit in conditions.items()):
            return False
    return True


def _filtered(item: dict[str, Any], source: Any) -> bool:
    try:
        return source is None or bool(cql2.Expr(source).matches(item))
    except Exception:  # noqa: BLE001  (cql2's word for unknown)
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away are part of these tests."""


def _handler(api: StacApi) -> type[BaseHTTPRequestHandler]:  # noqa: C901  (the methods of one class)
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            self._serve("GET", _typed(query))

        def do_POST(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            self._serve("POST", json.loads(self.rfile.read(size) or b"{}"))

        def _serve(self, method: str, body: dict[str, Any]) -> None:
            path = urlsplit(self.path).path.removeprefix("/v1") or "/"
            with api.lock:
                api.log.append(ApiRequest(method, path, body))
                waiting = api.faults.get(path)
                fault = waiting.popleft() if waiting else None
            sent = base64.b64encode((api.password or "").encode()).decode()
            if fault is not None:
                self._fail(fault)
            elif api.password and self.headers.get("Authorization") != f"Basic {sent}":
                self._answer(401, {"code": "Unauthorized"})
            elif path == "/":
                self._answer(200, api.root())
            elif path == "/collections":
                self._answer(200, {"collections": [api.collection(name) for name in api.collections()], "links": []})
            elif path == "/search":
                self._search(method, body)
            elif path.startswith("/collections/") and path.split("/")[2] in api.collections():
                self._answer(200, api.collection(path.split("/")[2]))
            else:
                self._answer(404, {"code": "NotFound", "description": f"no {path}"})

        def _search(self, method: str, body: dict[str, Any]) -> None:
            if method not in api.methods:
                self._answer(405, {"code": "MethodNotAllowed"})
            elif api.largest_page is not None and int(body.get("limit") or 10) > api.largest_page:
                self._answer(413, {"code": "TooLarge"})
            else:
                self._answer(200, api.search(body, method))

        def _fail(self, fault: Fault) -> None:
            if fault.kind == "reset":
                # An RST rather than an orderly end, as a dying proxy sends it.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True
                return
            if fault.kind == "truncate":
                self._send(200, b'{"type": "FeatureColl', promised=5000)
                self.close_connection = True
                return
            if fault.kind == "html":
                self._send(200, b"<html>Sign in</html>", content="text/html")
                return
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            self._send(fault.status, json.dumps({"description": fault.body}).encode(), headers=headers)

        def _answer(self, status: int, value: Any) -> None:
            self._send(status, json.dumps(value).encode())

        def _send(
            self,
            status: int,
            data: bytes,
            *,
            content: str = "application/json",
            promised: int | None = None,
            headers: dict[str, str] | None = None,
        ) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content)
            self.send_header("Content-Length", str(promised or len(data)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *parts: Any) -> None:
            """The log is ``api.log``."""

    return Handler


def _typed(query: dict[str, str]) -> dict[str, Any]:
    """A GET's parameters in the form of a POST's body."""
    typed: dict[str, Any] = dict(query)
    for name in ("collections", "ids"):
        if name in query:
            value = query[name]
            typed[name] = json.loads(value) if value.startswith("[") else value.split(",")
    for name in ("query", "intersects"):
        if name in query:
            typed[name] = json.loads(query[name])
    if "bbox" in query:
        value = query["bbox"]
        typed["bbox"] = json.loads(value) if value.startswith("[") else [float(part) for part in value.split(",")]
    return typed
