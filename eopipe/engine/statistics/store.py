"""``OUT/statistics``: a block is measured if and only if the file of its present inputs exists.

As in the ledger: one file, created atomically and never overwritten, so what is left to do is one listing. Failed
attempts stand beside it, in ``<stage>/failed``.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from eopipe import run_folder
from eopipe.engine.output.ledger import Failure
from eopipe.engine.statistics.block_file import BlockSums
from eopipe.errors import DamageError, OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.run_folder import Key
    from eopipe.storage import Storage

logger = logging.getLogger(__name__)


class StatisticsStore:
    """The statistics of one run's folder. Picklable; holds nothing but the storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def done(self) -> set[tuple[str, str, str]]:
        """Stage, block and inputs of all that was measured: one listing; files of zero bytes do not count."""
        found = (
            (run_folder.statistics_key(path), size) for path, size in self._storage.sizes(f"{run_folder.STATISTICS}/")
        )
        return {(known[0], *known[1]) for known, size in found if known is not None and size}

    def get(self, stage: str, block: str, inputs: str) -> BlockSums:
        """A block's sums.

        Raises:
            FileNotFoundError: It was not measured.
            DamageError: The file is damaged, or another block's.
        """
        path = run_folder.statistics(stage, block, inputs)
        found = BlockSums.from_bytes(self._storage.get(path), self._storage.url(path))
        if (found.stage, found.block, found.inputs) != (stage, block, inputs):
            raise DamageError(f"{self._storage.url(path)} holds the sums of {found.stage} {found.block}; delete it")
        return found

    def create(self, found: BlockSums) -> str:
        """Write a block's sums, unless sound ones exist; never replaces those.

        Returns:
            A warning where another wrote other bytes for the same inputs, else nothing.
        """
        path, data = run_folder.statistics(found.stage, found.block, found.inputs), found.to_bytes()
        if self._storage.create(path, data):
            return ""
        try:
            other = self.get(found.stage, found.block, found.inputs)
        except DamageError as error:
            logger.warning("%s", error)
            _, version = self._storage.get_versioned(path)
            self._storage.swap(path, data, version)
            return ""
        if other.to_bytes() == data:
            return ""
        return f"write.nondeterministic: stage {found.stage}, block {found.block} was measured with other sums before"

    def fail(self, stage: str, failure: Failure) -> None:
        """Write a failure under the next free attempt number; its ``tile`` is the block."""
        for attempt in range(failure.attempt, failure.attempt + 10_000):
            numbered = failure.model_copy(update={"attempt": attempt})
            path = run_folder.statistics_failure(stage, *failure.key, attempt)
            if self._storage.create(path, numbered.to_bytes()):
                return
        raise OutputError(f"{path} and 9,999 attempts before it exist; mend the cause and use a new output")

    def failure(self, stage: str, key: Key) -> Failure | None:
        """The last failed attempt at a block; None where there was none."""
        found = ((run_folder.statistics_failure_key(path), path) for path in self._failures(stage))
        attempts = {known[2]: path for known, path in found if known is not None and known[:2] == (stage, key)}
        if not attempts:
            return None
        path = attempts[max(attempts)]
        return Failure.from_bytes(self._storage.get(path), path)

    def failed(self, stage: str) -> set[Key]:
        """Blocks and inputs of all that failed once: some may be measured by now."""
        found = map(run_folder.statistics_failure_key, self._failures(stage))
        return {known[1] for known in found if known is not None}

    def _failures(self, stage: str) -> Iterator[str]:
        return self._storage.list(f"{run_folder.statistics_failures(stage)}/")
