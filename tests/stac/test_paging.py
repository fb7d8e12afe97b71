"""Paging as servers do it, well and ill: a search ends with exactly the server's items, or with an error."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eopipe.errors import CatalogError, CatalogRequestError
from eopipe.stac.http import Backoff
from eopipe.stac.search import search
from tests.support.stac_items import spec_for

NOW = datetime(2025, 8, 1, tzinfo=UTC)
QUICK = Backoff(attempts=4, base=0.0, cap=0.01, unreachable=2)
PAGE = 3


def item(number):
    when = datetime(2025, 6, 1, 10, tzinfo=UTC) + timedelta(hours=number)
    ring = [[10.0, 43.0], [11.0, 43.0], [11.0, 44.0], [10.0, 44.0], [10.0, 43.0]]
    return {
        "type": "Feature", "stac_version": "1.0.0", "id": f"i{number:03d}", "collection": "test",
        "geometry": {"type": "Polygon", "coordinates": [ring]}, "bbox": [10.0, 43.0, 11.0, 44.0], "links": [],
        "properties": {
            "datetime": when.isoformat(), "proj:epsg": 32632, "proj:shape": [10, 10],
            "proj:transform": [10, 0, 600000, 0, -10, 4800000],
        },
        "assets": {"red": {"href": "https://example.com/red.tif"}},
    }  # fmt: skip


@dataclass(frozen=True)
class Paging:
    """How a server pages.

    Args:
        items: It has so many.
        link: Form of its link to the next page.
        post: Status of a POST: 200, or 405 or 403 where only GET works.
        redirect: Status by which it sends every search to another path; 0: none.
        empty: Pages before which an empty one comes, with a link onwards.
        faults: Requests (numbers) that it answers with 503.
        count: What it says of the number of items; None: nothing.
        field: Where it says so.
        ends_after: Page after which the link is missing; None: the last.
        instead: Page that holds the items of the page before it.
        stuck: Page whose link leads to itself.
    """

    items: int = 8
    link: str = "merge"
    post: int = 200
    redirect: int = 0
    empty: frozenset[int] = frozenset()
    faults: frozenset[int] = frozenset()
    count: int | None = None
    field: str = "numberMatched"
    ends_after: int | None = None
    instead: int | None = None
    stuck: int | None = None

    @property
    def honest(self) -> bool:
        """Whether all items come, and no count says that there are more."""
        return (
            self.ends_after is None
            and self.instead is None
            and self.stuck is None
            and (self.count is None or self.count <= self.items)
        )


class Server:
    """Serves one `Paging` at a time, which a test sets."""

    def __init__(self):
        self.paging, self.requests = Paging(), 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_):
                """Nothing on the terminal."""

            def do_GET(self):
                self.reply(*outer.answer("GET", self.path, {}))

            def do_POST(self):
                size = int(self.headers.get("Content-Length") or 0)
                self.reply(*outer.answer("POST", self.path, json.loads(self.rfile.read(size) or b"{}")))

            def reply(self, status, document, location=None):
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                if location:
                    self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(data)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, method, address, body):  # noqa: PLR0911  (the routes of a server)
        paging, (path, _, text) = self.paging, address.partition("?")
        query = body | {key: values[0] for key, values in parse_qs(text).items()}
        if path == "/":
            methods = (
                ("POST", "GET")
                if paging.post != 200 or paging.link.startswith(("merge", "body", "address"))
                else ("GET",)
            )
            links = [{"rel": "search", "href": f"{self.url}/search", "method": name} for name in methods]
            conforms = ["https://api.stacspec.org/v1.0.0/item-search"]
            return 200, {"type": "Catalog", "id": "c", "conformsTo": conforms, "links": links}
        if path == "/collections/test":
            return 200, {"type": "Collection", "id": "test", "links": []}
        self.requests += 1
        if self.requests in paging.faults:
            return 503, {"detail": "busy"}
        if method == "POST" and paging.post != 200:
            return paging.post, {"detail": "POST is not served"}
        if paging.redirect and path == "/search":
            return paging.redirect, {}, f"{self.url}/search/?{text}" if method == "GET" else f"/search/?{text}"
        if query.get("collections") not in ("test", ["test"]) and "token" not in query:
            return 200, {"type": "FeatureCollection", "features": [item(900)], "links": []}  # the question was lost
        return 200, self.page(method, query)

    def page(self, method, query):
        paging = self.paging
        number, _, passed = str(query.get("token") or "0").partition("-")
        number, last = int(number), (paging.items - 1) // PAGE
        document = {"type": "FeatureCollection", "features": [], "links": []}
        if paging.count is not None:
            document |= (
                {"context": {"matched": paging.count}} if paging.field == "context" else {paging.field: paging.count}
            )
        if number in paging.empty and not passed:
            return document | {"links": [self.link(method, query, f"{number}-passed")]}
        held = number - 1 if number == paging.instead and number else number
        document["features"] = [item(n) for n in range(paging.items)[held * PAGE : (held + 1) * PAGE]]
        if number == paging.stuck:
            document["links"] = [self.link(method, query, str(query.get("token") or "0"))]
        elif number < last and number != paging.ends_after:
            document["links"] = [self.link(method, query, str(number + 1))]
        return document

    def link(self, method, query, token):
        if method == "GET":
            others = urlencode({key: value for key, value in query.items() if key != "token"} | {"token": token})
            href = {"relative": f"?token={token}", "relative path": f"search?{others}"}.get(
                self.paging.link, f"{self.url}/search?{others}"
            )
            return {"rel": "next", "href": href}
        link = {"rel": "next", "href": f"{self.url}/search", "method": "post"}
        return {
            "merge": link | {"merge": True, "body": {"token": token}},
            "body": link | {"body": {**query, "token": token}},
            "address": {**link, "href": f"/search?token={token}"},
        }.get(self.paging.link, link | {"merge": True, "body": {"token": token}})


@pytest.fixture(scope="module")
def server():
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


@contextmanager
def paged(server, paging):
    server.paging, server.requests = paging, 0
    spec, area = spec_for(f"{server.url}/", (10.2, 43.2, 10.8, 43.8), collections=["test"])
    yield lambda: search(spec.source, area, NOW, backoff=QUICK)


def ids(snapshot):
    return sorted(snapshot.index.column("id").to_pylist())


def every(paging):
    return [f"i{number:03d}" for number in range(paging.items)]


def pagings():
    pages = st.integers(0, 4)
    return st.builds(
        Paging,
        items=st.integers(1, 14),
        link=st.sampled_from(["merge", "body", "address", "absolute", "relative", "relative path"]),
        post=st.sampled_from([200, 200, 405, 403]),
        redirect=st.sampled_from([0, 0, 301, 302, 307, 308]),
        empty=st.frozensets(pages, max_size=3),
        faults=st.frozensets(st.integers(1, 20), max_size=3),
        count=st.one_of(st.none(), st.integers(0, 20)),
        field=st.sampled_from(["numberMatched", "context"]),
        ends_after=st.one_of(st.none(), st.none(), pages),
        instead=st.one_of(st.none(), st.none(), pages),
        stuck=st.one_of(st.none(), st.none(), pages),
    )


@given(pagings())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_paging_ends_with_exactly_the_servers_items_or_an_error(server, paging):
    with paged(server, paging) as ask:
        try:
            snapshot, _ = ask()
        except CatalogError:
            assert not paging.honest, f"refused, though all items came: {paging}"
            return
    # Without a count, nobody can know that a server's last page is not its last.
    if paging.honest or (paging.count is not None and paging.count >= paging.items):
        assert ids(snapshot) == every(paging)
    assert set(ids(snapshot)) <= set(every(paging))


def test_a_link_that_is_missing_is_noticed_by_the_count(server):
    with (
        paged(server, Paging(items=8, ends_after=0, count=8)) as ask,
        pytest.raises(CatalogError, match=r"sent 3 different items of the 8 that it says match"),
    ):
        ask()


@pytest.mark.parametrize("count", [None, 8])
def test_a_link_to_itself_is_an_error_within_a_few_requests(server, count):
    with (
        paged(server, Paging(items=8, stuck=1, count=count)) as ask,
        pytest.raises(CatalogError, match="pages that bring nothing new, after 6 items"),
    ):
        ask()
    assert server.requests <= 5


def test_a_link_to_itself_behind_the_last_item_is_the_end_where_the_count_says_so(server):
    with paged(server, Paging(items=6, stuck=1, count=6)) as ask:
        assert len(ask()[0]) == 6


def test_a_server_of_get_alone_is_searched_by_get_with_a_line(server):
    with paged(server, Paging(post=405)) as ask:
        snapshot, report = ask()
    assert ids(snapshot) == every(Paging())
    assert any("answers POST with HTTP 405" in line and "searched by GET" in line for line in report.warnings)


def test_a_refusal_for_good_is_the_requests_fault_and_no_reason_to_try_later(server):
    with paged(server, Paging(post=422)) as ask, pytest.raises(CatalogRequestError) as refused:
        ask()
    assert refused.value.exit_status == 2
    assert "HTTP 422" in str(refused.value)
    assert "later" not in str(refused.value)
