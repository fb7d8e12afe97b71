"""Where everything lies in a run's folder: the names, in one place, and what is recorded of a file.

Every path is relative to the run's folder, with ``/`` between its parts, as
:class:`eopipe.storage.Storage` takes them. Scripts outside eopipe rely on these names.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from eopipe.grid import Tile

RUN = "run.json"
LEASE = "lease.json"
SESSIONS = "sessions"
SNAPSHOTS = "snapshots"
VERSIONS = "versions"
STATISTICS = "statistics"
MOSAIC = "mosaic.zarr"
FEATURES = "features.zarr"
LEDGER = "ledger"
FAILED = f"{LEDGER}/failed"
LEDGER_TABLE = "ledger.parquet"
COGS = "cog"
OBJECTS = "objects"
MERGED = "objects.parquet"
STAC = "stac"
COLLECTION = f"{STAC}/collection.json"
STAC_ITEMS = f"{STAC}/items"
STAC_TABLE = f"{STAC}/items.parquet"
QUICKLOOK = "quicklook.png"
PROBES = "probes"
"""What the preflight writes and deletes again."""

_TILE = r"r-?\d{5,}c-?\d{5,}"
_RECORD = re.compile(rf"^(?:{LEDGER}/)?(r-?\d{{5,}})/({_TILE})\.([0-9a-f]+)\.json$")
_SUMS = re.compile(rf"^{STATISTICS}/([a-z0-9-]+)/({_TILE})\.([0-9a-f]+)\.json$")
_SUMS_FAILURE = re.compile(rf"^{STATISTICS}/([a-z0-9-]+)/failed/({_TILE})\.([0-9a-f]+)\.(\d+)\.json$")
_FAILURE = re.compile(rf"^(?:{FAILED}/)?({_TILE})\.([0-9a-f]+)\.(\d+)\.json$")


class Key(NamedTuple):
    """What is done or not: a tile and the hash of its inputs."""

    tile: str
    inputs: str


@dataclass(frozen=True)
class OutputFile:
    """A file of the run's folder: path relative to the folder, bytes, sha256 (hex)."""

    path: str
    size: int
    sha256: str

    @classmethod
    def of(cls, path: str, data: bytes) -> OutputFile:
        """The file that holds these bytes."""
        return cls(path, len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True)
class MergedObjects:
    """All objects that a run found.

    Args:
        file: GeoParquet.
        count: Objects in it.
        sources: A hash over the tiles' files that it was made of.
    """

    file: OutputFile
    count: int
    sources: str


def session(started: datetime) -> str:
    """A session's file, such as ``sessions/20250930T120000.000000Z.json``; ``started`` is UTC."""
    return f"{SESSIONS}/{started:%Y%m%dT%H%M%S.%f}Z.json"


def snapshot(snapshot_hash: str) -> str:
    """Folder of a frozen snapshot."""
    return f"{SNAPSHOTS}/{snapshot_hash}"


def version(number: int) -> str:
    """File that says which snapshot version ``number`` uses; a run writes 1."""
    return f"{VERSIONS}/{number}.json"


def statistics(stage: str, block: str, inputs: str) -> str:
    """Sums of one block and statistics stage."""
    return f"{STATISTICS}/{stage}/{block}.{inputs}.json"


def statistics_key(path: str) -> tuple[str, Key] | None:
    """Stage, and block and inputs, of the path of sums; None where it is none."""
    match = _SUMS.match(path)
    return (match[1], Key(match[2], match[3])) if match else None


def statistics_failures(stage: str) -> str:
    """Folder of a stage's failed attempts."""
    return f"{STATISTICS}/{stage}/failed"


def statistics_failure(stage: str, block: str, inputs: str, attempt: int) -> str:
    """Record of a block's failed attempt, counted from 1."""
    return f"{statistics_failures(stage)}/{block}.{inputs}.{attempt}.json"


def statistics_failure_key(path: str) -> tuple[str, Key, int] | None:
    """Stage, block and inputs, and attempt of a failure's path; None where it is none."""
    match = _SUMS_FAILURE.match(path)
    return (match[1], Key(match[2], match[3]), int(match[4])) if match else None


def record(tile: str, inputs: str) -> str:
    """A tile's ledger record, such as ``ledger/r-00472/r-00472c00059.<inputs>.json``."""
    return f"{LEDGER}/{_row(tile)}/{tile}.{inputs}.json"


def record_key(path: str) -> Key | None:
    """Key of a path (relative to the run's folder or to ``ledger/``); None where it is no record."""
    match = _RECORD.match(path)
    if match is None or not match[2].startswith(f"{match[1]}c"):
        return None
    return Key(match[2], match[3])


def failure(tile: str, inputs: str, attempt: int) -> str:
    """Record of a tile's failed attempt, counted from 1."""
    return f"{FAILED}/{tile}.{inputs}.{attempt}.json"


def failure_key(path: str) -> tuple[Key, int] | None:
    """Key and attempt of a failure's path; None where it is none."""
    match = _FAILURE.match(path)
    return (Key(match[1], match[2]), int(match[3])) if match else None


def cog(tile: Tile, inputs: str) -> str:
    """A tile's cloud-optimised GeoTIFF."""
    return f"{COGS}/{tile.name}-{inputs}.tif"


def objects(tile: Tile, inputs: str) -> str:
    """A tile's vectors."""
    return f"{OBJECTS}/{tile.name}.{inputs}.parquet"


def stac_item(tile: Tile) -> str:
    """A tile's STAC Item; one folder a row, as in the ledger."""
    return f"{STAC_ITEMS}/{_row(tile.name)}/{tile.name}.json"


def probe(name: str) -> str:
    """A file by which the preflight shows that a worker and the driver share the folder."""
    return f"{PROBES}/{name}.json"


def _row(tile: str) -> str:
    return tile.split("c", maxsplit=1)[0]
