"""Hashes of items, their JSON as received, and absolute hrefs."""

from __future__ import annotations

import json
import posixpath
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from eopipe.canonical_json import digest

if TYPE_CHECKING:
    from collections.abc import Mapping


_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|file:/|data:|/vsi")


def item_hash(item: Mapping[str, Any]) -> str:
    """sha256 (hex) of the item's canonical JSON: stable under key order, and under where its folder lies.

    The item is taken as received, relative hrefs and all; signatures must have been removed before.
    """
    return digest(item)


def verbatim_json(item: Mapping[str, Any]) -> str:
    """The item as one line of JSON, keys in the order received."""
    text = json.dumps(item, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can write and UTF-8 cannot
        return json.dumps(item, separators=(",", ":"))
    return text


def resolve_href(href: str, base: str | None) -> str:
    """Make an href absolute against the address of the document that holds it.

    Args:
        href: As written in the document; URLs, ``/vsi…`` and other absolute paths are returned as they are.
        base: Address of the document: a URL of any scheme or an absolute local path; None leaves the href.
    """
    if base is None or _ABSOLUTE.match(href):
        return href
    if base.startswith(("http://", "https://")):
        return urljoin(base, href)
    if href.startswith("/"):
        return href
    scheme, mark, path = base.rpartition("://")
    return f"{scheme}{mark}{posixpath.normpath(posixpath.join(posixpath.dirname(path), href))}"


def make_assets_absolute(item: dict[str, Any], base: str | None) -> None:
    """Make the hrefs of the assets, and of their alternates, absolute; changes the item."""
    for asset in item.get("assets", {}).values():
        alternates = asset.get("alternate")
        for file in (asset, *(alternates.values() if isinstance(alternates, dict) else ())):
            if isinstance(file, dict) and isinstance(file.get("href"), str):
                file["href"] = resolve_href(file["href"], base)
