"""Signing hrefs just before a read: by tokens that are fetched, or by the signatures that a catalog gave.

Planetary Computer's tokens are fetched here over plain HTTP rather than through the ``planetary-computer``
package: what is needed is one GET a container, and that package signs whole items (changing what the snapshot
must keep verbatim), is not safe against many threads asking at once, and pulls in its own retry settings.
Its environment variables hold here too: ``PC_SDK_SAS_URL`` and ``PC_SDK_SUBSCRIPTION_KEY``.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from eopipe.errors import TileFault
from eopipe.hrefs import canonical_href
from eopipe.redact import redact, unsign
from eopipe.snapshot.snapshot import resolve_href
from eopipe.spec import SourceSpec
from eopipe.stac.http import Backoff, Http, HttpError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SAS_ENDPOINT = "https://planetarycomputer.microsoft.com/api/sas/v1/token"
"""Planetary Computer's token service; ``/<account>/<container>`` follows."""

REFRESH_BEFORE = timedelta(minutes=5)
"""A token that expires sooner than this is fetched anew, so that no read outlives its token."""

_BLOB_HOST = ".blob.core.windows.net"
_PC_HOSTS = (
    "planetarycomputer.microsoft.com",
    "planetarycomputer-staging.microsoft.com",
    "pcstacitems.blob.core.windows.net",
)
_PUBLIC_ACCOUNTS = frozenset({"ai4edatasetspublicassets"})


class Signer(Protocol):
    """Turns a plain href into one that can be read now. Picklable; called on the worker, from many threads."""

    def __call__(self, href: str) -> str:
        """The href, signed where it needs to be.

        Raises:
            TileFault: A token cannot be had (``read.denied``, ``read.http_<status>``, ``read.timeout``, …).
        """
        ...


@dataclass(frozen=True)
class NoSigner:
    """Leaves hrefs as they are."""

    def __call__(self, href: str) -> str:
        """Return the href itself."""
        return href


_KEPT: dict[str, str] = {}
"""Signed addresses by the unsigned ones, of searches with ``sign: keep``: in this process's memory only."""


def keep_signatures(item: Mapping[str, Any], base: str | None) -> None:
    """Hold the signed hrefs of an item in memory.

    Args:
        item: As received.
        base: Address that relative hrefs start from.
    """
    _KEPT.update(_signed_hrefs(item, base))


def is_presigned(item: Mapping[str, Any]) -> bool:
    """Whether an asset's href carries a signature or credentials."""
    return any(True for _ in _signed_hrefs(item, None))


def _signed_hrefs(item: Mapping[str, Any], base: str | None) -> Iterator[tuple[str, str]]:
    """Unsigned and signed address of each asset, and of its alternates, that is signed."""
    for asset in item.get("assets", {}).values():
        alternates = asset.get("alternate")
        for file in (asset, *(alternates.values() if isinstance(alternates, dict) else ())):
            href = file.get("href") if isinstance(file, dict) else None
            if isinstance(href, str) and unsign(href) != href:
                signed = resolve_href(href, base)
                yield canonical_href(unsign(signed)), signed


@dataclass(frozen=True)
class KeptSigner:
    """Signs by the signatures that the catalog's hrefs came with; other hrefs are another signer's.

    A worker gets the signed addresses with the signer, over the cluster's own connections.

    Args:
        other: For hrefs that came unsigned.
        addresses: Signed addresses by the unsigned ones.
    """

    other: Signer = field(default_factory=NoSigner)
    addresses: Mapping[str, str] = field(default_factory=lambda: _KEPT, repr=False)

    def __call__(self, href: str) -> str:
        """The href as the catalog signed it."""
        return self.addresses.get(href) or self.other(href)


