"""The ledger: what happened to each tile (DESIGN §5).

**A tile is done if and only if the key (tile, inputs) exists**: one record file, created
atomically after all of the tile's other files, and never overwritten. So what is left to do
is one listing and no reading, whoever asks, however the last run ended.

The one exception is damage from outside (a disk that lost a file's content in a power cut): a
record of zero bytes is not believed by the listing, and one that cannot be parsed, or whose
digest differs, is reported by whoever reads it, counts as absent there, and may be replaced.
"""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime  # noqa: TC003  (pydantic resolves it at run time)
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from eopipe import run_folder
from eopipe.canonical_json import canonical_json, digest
from eopipe.errors import DamageError, OutputError
from eopipe.redact import redact
from eopipe.run_folder import Key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from eopipe.storage import Storage

logger = logging.getLogger(__name__)

VERSION = 1
"""Version of the record's form; a reader refuses any other."""

READERS = 16
"""Threads that read records: an object store answers one request in 20-50 ms."""

_DETAIL_CHARACTERS = 500

Status = Literal["done", "empty", "masked"]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null")

    version: Literal[1] = 1
    tile: str
    inputs: str

    @property
    def key(self) -> Key:
        """Tile and inputs."""
        return Key(self.tile, self.inputs)

    def to_bytes(self) -> bytes:
        """JSON with sorted keys, and the digest by which damage is found."""
        body = self.model_dump(mode="json")
        return canonical_json({**body, "digest": _digest(body)}, ascii_only=True, finite=True)

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> Self:
        """Parse an entry.

        Raises:
            DamageError: It is empty, cut off, or not what was written.
            OutputError: It is of another version.
        """
        try:
            body = json.loads(data)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise DamageError(f"{where} is damaged: its {len(data)} bytes are no JSON object; {_REMEDY}")
        stated = body.pop("digest", None)
        if (found := body.get("version")) not in {VERSION, None}:
            raise OutputError(
                f"{where} has version {found!r}, and this eopipe reads {VERSION}; use the eopipe that wrote it"
            )
        if stated != _digest(body):
            raise DamageError(f"{where} is damaged: its digest is not that of its content; {_REMEDY}")
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise DamageError(f"{where} is damaged: {key}: {first['msg']}; {_REMEDY}") from None


_REMEDY = "run again, which does the tile anew"


