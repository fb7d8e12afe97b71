"""A model of GDAL's cache of network regions, for the estimate of requests."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

CHUNK = 16384
"""Bytes of a region: GDAL rounds what it asks for to whole ones."""


class Regions:
    """GDAL's cache of network regions: 16 kB chunks, least recently used goes first.

    Args:
        size: Bytes that it holds.
    """

    def __init__(self, size: int) -> None:
        self._most = max(1, size // CHUNK)
        self._held: OrderedDict[tuple[str, int], None] = OrderedDict()

    def read(self, href: str, start: int, stop: int, *, whole: int | None = None) -> tuple[int, int]:
        """Read a range through the cache: (requests, bytes)."""
        first, last = start // CHUNK, (stop - 1) // CHUNK
        missing = [n for n in range(first, last + 1) if not self._touch(href, n)]
        if not missing:
            return 0, 0
        requests = 1 + sum(b != a + 1 for a, b in pairwise(missing))
        size = len(missing) * CHUNK
        return requests, size if whole is None else min(size, whole)

    def _touch(self, href: str, chunk: int) -> bool:
        key = (href, chunk)
        held = key in self._held
        self._held[key] = None
        self._held.move_to_end(key)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        return held
