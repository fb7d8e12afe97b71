"""Pages of a STAC API's search, one after the other, until the API says that there is no more.

pystac-client writes the first request; its paging stops at an empty page and reads no relative link, so links are
followed here (STAC API 1.0, item search, "Pagination"; stac-api-extensions).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from eopipe.canonical_json import digest
from eopipe.errors import CatalogError
from eopipe.redact import unsign

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from eopipe.stac.http import Http

EMPTY_PAGES = 1000
"""So many pages without items in a row, each with a link onwards, are followed."""

_BODIES = 3
"""Times that a page is requested whose JSON is cut short."""

_COUNTS = (("numberMatched",), ("context", "matched"), ("search:metadata", "matched"))


class StandsStill(Exception):  # noqa: N818  (a signal to the search, which decides whether it is an error)
    """A link leads to a request that was answered before, or only to empty pages."""


@dataclass(frozen=True)
class PageRequest:
    """One request for a page.

    Args:
        method: ``GET`` or ``POST``.
        url: Absolute.
        parameters: Body of a POST; query of a GET, texts.
        headers: Those that a link states.
    """

    method: str
    url: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def key(self) -> str:
        """Equal for equal requests."""
        return digest([self.method, self.url, self.parameters])


def pages(http: Http, request: PageRequest) -> Iterator[dict[str, Any]]:
    """Feature collections from the first request on, along the links to the next page.

    Args:
        http: Sends the requests, with retries.
        request: For the first page.

    Raises:
        HttpError: A request failed for good.
        CatalogError: An answer is no feature collection.
        StandsStill: No link leads on, though the API offers one.
    """
    answered: set[str] = set()
    empty = 0
    following: PageRequest | None = request
    while following is not None:
        key = following.key()
        if key in answered or empty > EMPTY_PAGES:
            raise StandsStill
        answered.add(key)
        page, url = _page(http, following)
        yield page
        empty = 0 if page["features"] else empty + 1
        following = next_request(page, following, url)


def matched(page: Mapping[str, Any]) -> int | None:
    """How many items match all in all, as far as a page states it."""
    for path in _COUNTS:
        value: Any = page
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None


def next_request(page: Mapping[str, Any], request: PageRequest, url: str) -> PageRequest | None:
    """The request behind a page's link to the next one; None where the page is the last.

    Args:
        page: As answered.
        request: That it answers.
        url: Address that answered; relative links start there.
    """
    links = [link for link in page.get("links") or () if isinstance(link, dict) and isinstance(link.get("href"), str)]
    link = next((link for link in links if link.get("rel") == "next"), None)
    if link is None:
        return None
    href, method = urljoin(url, link["href"]), str(link.get("method") or "GET").upper()
    headers = link.get("headers")
    stated = {str(name): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}
    if method != "POST":
        return PageRequest("GET", href, headers=stated)
    body = link.get("body")
    if not isinstance(body, dict):  # the page is in the address; the question stays as it was
        return PageRequest("POST", href, request.parameters, stated)
    return PageRequest("POST", href, {**request.parameters, **body} if link.get("merge") else body, stated)


def _page(http: Http, request: PageRequest) -> tuple[dict[str, Any], str]:
    """A page, and the address that answered."""
    parameters = dict(request.parameters) or None
    content = {"json": parameters or {}} if request.method == "POST" else {"params": parameters}
    for attempt in range(_BODIES):
        response = http.send(request.method, request.url, headers=dict(request.headers) or None, **content)
        try:
            page = json.loads(response.content)
        except ValueError:
            if _is_web_page(response):
                raise CatalogError(
                    f"catalog {unsign(request.url)} answered a search with something else than items: a web page; "
                    f"credentials may be missing, or the address is not that of a STAC API"
                ) from None
            time.sleep(http.backoff.wait(attempt, None) if attempt + 1 < _BODIES else 0)
            continue
        if not isinstance(page, dict) or not isinstance(page.get("features"), list):
            raise CatalogError(f"catalog {unsign(request.url)} answered a search with no features; is it a STAC API?")
        return page, response.url or request.url
    raise CatalogError(
        f"catalog {unsign(request.url)} answered a search with something else than items; try again later"
    )


def _is_web_page(response: Any) -> bool:
    return "html" in response.headers.get("Content-Type", "") or response.content.lstrip()[:1] == b"<"
