"""stac-geoparquet files: one table of items, local or remote."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from stac_geoparquet.arrow import stac_table_to_items

from eopipe.errors import CatalogError, one_line
from eopipe.redact import unsign
from eopipe.stac.item_assets import ItemAssets
from eopipe.stac.question import CatalogItem, Question, self_link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from eopipe.stac.static import Documents

_NEEDED = ("id", "geometry", "assets", "bbox")
_ROWS = 4096


class GeoparquetFile:
    """A stac-geoparquet file, or a folder of them.

    The items are what the file holds: such a file keeps types by column, so a provider's ``1`` may have become
    ``1.0`` before it came here. The snapshot freezes the items as read from the file.

    Args:
        url: Address of the file; absolute.
        documents: How to read it where it is remote.
    """

    def __init__(self, url: str, documents: Documents) -> None:
        self._url, self._documents = url, documents
        self.warnings: list[str] = []
        self.item_assets = ItemAssets()

    def items(self, question: Question) -> Iterator[CatalogItem]:
        """Items that match. Place, time, id and collection are tested by column before any item is made.

        Raises:
            CatalogError: The file cannot be read, or is no stac-geoparquet.
            SpecError: A collection does not exist, or more than ``max_items`` match.
        """
        known: set[str] = set()
        yield from question.limited(self._matching(question, known))
        question.refuse_unknown(known, self._url)

    def completed(self, entry: CatalogItem) -> dict[str, Any]:
        """An item with what its Collection, where the file holds it, states of its assets."""
        return self.item_assets.complete(entry)

    def _matching(self, question: Question, known: set[str]) -> Iterator[CatalogItem]:
        for table in self._tables():
            names = _texts(table, "collection")
            known.update(filter(None, names.tolist()))
            chosen = table.take(pa.array(np.flatnonzero(_candidates(table, names, question))))
            for row in stac_table_to_items(chosen) if chosen.num_rows else ():
                item = _without_nulls(row)
                entry = question.judge(CatalogItem(item, self_link(item) or f"{self._url}#{item.get('id')}"))
                if entry is not None:
                    yield entry

    def _tables(self) -> Iterator[pa.Table]:
        file = self._open()
        for collection in _collections(file.schema_arrow.metadata or {}):
            self.item_assets.add(collection)
        missing = [name for name in _NEEDED if name not in file.schema_arrow.names]
        if missing:
            raise CatalogError(
                f"catalog {unsign(self._url)} is no stac-geoparquet: it has no column {missing[0]!r}; "
                "write it with stac-geoparquet or rustac"
            )
        try:
            for batch in file.iter_batches(batch_size=_ROWS):
                yield pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from None

    def _open(self) -> pq.ParquetFile:
        try:
            if "://" not in self._url:
                source: Any = pa.memory_map(str(Path(self._url)))
            else:
                source = io.BytesIO(self._documents.bytes(self._url))
            return pq.ParquetFile(source)
        except (pa.ArrowException, OSError) as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> CatalogError:
        reason = one_line(error, 200)
        return CatalogError(f"catalog {unsign(self._url)} cannot be read as parquet ({reason}); give a whole file")


def _collections(metadata: Mapping[bytes, bytes]) -> list[dict[str, Any]]:
    """Collections that a file holds in its metadata (stac-geoparquet 1.0 has one, 1.1 any number by id)."""
    documents: list[Any] = []
    for key in (b"stac-geoparquet", b"stac:collection", b"stac:collections"):
        try:
            held = json.loads(metadata.get(key, b"{}"))
        except ValueError:
            continue
        several = held.get("collections") if key == b"stac-geoparquet" and isinstance(held, dict) else held
        documents += [held, *(several.values() if isinstance(several, dict) else ())]
        documents += [held.get("collection")] if isinstance(held, dict) else []
    return [entry for entry in documents if isinstance(entry, dict) and "item_assets" in entry and "id" in entry]


def _candidates(table: pa.Table, names: NDArray[Any], question: Question) -> NDArray[np.bool_]:
    chosen = np.ones(table.num_rows, dtype=bool)
    if question.collections:
        chosen &= np.isin(names.astype(str), question.collections)
    if question.ids is not None:
        chosen &= np.isin(_texts(table, "id").astype(str), sorted(question.ids))
    bbox = table.column("bbox").combine_chunks()
    if pa.types.is_struct(bbox.type):
        chosen &= _in_box(bbox, question.area.geometry.bounds)
    return chosen


def _in_box(bbox: Any, area: tuple[float, float, float, float]) -> NDArray[np.bool_]:
    west, south, east, north = (
        pc.struct_field(bbox, side).to_numpy(zero_copy_only=False) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    with np.errstate(invalid="ignore"):
        # of a box that is wide, or lies beyond 180 degrees, only the geometry says where the item is
        plain = (west <= east) & (east - west <= 180) & (west >= -180) & (east <= 180)
        beside = ((east < area[0]) | (west > area[2])) & plain
        apart: NDArray[np.bool_] = beside | (north < area[1]) | (south > area[3])
    return ~apart


def _texts(table: pa.Table, name: str) -> NDArray[Any]:
    if name not in table.column_names:
        return np.full(table.num_rows, "", dtype=object)
    texts: NDArray[Any] = table.column(name).cast(pa.string()).to_numpy()
    return texts


def _without_nulls(value: Any) -> Any:
    """A table has every column in every row; what an item did not have came back as null.

    ``datetime`` is kept as null, which STAC demands of an item with a range.
    """
    if isinstance(value, dict):
        return {
            key: _without_nulls(member)
            for key, member in value.items()
            if member is not None or key in {"datetime", "geometry"}
        }
    if isinstance(value, list):
        return list(map(_without_nulls, value))
    return value
