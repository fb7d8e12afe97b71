"""Small requests that find out why a read failed.

GDAL reports a data request that failed with 429 or 503 as missing bytes, a connection
that was reset while the header was read as "not a supported format", and a login page as that too. So when a file
looks truncated or damaged, the server is asked once for a few of its bytes, and its answer, if it is a
bad one, is what the fault says. A server that refuses HEAD, by which GDAL asks for a file's size, is asked by GET.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import requests
from requests import exceptions
from urllib3.exceptions import IncompleteRead

from eopipe.credentials import HostSession
from eopipe.cube.access import is_login, missing_credentials, speaks_of_login
from eopipe.errors import TileFault
from eopipe.redact import bare_url, redact_record

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses after which trying again may help."""

NO_HEAD = frozenset({f"read.http_{status}" for status in (400, 401, 403, 405, 501)})
"""Reasons by which a server may have refused HEAD alone."""

_AT = 40_000
_LENGTH = 16
_PAGE = 2048
_SECONDS = 10.0
_PAGES = ("<!doctype html", "<html")


logging.getLogger("urllib3.connectionpool").addFilter(redact_record)


@dataclass(frozen=True)
class _Answer:
    """A server's answer: status, final address, whether it is a web page, and its first bytes."""

    status: int
    url: str
    page: bool
    challenged: bool
    body: bytes


def probe(signed: str, href: str) -> TileFault | None:
    """Ask for 16 bytes behind the header of a file, and for its first ones.

    Args:
        signed: Address to ask.
        href: The same, unsigned, for the message.

    Returns:
        The fault that the answer means; None where the answer is good, or where the address is not HTTP.
    """
    if not signed.startswith(("http://", "https://")):
        return None
    try:
        return _fault(_ask(signed, _AT), href) or _fault(_ask(signed, 0), href)
    except exceptions.Timeout:
        return TileFault("read.timeout", f"{bare_url(href)}: no answer within {_SECONDS:g} s", transient=True)
    except (exceptions.RequestException, OSError) as error:
        return TileFault("read.reset", f"{bare_url(href)}: {type(error).__name__}", transient=True)


def _ask(signed: str, at: int) -> _Answer:
    headers = {"Range": f"bytes={at}-{at + _LENGTH - 1}", "Accept-Encoding": "identity"}
    with HostSession() as session, session.get(signed, headers=headers, timeout=_SECONDS, stream=True) as answer:
        kind = answer.headers.get("Content-Type", "").lower()
        body = _beginning(answer)
        page = "html" in kind or body.lstrip()[:20].lower().startswith(tuple(text.encode() for text in _PAGES))
        return _Answer(answer.status_code, answer.url, page, "WWW-Authenticate" in answer.headers, body)


def _beginning(answer: requests.Response) -> bytes:
    """First bytes of a body; fewer where the server sends less than it announced, which GDAL reports itself."""
    try:
        return next(answer.iter_content(_PAGE), b"")
    except exceptions.ChunkedEncodingError as error:
        causes = [*error.args, *(cause for inner in error.args for cause in getattr(inner, "args", ()))]
        if any(isinstance(cause, IncompleteRead) for cause in causes):
            return b""
        raise


def _fault(answer: _Answer, href: str) -> TileFault | None:
    status = answer.status
    if answer.url and is_login(answer.url) and not is_login(href) and (answer.page or status in {401, 403}):
        return missing_credentials(href, f"the server sends readers to {bare_url(answer.url)}")
    if answer.page and (status < 300 or (status in {401, 403} and speaks_of_login(answer.body))):
        return missing_credentials(href, "a web page came instead of the file")
    if status == 401 and answer.challenged:
        return missing_credentials(href, "HTTP 401")
    # 416: the file ends before this range.
    return None if status < 300 or status == 416 else http_fault(status, bare_url(href))


def http_fault(status: int, where: str) -> TileFault:
    """The fault that an HTTP status means."""
    return TileFault(f"read.http_{status}", f"{where}: HTTP {status}", transient=status in TRANSIENT)
