"""``OUT/statistics``: a block is measured if and only if the file of its present inputs exists.

As in the ledger: one file, created atomically and never overwritten, so what is left to do is one listing. Failed
attempts stand beside it, in ``<stage>/failed``.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from eopipe import run_folder
from eopipe.engine.output.ledger import write_failure
from eopipe.engine.output.record import Failure
from eopipe.engine.statistics.block_file import BlockSums
from eopipe.errors import DamageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.run_folder import Key
    from eopipe.storage import Storage

logger = logging.getLogger(__name__)


class StatisticsStore:
    """The statistics of one run's folder. Picklable; holds nothing but the storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def done(self) -> set[tuple[str, str, str]]:
        """Stage, block and inputs of all that was measured: one listing; files of zero bytes do not count."""
        listed = self._storage.sizes(f"{run_folder.STATISTICS}/")
        names = (run_folder.statistics_key(path) for path, size in listed if size)
        return {(name[0], *name[1]) for name in names if name is not None}

    def counts(self, plan: StatisticsPlan) -> dict[str, int]:
        """Blocks of all stages: how many are planned, are measured, and failed and are not measured since."""
        left = plan.keys - self.done()
        failed = {(stage.info.name, *key) for stage in plan.stages for key in self.failed(stage.info.name)}
        return {"blocks": plan.blocks, "measured": plan.blocks - len(left), "failed": len(left & failed)}

    def get(self, stage: str, block: str, inputs: str) -> BlockSums:
        """A block's sums.

        Raises:
            FileNotFoundError: It was not measured.
            DamageError: The file is damaged, or another block's.
        """
        path = run_folder.statistics(stage, block, inputs)
        sums = BlockSums.from_bytes(self._storage.get(path), self._storage.url(path))
        if (sums.stage, sums.block, sums.inputs) != (stage, block, inputs):
            raise DamageError(f"{self._storage.url(path)} holds the sums of {sums.stage} {sums.block}; delete it")
        return sums

    def create(self, sums: BlockSums) -> str:
        """Write a block's sums, unless sound ones exist; never replaces those.

        Returns:
            A warning where a file of the same inputs holds other bytes, else nothing.
        """
        path, data = run_folder.statistics(sums.stage, sums.block, sums.inputs), sums.to_bytes()
        if self._storage.create(path, data):
            return ""
        try:
            existing = self.get(sums.stage, sums.block, sums.inputs)
        except DamageError as error:
            logger.warning("%s", error)
            _, version = self._storage.get_versioned(path)
            self._storage.swap(path, data, version)
            return ""
        if existing.to_bytes() == data:
            return ""
        return f"write.nondeterministic: stage {sums.stage}, block {sums.block} was measured with other sums before"

    def fail(self, stage: str, failure: Failure) -> None:
        """Write a failure under the next free attempt number; its ``tile`` is the block."""
        write_failure(self._storage, partial(run_folder.statistics_failure, stage, *failure.key), failure)

    def failure(self, stage: str, key: Key) -> Failure | None:
        """The last failed attempt at a block; None where there was none."""
        numbers = [attempt for failed, attempt in self._failures(stage) if failed == key]
        if not numbers:
            return None
        path = run_folder.statistics_failure(stage, *key, max(numbers))
        return Failure.from_bytes(self._storage.get(path), path)

    def failed(self, stage: str) -> set[Key]:
        """Blocks and inputs of all that failed once: some may be measured by now."""
        return {key for key, _ in self._failures(stage)}

    def _failures(self, stage: str) -> Iterator[tuple[Key, int]]:
        """Key and attempt of every failure of a stage."""
        for path in self._storage.list(f"{run_folder.statistics_failures(stage)}/"):
            if (name := run_folder.statistics_failure_key(path)) is not None:
                yield name[1], name[2]
