"""Items as one stac-geoparquet file, by way of a file of lines: memory does not grow with their number."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from stac_geoparquet.arrow import parse_stac_ndjson_to_parquet

if TYPE_CHECKING:
    from collections.abc import Iterable

    from eopipe.storage import Storage

_CHUNK = 2000


class ItemTable:
    """Collects Items in a scratch folder, then writes them as a whole; a context manager.

    Args:
        typical: So many first Items hold a value in every field that any Item does.
    """

    def __init__(self, typical: int) -> None:
        self._typical = typical
        self._scratch = tempfile.TemporaryDirectory(prefix="eopipe-stac-")
        self._lines = Path(self._scratch.name) / "items.ndjson"
        self._file = self._lines.open("w", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._scratch.cleanup()

    def add(self, items: Iterable[dict[str, Any]]) -> None:
        """Append Items, hrefs relative to where the table will lie."""
        self._file.writelines(f"{json.dumps(item)}\n" for item in items)

    def save(self, storage: Storage, path: str) -> None:
        """Convert and store."""
        self._file.close()
        target = Path(self._scratch.name) / "items.parquet"
        parse_stac_ndjson_to_parquet(self._lines, target, chunk_size=_CHUNK, limit=self._typical, compression="zstd")
        storage.upload(path, target)
