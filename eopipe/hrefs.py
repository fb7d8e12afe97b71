"""One spelling of an address, however a catalogue writes it.

Catalogues write hrefs as people read them: with spaces and letters beyond ASCII, as ``file://`` URIs with percent
escapes, with ``#`` in a file's name. The same file must be one address, since a file is opened once an address, and
GDAL's network layer takes URLs of ASCII only.
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote, unquote_to_bytes, urlsplit

_PATH_SAFE = "/%:@!$&'()*+,;=~|[]"
_QUERY_SAFE = f"{_PATH_SAFE}?"
_NO_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_RASTER = re.compile(r"\.(tiff?|jp2|j2k)$", re.IGNORECASE)
_LOCAL_HOSTS = ("", "localhost")


def canonical_href(href: str) -> str:
    """One spelling of an address; an address that is canonical already stays as it is.

    - ``http``, ``https``: what a URL may not hold is percent-encoded; existing escapes stay, and so does a query,
      which may be signed. A ``#`` belongs to the file's name, unless a raster's ending stands before it.
    - ``file``: a local path, its escapes decoded.
    - a local path: as it stands; a path with escapes that does not exist while the decoded one does is decoded.
    - ``s3``, ``gs``, ``az`` …: the key as it stands, since a key may hold any character.

    Args:
        href: An absolute address or local path.
    """
    scheme = href.partition(":")[0].lower()
    if scheme in {"http", "https"} and "://" in href:
        return _web(href)
    if scheme == "file":
        return _local(href)
    if "://" in href or "%" not in href or os.path.lexists(href):
        return href
    decoded = _decoded(href)
    return decoded if os.path.lexists(decoded) else href


def decoded_key(href: str) -> str | None:
    """An object's address with the escapes of its key decoded: what a provider that encodes keys means; or None."""
    scheme, mark, rest = href.partition("://")
    if not mark or scheme.lower() in {"http", "https", "file"} or not _ESCAPE.search(rest):
        return None
    return f"{scheme}://{_decoded(rest)}"


def _web(href: str) -> str:
    scheme, _, rest = href.partition("://")
    host, slash, tail = rest.partition("/")
    if "?" in host or "#" in host:
        return href
    path, mark, query = tail.partition("?")
    before, hash_mark, fragment = path.partition("#")
    if hash_mark and _RASTER.search(before):
        path = before
    elif hash_mark:
        path = f"{before}%23{fragment.replace('#', '%23')}"
    query = query.partition("#")[0]
    path = _ESCAPE.sub(lambda match: match[0].upper(), _NO_ESCAPE.sub("%25", quote(path, safe=_PATH_SAFE)))
    return f"{scheme.lower()}://{_host(host)}{slash}{path}{mark}{quote(query, safe=_QUERY_SAFE)}"


def _host(netloc: str) -> str:
    user, at, host = netloc.rpartition("@")
    if not host.isascii():
        name, colon, port = host.partition(":")
        host = f"{name.encode('idna').decode()}{colon}{port}"
    return f"{user}{at}{host.lower()}"


def _local(href: str) -> str:
    path = href.partition(":")[2]
    if path.startswith("//"):
        host, slash, tail = path[2:].partition("/")
        if host.lower() not in _LOCAL_HOSTS:
            return href
        path = f"{slash}{tail}"
    decoded = _decoded(path)
    # Written without encoding, a name may hold a percent sign itself.
    return path if decoded != path and not os.path.lexists(decoded) and os.path.lexists(path) else decoded


def _decoded(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))


def host_of(href: str) -> str:
    """Host of a web address, in small letters; empty of any other address."""
    url = urlsplit(href) if href.startswith(("http://", "https://")) else None
    return (url.hostname or "") if url else ""