class FileInfo(BaseModel):
    """One file that a tile's task wrote: path in the run's folder, bytes, sha256 (hex)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    path: str
    size: int
    sha256: str


class Record(_Entry):
    """What a tile's task did, once it was done.

    Args:
        tile: Tile name.
        inputs: Hash of the tile's inputs (hex).
        status: ``done``, ``empty`` (no scene covers it) or ``masked`` (no valid pixel).
        attempts: Attempts it took, the successful one included.
        seconds: Stage name to seconds.
        bytes_read: Bytes read from the assets (estimate of the reader).
        scenes: Row numbers of the snapshot.
        checksums: Array name (``label``, ``label/1`` …) to the hex checksum of its decoded values.
        histogram: Code to number of pixels inside the area.
        files: Asset name to file.
        lacks: Epochs of which no scene meets the tile, where a run compares several: why it is ``empty``.
        figures: What the kernel tells of how it went, such as how far two dates lie apart, in pixels.
        device: Instruction set or device; no host name.
        started: UTC.
        finished: UTC.
    """

    status: Status
    attempts: int = Field(default=1, ge=1)
    seconds: dict[str, float] = Field(default_factory=dict)
    bytes_read: int = Field(default=0, ge=0)
    scenes: tuple[int, ...] = ()
    checksums: dict[str, str] = Field(default_factory=dict)
    histogram: dict[int, int] = Field(default_factory=dict)
    files: dict[str, FileInfo] = Field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)
    device: str = ""
    started: datetime
    finished: datetime


class Failure(_Entry):
    """Why one attempt at a tile failed.

    Args:
        tile: Tile name.
        inputs: Hash of the tile's inputs (hex).
        attempt: Number of the attempt; :meth:`Ledger.fail` gives the next free one.
        reason: Code such as ``read.http_429`` or ``worker.killed``.
        stage: Where it stopped: ``read``, ``kernel``, ``write`` …
        detail: One line for people; query strings and user names of URLs are cut out, so no token is kept.
        time: UTC.
    """

    attempt: int = Field(default=1, ge=1)
    reason: str
    stage: str
    detail: str = ""
    time: datetime

    @field_validator("detail")
    @classmethod
    def _safe(cls, text: str) -> str:
        line = redact(" ".join(text.split()), queries=False)
        return line if len(line) <= _DETAIL_CHARACTERS else f"{line[: _DETAIL_CHARACTERS - 1]}…"


_E = TypeVar("_E", Record, Failure)


class Ledger:
    """The records of one run's folder. Picklable; holds nothing but the storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def done(self) -> set[Key]:
        """Keys of all tiles that are done: one listing, no reading; records of zero bytes do not count."""
        found: set[Key] = set()
        for path, size in self._storage.sizes(f"{run_folder.LEDGER}/"):
            key = run_folder.record_key(path)
            if key is None:
                continue
            if size:
                found.add(key)
            else:
                logger.warning("%s is empty, as after a power cut; its tile counts as not done", path)
        return found

    def has(self, tile: str, inputs: str) -> bool:
        """Whether this tile is done with these inputs, and its record is sound."""
        return self.get(tile, inputs) is not None

    def get(self, tile: str, inputs: str) -> Record | None:
        """The record; None where there is none, or (with a warning) where it is damaged."""
        try:
            return self.read(tile, inputs)
        except FileNotFoundError:
            return None
        except DamageError as error:
            logger.warning("%s", error)
            return None

    def read(self, tile: str, inputs: str) -> Record:
        """The record.

        Raises:
            FileNotFoundError: There is none.
            DamageError: It is damaged.
        """
        path = run_folder.record(tile, inputs)
        return self._check(Record.from_bytes(self._storage.get(path), path), path)

    def create(self, record: Record) -> bool:
        """Write a record, unless a sound one exists; it never replaces one.

        Returns:
            Whether it was written. Where not, the caller compares checksums with :meth:`get`.
        """
        path, data = run_folder.record(*record.key), record.to_bytes()
        if self._storage.create(path, data):
            return True
        existing = self.get(*record.key)
        if existing is not None:
            return existing == record  # equal: our own first attempt, of which the answer was lost
        try:
            _, version = self._storage.get_versioned(path)
        except FileNotFoundError:  # someone discarded the damaged one meanwhile
            return self._storage.create(path, data)
        return self._storage.swap(path, data, version)

    def discard(self, tile: str, inputs: str) -> None:
        """Delete a record, so that its tile is done anew (a repair after ``validate``)."""
        self._storage.delete(run_folder.record(tile, inputs))

    def fail(self, failure: Failure) -> Failure:
        """Write a failure under the next free attempt number, and return it as written."""
        for attempt in range(failure.attempt, failure.attempt + 10_000):
            numbered = failure.model_copy(update={"attempt": attempt})
            path = run_folder.failure(failure.tile, failure.inputs, attempt)
            if self._storage.create(path, numbered.to_bytes()):
                return numbered
        raise OutputError(f"{path} and 9,999 attempts before it exist; mend the cause and use a new output")

    def load_all(
        self, keys: Collection[Key] | None = None, *, damaged: Callable[[DamageError], None] | None = None
    ) -> list[Record]:
        """All records (or those of ``keys``), ordered by tile and inputs, read by several threads.

        Args:
            keys: Only these; one that has no record is left out.
            damaged: Called for each damaged record, which is left out; None logs a warning.
        """
        paths = [run_folder.record(*key) for key in sorted(self._listed() if keys is None else set(keys))]
        return self._load(Record, paths, damaged)

    def failures(self, *, damaged: Callable[[DamageError], None] | None = None) -> list[Failure]:
        """All failed attempts, ordered by tile, inputs and attempt."""
        listed = ((run_folder.failure_key(path), path) for path in self._storage.list(f"{run_folder.FAILED}/"))
        paths = [path for key, path in sorted((key, path) for key, path in listed if key is not None)]
        return self._load(Failure, paths, damaged)

    def write_parquet(self, keys: Collection[Key] | None = None) -> int:
        """Write ``ledger.parquet``: a row for each record, and one for the last failure of each tile not done.

        Args:
            keys: Only these, the run's present ones; None takes all.

        Returns:
            Number of rows.
        """
        from eopipe.engine.output.ledger_parquet import table_bytes  # noqa: PLC0415  (workers need no pyarrow for a record)

        records = self.load_all(keys)
        done = {record.key for record in records}
        last = {failure.key: failure for failure in self.failures()}  # ordered by attempt: the last one stays
        failed = [last[key] for key in sorted(last) if key not in done and (keys is None or key in keys)]
        self._storage.put(run_folder.LEDGER_TABLE, table_bytes(records, failed))
        return len(records) + len(failed)

    def _listed(self) -> set[Key]:
        found = map(run_folder.record_key, self._storage.list(f"{run_folder.LEDGER}/"))
        return {key for key in found if key is not None}

    def _load(self, kind: type[_E], paths: Iterable[str], damaged: Callable[[DamageError], None] | None) -> list[_E]:
        report = damaged or (lambda error: logger.warning("%s", error))

        def load(path: str) -> _E | DamageError | None:
            try:
                return self._check(kind.from_bytes(self._storage.get(path), path), path)
            except FileNotFoundError:
                return None
            except DamageError as error:
                return error

        entries: list[_E] = []
        with ThreadPoolExecutor(READERS, thread_name_prefix="ledger") as pool:
            for entry in pool.map(load, paths):
                if isinstance(entry, DamageError):
                    report(entry)
                elif entry is not None:
                    entries.append(entry)
        return entries

    @staticmethod
    def _check(entry: _E, path: str) -> _E:
        expected = (
            run_folder.failure(*entry.key, entry.attempt)
            if isinstance(entry, Failure)
            else run_folder.record(*entry.key)
        )
        if expected != path:
            raise DamageError(f"{path} is damaged: it holds the record of {expected}; {_REMEDY}")
        return entry


def _digest(body: dict[str, Any]) -> str:
    return digest(body, ascii_only=True, finite=True)[:16]
