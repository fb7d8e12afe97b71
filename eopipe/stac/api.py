"""STAC APIs, through pystac-client: pages as dicts, so that items stay as they were received."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import shapely
from pystac_client.item_search import ItemSearch

from eopipe.errors import CatalogError, ItemError, SpecError
from eopipe.redact import unsign
from eopipe.stac.describe_item import check_item
from eopipe.stac.http import Http, HttpError
from eopipe.stac.item_assets import ItemAssets
from eopipe.stac.pages import PageRequest, StandsStill, matched, pages
from eopipe.stac.question import CatalogItem, Question, catalog_error, self_link
from eopipe.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.stac.query import Query

PAGE = 100
"""Items a page: Sentinel-2 items are 20 to 50 kB, and some servers may not answer with more than 6 MB."""

_SMALL_PAGE = 10
_MANY_VERTICES = 500
_LONG_ADDRESS = 4000
"""Characters of GeoJSON from which on servers may refuse an address."""

_REPEATED_PAGES = 3
"""So many pages in a row may hold nothing but items of earlier pages."""

_TOO_LARGE = frozenset({413, 500, 502, 504})
_NO_POST = frozenset({403, 404, 405, 501})


class Api:
    """One STAC API.

    Args:
        url: Its root, as in the spec.
        root: The root document.
        http: How to ask.
    """

    def __init__(self, url: str, root: dict[str, Any], http: Http) -> None:
        self._url, self._root, self._http = url, root, http
        self._method: str | None = None
        self.warnings: list[str] = []
        self.item_assets = ItemAssets()

    def check(self, collections: tuple[str, ...]) -> None:
        """See that the collections exist, since most APIs answer an unknown one with no items.

        Raises:
            SpecError: None is named, or one does not exist.
            CatalogError: The API cannot be reached.
        """
        if not collections:
            raise SpecError(f"source.collections: name at least one collection of the API {unsign(self._url)}")
        for name in collections:
            url = self._collection_url(f"/{name}")
            try:
                self.item_assets.add({**self._http.json(url), "id": name})
            except HttpError as error:
                if error.status != 404:
                    raise catalog_error(url, error) from None
                raise SpecError(
                    f"source.collections: {unsign(self._url)} has no collection {name!r}; {self._hint(name)}"
                ) from None
            except (ValueError, TypeError):
                raise CatalogError(f"catalog {unsign(url)} did not answer with JSON; check the address") from None

    def items(self, question: Question) -> Iterator[CatalogItem]:
        """Items that match, page by page; a page that is too large for the server is requested in smaller ones.

        Raises:
            SpecError: More match than ``max_items``.
            CatalogError: The API fails, answers with something else than items, or sends fewer than it counts.
        """
        limit, yielded = PAGE, set[tuple[Any, Any]]()
        while True:
            method = self._method or self._search_method()
            try:
                for entry in question.limited(self._search(question, limit, method)):
                    if (key := _key(entry.item)) not in yielded:
                        yielded.add(key)
                        yield entry
            except HttpError as error:
                if method == "POST" and error.status in _NO_POST and not yielded:
                    self._method = "GET"
                    self.warnings.append(f"{unsign(self._url)} answers POST with {error}; it was searched by GET")
                elif error.status in _TOO_LARGE and limit > _SMALL_PAGE:
                    limit = _SMALL_PAGE
                    self.warnings.append(
                        f"{unsign(self._url)} failed on pages of {PAGE} items; asked again for {limit}"
                    )
                else:
                    raise catalog_error(self._search_link(method), error) from None
            else:
                return

    def completed(self, entry: CatalogItem) -> dict[str, Any]:
        """An item with what its Collection states of its assets."""
        return self.item_assets.complete(entry)

    def _search(self, question: Question, limit: int, method: str) -> Iterator[CatalogItem]:
        local, url = self._local_query(question), self._search_link(method)
        received, unmet, count = _Received(), Counter[str](), None
        try:
            for page in pages(self._http, self._first_request(question, limit, method, local)):
                count = count if local is not None else matched(page)
                question.guard(count)
                for item in received.new_of(page["features"]):
                    if reason := _unmet(question, item):
                        unmet[reason] += 1
                    elif local is None or local.matches(item):
                        yield CatalogItem(item, self_link(item) or url)
        except StandsStill:
            if count is None or len(received) < count:
                raise CatalogError(
                    f"catalog {unsign(url)} leads on to pages that bring nothing new, after {len(received)} items"
                    f"{'' if count is None else f' of the {count} that it says match'}; search shorter ranges of "
                    f"datetime, or another catalog"
                ) from None
        if count is not None and len(received) < count:
            raise CatalogError(
                f"catalog {unsign(url)} sent {len(received)} different items of the {count} that it says match, and "
                f"no link to more; search shorter ranges of datetime, or another catalog"
            )
        self._warn_of(unmet, method)

    def _first_request(self, question: Question, limit: int, method: str, local: Query | None) -> PageRequest:
        parameters: dict[str, Any] = {
            "collections": list(question.collections),
            "datetime": question.time.rfc3339,
            "ids": sorted(question.ids) if question.ids is not None else None,
            "query": question.query.conditions if question.query is not None and local is None else None,
            "limit": min(limit, question.max_items + 1),
            **_area_of(question, short=method == "GET"),
        }
        if question.filter is not None:
            text = method == "GET"
            parameters |= {
                "filter": question.filter.text if text else question.filter.json,
                "filter_lang": "cql2-text" if text else "cql2-json",
            }
        url = self._search_link(method)
        return PageRequest(method, url, ItemSearch(url, method=method, **parameters).get_parameters())

    def _warn_of(self, unmet: Counter[str], method: str) -> None:
        for reason, number in unmet.items():
            if reason == "area" and method == "GET":  # a large area was sent as its box
                continue
            key = "the area" if reason == "area" else f"source.{reason}"
            self.warnings.append(f"{unsign(self._url)} sent items that do not meet {key}: {number} left out")

    def _local_query(self, question: Question) -> Query | None:
        """The query where the API does not claim to evaluate it: an API would ignore it without a word.

        Raises:
            SpecError: There is a filter, and the API offers none.
        """
        claims = " ".join(self._root.get("conformsTo") or ())
        if question.filter is not None and "filter" not in claims:
            raise SpecError(
                f"source.filter: {unsign(self._url)} does not offer filters (CQL2); use source.query instead"
            )
        if question.query is None or "item-search#query" in claims:
            return None
        warning = f"{unsign(self._url)} does not offer the query extension; query was evaluated here"
        if warning not in self.warnings:
            self.warnings.append(warning)
        return question.query

    def _search_links(self) -> list[dict[str, Any]]:
        return [link for link in self._root.get("links", ()) if link.get("rel") == "search" and "href" in link]

    def _search_method(self) -> str:
        """POST where a link offers it: an area of many vertices has no room in an address."""
        methods = [str(link.get("method") or "GET").upper() for link in self._search_links()]
        return "POST" if "POST" in methods else "GET"

    def _search_link(self, method: str) -> str:
        links = self._search_links()
        fitting = [link for link in links if str(link.get("method") or "GET").upper() == method]
        return urljoin(self._url, str((fitting or links)[0]["href"]))

    def _collection_url(self, name: str = "") -> str:
        return urljoin(f"{self._url.partition('?')[0].rstrip('/')}/", f"collections{name}")

    def _hint(self, name: str) -> str:
        url = self._collection_url()
        try:
            known = [str(entry["id"]) for entry in self._http.json(url)["collections"]]
        except (HttpError, ValueError, KeyError, TypeError):
            return f"see {unsign(url)} for those it has"
        return did_you_mean(name, known, f"it has {', '.join(sorted(known)[:20])}")


class _Received:
    """The items that an API has sent, by collection and id."""

    def __init__(self) -> None:
        self._keys: set[tuple[Any, Any]] = set()
        self._repeats = 0

    def __len__(self) -> int:
        return len(self._keys)

    def new_of(self, items: list[Any]) -> list[Any]:
        """Those of a page's items that no earlier page held.

        Raises:
            StandsStill: Several pages in a row held none.
        """
        new = [item for item in items if _key(item) not in self._keys]
        self._keys.update(map(_key, new))
        self._repeats = self._repeats + 1 if items and not new else 0
        if self._repeats > _REPEATED_PAGES:
            raise StandsStill
        return new


def _key(item: Any) -> tuple[Any, Any]:
    """Collection and id; of what has no id, its identity."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return (None, id(item))
    return (item.get("collection"), item["id"])


def _unmet(question: Question, item: Any) -> str:
    """See `Question.unmet`; an item that cannot be read is passed on, and refused where items are described."""
    try:
        check_item(item)
        return question.unmet(item)
    except ItemError:
        return ""


def _area_of(question: Question, *, short: bool) -> dict[str, Any]:
    """The area as a bbox where it is one, else as GeoJSON with few vertices (servers limit the request).

    Args:
        question: Whose area.
        short: Whether it goes into an address: then a long GeoJSON is replaced by its bbox.
    """
    geometry = question.area.geometry
    west, south, east, north = geometry.bounds
    if geometry.geom_type == "Polygon" and geometry.equals(shapely.box(west, south, east, north)):
        return {"bbox": [west, south, east, north]}
    if shapely.get_num_coordinates(geometry) > _MANY_VERTICES:
        rough = max(east - west, north - south) / 200
        world = shapely.box(-180, -90, 180, 90)
        geometry = shapely.intersection(shapely.simplify(shapely.buffer(geometry, 2 * rough), rough), world)
    text = shapely.to_geojson(geometry)
    if short and len(text) > _LONG_ADDRESS:
        return {"bbox": [west, south, east, north]}
    return {"intersects": json.loads(text)}
