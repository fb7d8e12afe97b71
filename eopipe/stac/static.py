"""Static catalogs: JSON documents that link to each other, in folders or behind URLs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import fsspec

from eopipe.errors import CatalogError, SpecError, one_line
from eopipe.redact import redact, unsign
from eopipe.snapshot import resolve_href
from eopipe.stac.http import Http, HttpError
from eopipe.stac.item_assets import ItemAssets
from eopipe.stac.question import CatalogItem, Question, catalog_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_READERS = 16
_AHEAD = 512
_MAX_DOCUMENTS = 5_000_000
_REMEDY = "leave its collection out (source.collections), or take another catalog"


@dataclass(frozen=True)
class Documents:
    """Reads documents: local files, http(s), or any scheme that fsspec knows."""

    http: Http

    def bytes(self, address: str) -> bytes:
        """Content of a document.

        Raises:
            CatalogError: It cannot be read.
        """
        try:
            if address.startswith(("http://", "https://")):
                return self.http.bytes(address)
            if "://" not in address:
                return Path(address).read_bytes()
            _known_scheme(address)
            with fsspec.open(address, "rb") as file:
                return bytes(file.read())
        except HttpError as error:
            raise catalog_error(address, error) from None
        except FileNotFoundError:
            raise CatalogError(f"catalog document {unsign(address)} does not exist; {_REMEDY}") from None
        except ImportError as error:
            reason = one_line(error)
            raise SpecError(f"source.catalog: {unsign(address)} needs a package that is missing: {reason}") from None
        except SpecError:
            raise
        except Exception as error:  # fsspec's schemes each raise their own kinds
            raise catalog_error(address, error) from error

    def json(self, address: str) -> dict[str, Any]:
        """A document as a JSON object.

        Raises:
            CatalogError: It cannot be read, or is none.
        """
        data = self.bytes(address)
        try:
            document = json.loads(data)
        except ValueError as error:
            reason = redact(one_line(error))
            raise CatalogError(f"catalog document {unsign(address)} is not JSON ({reason}); {_REMEDY}") from None
        if not isinstance(document, dict):
            raise CatalogError(f"catalog document {unsign(address)} is no JSON object; {_REMEDY}")
        for key in ("links", "features"):
            if not isinstance(document.get(key) or [], list):
                raise CatalogError(f"catalog document {unsign(address)} has {key} that are no list; {_REMEDY}")
        return document


class _Link(NamedTuple):
    """A document to read, the collection that it is filed under, and whether it is an item."""

    address: str
    collection: str | None
    item: bool


class StaticCatalog:
    """A static catalog, collection, item or item collection.

    Args:
        url: Address of the first document; absolute.
        root: That document.
        documents: How to read the others.
    """

    def __init__(self, url: str, root: dict[str, Any], documents: Documents) -> None:
        self._url, self._root, self._documents = url, root, documents
        self.warnings: list[str] = []
        self.item_assets = ItemAssets()

    def items(self, question: Question) -> Iterator[CatalogItem]:
        """Items that match, each once; collections that are not in the question are not descended into.

        Raises:
            CatalogError: A document is missing or broken.
            SpecError: A collection does not exist, or more than ``max_items`` match.
        """
        known: set[str] = set()
        yield from question.limited(self._matching(question, known))
        question.refuse_unknown(known, self._url)

    def completed(self, entry: CatalogItem) -> dict[str, Any]:
        """An item with what its Collection states of its assets: the catalog's, or the one that it links to."""
        return self.item_assets.complete(entry, self._documents.json, self._url)

    def _matching(self, question: Question, known: set[str]) -> Iterator[CatalogItem]:
        for entry in self._walk(question, known):
            if not isinstance(entry.item, dict):
                known.update(question.collections)  # it may be of any of them
            name = (entry.item.get("collection") if isinstance(entry.item, dict) else None) or entry.collection
            if name:
                known.add(name)
            if not isinstance(entry.item, dict) or not question.collections or name in question.collections:
                judged = question.judge(entry)
                if judged is not None:
                    yield judged

    def _walk(self, question: Question, known: set[str]) -> Iterator[CatalogItem]:
        """All items, level by level."""
        visited = {self._url}
        level: list[_Link] = []
        yield from self._open(self._url, self._root, None, level, question, known)
        with ThreadPoolExecutor(_READERS, thread_name_prefix="catalog") as pool:
            while level:
                links = self._fresh(level, visited)
                level = []
                for (address, collection, item), document in zip(links, self._read(pool, links), strict=True):
                    if item:
                        yield CatalogItem(document, address, collection)
                    else:
                        yield from self._open(address, document, collection, level, question, known)

    def _read(self, pool: ThreadPoolExecutor, links: Sequence[_Link]) -> Iterator[dict[str, Any]]:
        addresses = [link.address for link in links]
        if not self._url.startswith(("http://", "https://")):
            yield from map(self._documents.json, addresses)  # threads win nothing on a disk
            return
        for start in range(0, len(addresses), _AHEAD):  # so that a large catalog is never all in memory
            yield from pool.map(self._documents.json, addresses[start : start + _AHEAD])

    def _open(
        self,
        address: str,
        document: dict[str, Any],
        collection: str | None,
        level: list[_Link],
        question: Question,
        known: set[str],
    ) -> Iterator[CatalogItem]:
        """Items that a document holds; what it links to is added to ``level``."""
        kind = document.get("type") or ("Catalog" if "links" in document else None)  # none before STAC 1.0
        if kind == "Feature":
            yield CatalogItem(document, address, collection)
        elif kind == "FeatureCollection":
            for feature in document.get("features") or ():
                yield CatalogItem(feature, address, collection)
            # An API's list of items comes in pages; the first alone would be a piece that looks like the whole.
            level += _links(document, address, collection, "next")
        elif kind in {"Catalog", "Collection"}:
            if kind == "Collection" or "extent" in document:
                collection = str(document.get("id"))
                known.add(collection)
                self.item_assets.add(document)
                if question.collections and collection not in question.collections:
                    return
            level += _links(document, address, collection, "item", "child", "items")
        else:
            raise CatalogError(
                f"catalog document {unsign(address)} has the type {kind!r}; give a STAC Catalog, Collection, Feature "
                "or FeatureCollection"
            )

    def _fresh(self, links: Sequence[_Link], visited: set[str]) -> list[_Link]:
        """Links not followed before, items first: catalogs may link in circles."""
        fresh = []
        for link in sorted(links, key=lambda link: not link.item):
            if link.address not in visited:
                visited.add(link.address)
                fresh.append(link)
        if len(visited) > _MAX_DOCUMENTS:
            raise CatalogError(f"catalog {unsign(self._url)} has more than {_MAX_DOCUMENTS} documents; use an API")
        return fresh


def _known_scheme(address: str) -> None:
    scheme = address.partition("://")[0]
    if scheme not in fsspec.available_protocols():
        raise SpecError(
            f"source.catalog: {unsign(address)}: no installed library reads {scheme}://; give https://, s3://, gs:// "
            "or a file"
        )


def _links(document: dict[str, Any], address: str, collection: str | None, *rels: str) -> list[_Link]:
    """A document's links of these kinds; ``items`` may be parquet, which is passed over."""
    return [
        _Link(resolve_href(link["href"], address), collection, link["rel"] == "item")
        for link in document.get("links") or ()
        if isinstance(link, dict)
        and link.get("rel") in rels
        and isinstance(link.get("href"), str)
        and "json" in str(link.get("type") or "json")
    ]
