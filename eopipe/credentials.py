"""Credentials for web servers from the environment: headers and bearer tokens by host.

Catalogues and files are asked with the same ones. A header goes to the host that it is stated for and to no other,
redirects included. Beside these, ``~/.netrc`` (or ``NETRC``) is heeded by the libraries that send the requests.
"""

from __future__ import annotations

import json
import os
from typing import Any
from urllib.parse import urlsplit

import requests

from eopipe.errors import SpecError

TOKENS = "EOPIPE_HTTP_TOKENS"
"""``host=token``, several with commas or spaces between; ``.domain=token`` is for all hosts of a domain."""

HEADERS = "EOPIPE_HTTP_HEADERS"
"""JSON: host (or ``.domain``) to headers, such as ``{"data.example.org": {"X-Api-Key": "…"}}``."""

_TOKENS_OF = {"EARTHDATA_TOKEN": (".earthdata.nasa.gov", ".earthdatacloud.nasa.gov")}
"""Variables of other tools that hold a token, and the domains that it is for."""


def headers_for(url: str) -> dict[str, str]:
    """Headers that the environment states for a web address; none of any other address.

    Raises:
        SpecError: A variable cannot be read; its value is not repeated.
    """
    if not url.startswith(("http://", "https://")):
        return {}
    address = urlsplit(url)
    host, netloc = address.hostname or "", address.netloc.rpartition("@")[2]
    headers: dict[str, str] = {}
    for pattern, token in _tokens():
        if _fits(pattern, host, netloc):
            headers["Authorization"] = f"Bearer {token}"
    for pattern, stated in _headers().items():
        if _fits(pattern, host, netloc):
            headers.update(stated)
    return headers


class HostSession(requests.Session):
    """Sends the headers that the environment states for a host to that host alone, also after a redirect."""

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare a request, with the headers of its host."""
        prepared = super().prepare_request(request)
        prepared.headers.update(headers_for(str(prepared.url)))
        return prepared

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> Any:
        """Take the former host's headers off a redirected request, and add the new one's."""
        for name in headers_for(str(response.request.url)):
            prepared_request.headers.pop(name, None)
        super().rebuild_auth(prepared_request, response)
        prepared_request.headers.update(headers_for(str(prepared_request.url)))


def _fits(pattern: str, host: str, netloc: str) -> bool:
    pattern = pattern.lower()
    return host.endswith(pattern) or host == pattern[1:] if pattern.startswith(".") else pattern in {host, netloc}


def _tokens() -> list[tuple[str, str]]:
    pairs = [
        (domain, token)
        for name, domains in _TOKENS_OF.items()
        if (token := os.environ.get(name, "").strip())
        for domain in domains
    ]
    for entry in os.environ.get(TOKENS, "").replace(",", " ").split():
        host, mark, token = entry.partition("=")
        if not (host and mark and token):
            raise SpecError(f"{TOKENS} has an entry that is not host=token; write such as stac.example.org=TOKEN")
        pairs.append((host, token))
    return pairs


def _headers() -> dict[str, dict[str, str]]:
    text = os.environ.get(HEADERS, "")
    if not text.strip():
        return {}
    try:
        document = json.loads(text)
        return {host: {name: str(value) for name, value in headers.items()} for host, headers in document.items()}
    except (ValueError, AttributeError):
        raise SpecError(
            f'{HEADERS} is no JSON object of hosts and headers; write such as {{"host": {{"X-Api-Key": "KEY"}}}}'
        ) from None
