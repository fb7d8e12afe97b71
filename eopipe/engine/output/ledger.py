"""The ledger: what happened to each tile.

**A tile is done if and only if the key (tile, inputs) exists**: one record file, created
atomically after all of the tile's other files, and never overwritten. So what is left to do
is one listing and no reading, however the last run ended.

The one exception is damage from outside (a disk that lost a file's content in a power cut): a
record of zero bytes is not believed by the listing, and one that cannot be parsed, or whose
digest differs, is reported when it is read, counts as absent, and may be replaced.
"""

from __future__ import annotations

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from eopipe import run_folder
from eopipe.engine.output.ledger_parquet import table_bytes
from eopipe.engine.output.record import REMEDY, Failure, Outcome, Record
from eopipe.errors import DamageError, OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from eopipe.run_folder import Key
    from eopipe.storage import Storage

logger = logging.getLogger(__name__)

READERS = 16
"""Threads that read records: an object store answers one request in 20-50 ms."""

ATTEMPTS = 10_000
"""A failure that finds so many before it is not written."""

_E = TypeVar("_E", Record, Failure)


class Ledger:
    """The records of one run's folder. Picklable; holds nothing but the storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def done(self) -> set[Key]:
        """Keys of all tiles that are done: one listing, no reading; records of zero bytes do not count."""
        keys: set[Key] = set()
        for path, size in self._storage.sizes(f"{run_folder.LEDGER}/"):
            key = run_folder.record_key(path)
            if key is None:
                continue
            if size:
                keys.add(key)
            else:
                logger.warning("%s is empty, as after a power cut; its tile counts as not done", path)
        return keys

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
        except FileNotFoundError:  # the damaged one was deleted meanwhile
            return self._storage.create(path, data)
        return self._storage.swap(path, data, version)

    def fail(self, failure: Failure) -> Failure:
        """Write a failure under the next free attempt number, and return it as written."""
        return write_failure(self._storage, partial(run_folder.failure, *failure.key), failure)

    def attempts(self) -> Counter[Key]:
        """Failed attempts so far, by key: one listing, no reading."""
        keys = map(run_folder.failure_key, self._storage.list(f"{run_folder.FAILED}/"))
        return Counter(key[0] for key in keys if key is not None)

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

    def failures(self) -> list[Failure]:
        """All failed attempts, ordered by tile, inputs and attempt."""
        listed = ((run_folder.failure_key(path), path) for path in self._storage.list(f"{run_folder.FAILED}/"))
        paths = [path for key, path in sorted((key, path) for key, path in listed if key is not None)]
        return self._load(Failure, paths, None)

    def outcome(self, keys: Collection[Key] | None = None) -> Outcome:
        """Where tiles stand, read from their records and failures.

        Args:
            keys: A run's present ones; None takes all that the folder holds.
        """
        records = {record.key: record for record in self.load_all(keys)}
        failures = {failure.key: failure for failure in self.failures()}  # ordered by attempt: the last one stays
        everything = {*records, *failures} if keys is None else set(keys)
        left = failures.keys() & everything - records.keys()
        return Outcome(everything, records, {key: failures[key] for key in sorted(left)})

    def write_parquet(self, outcome: Outcome) -> int:
        """Write ``ledger.parquet``: a row for each record, and one for the last failure of each tile not done.

        Returns:
            Number of rows.
        """
        rows = table_bytes(list(outcome.records.values()), list(outcome.failures.values()))
        self._storage.put(run_folder.LEDGER_TABLE, rows)
        return len(outcome.records) + len(outcome.failures)

    def _listed(self) -> set[Key]:
        keys = map(run_folder.record_key, self._storage.list(f"{run_folder.LEDGER}/"))
        return {key for key in keys if key is not None}

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
            raise DamageError(f"{path} is damaged: it holds the record of {expected}; {REMEDY}")
        return entry


def write_failure(storage: Storage, path_of: Callable[[int], str], failure: Failure) -> Failure:
    """Write a failure, a tile's or a block's, under the next free attempt number.

    Args:
        storage: The run's folder.
        path_of: Path of a numbered attempt.
        failure: With the first number to try.

    Returns:
        The failure as written.

    Raises:
        OutputError: The folder cannot be written, or all numbers are taken.
    """
    for attempt in range(failure.attempt, failure.attempt + ATTEMPTS):
        numbered = failure.model_copy(update={"attempt": attempt})
        if storage.create(path_of(attempt), numbered.to_bytes()):
            return numbered
    raise OutputError(
        f"{path_of(attempt)} and {ATTEMPTS - 1:,} attempts before it exist; remove the cause and use a new output"
    )
