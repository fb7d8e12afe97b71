"""The ledger as one Parquet table, for pandas, DuckDB and people (``OUT/ledger.parquet``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from eopipe.grid import Tile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.engine.output.record import Failure, Record

_TIME = pa.timestamp("us", tz="UTC")
_FILE = pa.struct([("path", pa.string()), ("size", pa.int64()), ("sha256", pa.string())])

SCHEMA = pa.schema(
    [
        ("tile", pa.string()),
        ("row", pa.int32()),
        ("col", pa.int32()),
        ("inputs", pa.string()),
        ("status", pa.string()),  # done, empty, masked, failed
        ("reason", pa.string()),  # of a failure, and of an empty tile that lacks an epoch; else null
        ("stage", pa.string()),
        ("detail", pa.string()),
        ("attempts", pa.int32()),
        ("seconds", pa.float64()),  # of all stages
        ("stages", pa.map_(pa.string(), pa.float64())),
        ("bytes_read", pa.int64()),
        ("scenes", pa.list_(pa.int32())),
        ("checksums", pa.map_(pa.string(), pa.string())),
        ("histogram", pa.map_(pa.int16(), pa.int64())),
        ("files", pa.map_(pa.string(), _FILE)),
        ("figures", pa.map_(pa.string(), pa.float64())),
        ("device", pa.string()),
        ("started", _TIME),
        ("finished", _TIME),
    ]
)
"""Columns of ``ledger.parquet``; one row a tile."""


def table_bytes(records: Sequence[Record], failed: Sequence[Failure]) -> bytes:
    """Encode records and failures as one Parquet file, ordered by tile row, column and inputs."""
    rows = [_done_row(record) for record in records] + [_failed_row(failure) for failure in failed]
    rows.sort(key=lambda row: (row["row"], row["col"], row["inputs"]))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), sink, compression="zstd")
    return bytes(sink.getvalue().to_pybytes())


def _done_row(record: Record) -> dict[str, Any]:
    fields = record.model_dump()
    maps = {name: list(fields[name].items()) for name in ("checksums", "histogram", "files", "figures")}
    return {
        **fields,
        **_square(record.tile),
        **maps,
        "reason": f"lacks {', '.join(record.lacks)}" if record.lacks else None,
        "seconds": sum(record.seconds.values()),
        "stages": list(record.seconds.items()),
    }


def _failed_row(failure: Failure) -> dict[str, Any]:
    return {
        **_square(failure.tile),
        "inputs": failure.inputs,
        "status": "failed",
        "reason": failure.reason,
        "stage": failure.stage,
        "detail": failure.detail,
        "attempts": failure.attempt,
        "finished": failure.time,
    }


def _square(name: str) -> dict[str, Any]:
    tile = Tile.parse(name)
    return {"tile": name, "row": tile.row, "col": tile.col}
