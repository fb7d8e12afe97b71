"""STAC APIs, through pystac-client: pages as dicts, so that items stay as they were received."""

from __future__ import annotations

import json
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import shapely
from pystac_client.item_search import ItemSearch
from pystac_client.stac_api_io import StacApiIO

from eopipe.errors import CatalogError, SpecError
from eopipe.redact import unsign
from eopipe.stac.describe_item import check_item
from eopipe.stac.http import Http, HttpError
from eopipe.stac.item_assets import ItemAssets
from eopipe.stac.question import CatalogItem, Question, catalog_error, self_link

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.stac.query import Query

PAGE = 100
"""Items a page: Sentinel-2 items are 20 to 50 kB, and some servers may not answer with more than 6 MB."""

_SMALL_PAGE = 10
_MANY_VERTICES = 500
_TOO_LARGE = frozenset({413, 500, 502, 504})


class _PatientIO(StacApiIO):
    """pystac-client's input with this package's retries, which cover reset bodies and POST too."""

    def __init__(self, http: Http) -> None:
        super().__init__(max_retries=None)
        self._http = http

    def request(
        self,
        href: str,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> str:
        """Send a request; an HttpError passes through pystac-client as it is."""
        verb = (method or "GET").upper()
        body = {"json": parameters} if verb == "POST" else {"params": parameters}
        return self._http.send(verb, href, headers=headers, **body).content.decode()


class Api:
    """One STAC API.

    Args:
        url: Its root, as in the spec.
        root: The root document.
        http: How to ask.
    """

    def __init__(self, url: str, root: dict[str, Any], http: Http) -> None:
        self._url, self._root, self._http = url, root, http
        self._io = _PatientIO(http)
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
            CatalogError: The API fails, or answers with something else than items.
        """
        limit, keys = PAGE, set()
        while True:
            try:
                for entry in question.limited(self._search(question, limit)):
                    key = (entry.item.get("collection"), entry.item.get("id"))
                    if key not in keys:
                        keys.add(key)
                        yield entry
            except HttpError as error:
                if error.status not in _TOO_LARGE or limit <= _SMALL_PAGE:
                    raise catalog_error(self._search_link()["href"], error) from None
                limit = _SMALL_PAGE
                self.warnings.append(f"{unsign(self._url)} failed on pages of {PAGE} items; asked again for {limit}")
            else:
                return

    def completed(self, entry: CatalogItem) -> dict[str, Any]:
        """An item with what its Collection states of its assets."""
        return self.item_assets.complete(entry)

    def _search(self, question: Question, limit: int) -> Iterator[CatalogItem]:
        link = self._search_link()
        method = str(link.get("method") or "GET").upper()
        local = self._local_query(question)
        parameters: dict[str, Any] = {
            "collections": list(question.collections),
            "datetime": question.time.rfc3339,
            "ids": sorted(question.ids) if question.ids is not None else None,
            "query": question.query.conditions if question.query is not None and local is None else None,
            "limit": min(limit, question.max_items + 1),
            **_area_of(question),
        }
        if question.filter is not None:
            text = method == "GET"
            parameters |= {
                "filter": question.filter.text if text else question.filter.json,
                "filter_lang": "cql2-text" if text else "cql2-json",
            }
        for page in self._pages(ItemSearch(link["href"], method=method, stac_io=self._io, **parameters)):
            question.guard(page.get("numberMatched") or (page.get("context") or {}).get("matched"))
            for item in page["features"]:
                check_item(item, link["href"])
                if local is None or local.matches(item):
                    yield CatalogItem(item, self_link(item) or link["href"])

    def _pages(self, search: ItemSearch) -> Iterator[dict[str, Any]]:
        url = unsign(search.url)
        try:
            for page in search.pages_as_dicts():
                if not isinstance(page.get("features"), list):
                    raise CatalogError(f"catalog {url} answered a search with no features; is it a STAC API?")
                yield page
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError, KeyError):
            raise CatalogError(f"catalog {url} answered a search with something else than items; try again") from None

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

    def _search_link(self) -> dict[str, Any]:
        links = [link for link in self._root.get("links", ()) if link.get("rel") == "search" and "href" in link]
        best = next((link for link in links if str(link.get("method")).upper() == "POST"), None) or links[0]
        return {**best, "href": urljoin(self._url, best["href"])}

    def _collection_url(self, name: str = "") -> str:
        return urljoin(f"{self._url.partition('?')[0].rstrip('/')}/", f"collections{name}")

    def _hint(self, name: str) -> str:
        url = self._collection_url()
        try:
            known = [str(entry["id"]) for entry in self._http.json(url)["collections"]]
        except (HttpError, ValueError, KeyError, TypeError):
            return f"see {unsign(url)} for those it has"
        close = get_close_matches(name, known, n=1)
        return f"did you mean {close[0]!r}?" if close else f"it has {', '.join(sorted(known)[:20])}"


def _area_of(question: Question) -> dict[str, Any]:
    """The area as a bbox where it is one, else as GeoJSON with few vertices (servers limit the request)."""
    geometry = question.area.geometry
    west, south, east, north = geometry.bounds
    if geometry.geom_type == "Polygon" and geometry.equals(shapely.box(west, south, east, north)):
        return {"bbox": [west, south, east, north]}
    if shapely.get_num_coordinates(geometry) > _MANY_VERTICES:
        rough = max(east - west, north - south) / 200
        world = shapely.box(-180, -90, 180, 90)
        geometry = shapely.intersection(shapely.simplify(shapely.buffer(geometry, 2 * rough), rough), world)
    return {"intersects": json.loads(shapely.to_geojson(geometry))}