@dataclass(frozen=True)
class PlanetaryComputerSigner:
    """Appends a SAS token to hrefs of Azure blobs: one token a container, shared by the process's threads.

    Picklable; called on the worker, from many threads.

    Args:
        endpoint: Token service; ``PC_SDK_SAS_URL`` where that is set.
        backoff: How often and how soon to ask again.
    """

    endpoint: str = ""
    backoff: Backoff = field(default_factory=lambda: Backoff(attempts=5))

    def __call__(self, href: str) -> str:
        """Sign one href; other hosts' hrefs, and public thumbnails, are returned as they are.

        Raises:
            TileFault: A token cannot be had (``read.denied``, ``read.http_<status>``, ``read.timeout``, …).
        """
        container = _container(href)
        if container is None:
            return href
        plain = unsign(href)
        endpoint = (self.endpoint or os.environ.get("PC_SDK_SAS_URL") or SAS_ENDPOINT).rstrip("/")
        token = _TOKENS.get((endpoint, *container), self.backoff)
        return f"{plain}{'&' if '?' in plain else '?'}{token}"


def signer_for(source: SourceSpec) -> Signer:
    """The signing hook of a source: ``sign: auto`` picks by the catalog's host."""
    if source.sign == "keep":
        return KeptSigner()
    planetary = source.sign == "auto" and urlsplit(source.catalog).hostname in _PC_HOSTS
    return PlanetaryComputerSigner() if planetary or source.sign == "planetary-computer" else NoSigner()


def cube_signer(origin: str, sign: str) -> Signer:
    """The signing hook of a cube: of ``auto`` also by the signatures that a search of this process kept."""
    signer = signer_for(SourceSpec.model_validate({"catalog": origin, "sign": sign}))
    return KeptSigner(signer) if sign == "auto" and _KEPT else signer


def _container(href: str) -> tuple[str, str] | None:
    parts = urlsplit(href)
    host = parts.hostname or ""
    account = host.removesuffix(_BLOB_HOST)
    container = parts.path.lstrip("/").partition("/")[0]
    if not host.endswith(_BLOB_HOST) or account in _PUBLIC_ACCOUNTS or not container:
        return None
    return account, container


@dataclass(frozen=True)
class _Token:
    text: str
    expires: datetime

    def fresh(self) -> bool:
        return _now() + REFRESH_BEFORE < self.expires


class _Tokens:
    """Tokens of this process, one a container; threads that ask at the same time wait for one fetch."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[tuple[str, str, str], threading.Lock] = {}
        self._tokens: dict[tuple[str, str, str], _Token] = {}

    def get(self, key: tuple[str, str, str], backoff: Backoff) -> str:
        token = self._tokens.get(key)
        if token is not None and token.fresh():
            return token.text
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            token = self._tokens.get(key)
            if token is None or not token.fresh():
                token = self._tokens[key] = _fetch(*key, backoff)
        return token.text

    def clear(self) -> None:
        """Forget every token."""
        with self._guard:
            self._tokens.clear()


_TOKENS = _Tokens()


def _now() -> datetime:
    return datetime.now(UTC)


def _fetch(endpoint: str, account: str, container: str, backoff: Backoff) -> _Token:
    key = os.environ.get("PC_SDK_SUBSCRIPTION_KEY")
    headers = {"Ocp-Apim-Subscription-Key": key} if key else {}
    url = f"{endpoint}/{account}/{container}"
    try:
        answer = Http(backoff).json(url, headers=headers)
        return _Token(answer["token"], datetime.fromisoformat(answer["msft:expiry"]))
    except HttpError as error:
        detail = f"token of {account}/{container}: {error}"
        raise TileFault(_reason(error), detail, transient=error.transient) from None
    except (KeyError, TypeError, ValueError):
        detail = f"token of {account}/{container}: {redact(url)} did not answer with a token"
        raise TileFault("read.denied", detail) from None


def _reason(error: HttpError) -> str:
    if error.status in {401, 403}:
        return "read.denied"
    return f"read.http_{error.status}" if error.status else f"read.{error.kind}"
