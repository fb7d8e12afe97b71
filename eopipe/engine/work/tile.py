"""A tile's task: make its arrays from what the run's tiles are made of, write them, and record the tile.

The order matters: window features (where they are kept), the mosaic's shards, the COG, the objects, and last the
ledger's record, which vouches for them.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.engine.cluster.resources import device_label
from eopipe.engine.output.record import Record
from eopipe.engine.plan.layouts import object_layout
from eopipe.engine.work.strips import Sink
from eopipe.engine.work.task_shell import TaskReport, run_task
from eopipe.engine.work.tile_objects import TileObjects
from eopipe.engine.work.worker_state import state_of
from eopipe.mosaic.cog import write_cog
from eopipe.mosaic.features import tile_checksum
from eopipe.mosaic.pyramid import histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.engine.output.record import Failure, Status
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.work.strips import Stopwatch
    from eopipe.engine.work.worker_state import WorkerState
    from eopipe.kernels.protocol import Result
    from eopipe.mosaic.features import FeatureStore, Index
    from eopipe.run_folder import OutputFile


class TileSink(Sink):
    """Collects a tile's figures, objects and window features, strip by strip.

    Args:
        watch: Times the stages ``objects`` and ``features``.
        objects: Keeps the tile's own objects; None where the kernel finds none.
        features: The store of window features; None where they are not kept.
        windows: The windows that are the tile's to write.
    """

    def __init__(
        self, watch: Stopwatch, objects: TileObjects | None, features: FeatureStore | None, windows: frozenset[Index]
    ) -> None:
        super().__init__(watch)
        self.objects = objects
        self._features, self._windows = features, windows
        self._digests: dict[Index, str] = {}
        self._figures: dict[str, tuple[float, float]] = {}

    def take(self, result: Result) -> None:
        """Add a strip's figures; keep its objects that are the tile's; write its windows, each once."""
        for name, (total, weight) in result.figures.items():
            before = self._figures.get(name, (0.0, 0.0))
            self._figures[name] = (before[0] + total, before[1] + weight)
        if self.objects is not None and result.objects is not None:
            with self.watch("objects"):
                self.objects.add(result.objects)
        if self._features is not None and result.windows:
            with self.watch("features"):
                self._digests.update(
                    self._features.write(
                        {
                            index: values
                            for index, values in result.windows.items()
                            if index in self._windows and index not in self._digests
                        }
                    )
                )

    def figures(self) -> dict[str, float]:
        """Means over the tile; a figure without weight is left out."""
        return {name: round(total / weight, 4) for name, (total, weight) in self._figures.items() if weight > 0}

    def checksums(self) -> dict[str, str]:
        """Of the window features, where they are kept: for the tile's record."""
        return {run_folder.FEATURES: tile_checksum(self._digests)} if self._features is not None else {}


class TileTask:
    """One tile on a worker.

    Args:
        state: The worker's.
        planned: The tile.
    """

    def __init__(self, state: WorkerState, planned: PlannedTile) -> None:
        self.state, self.planned = state, planned
        self.attempt = state.context.attempts.get(planned.key, 0) + 1
        self.started = datetime.now(UTC)

    def recorded(self) -> bool:
        """Whether the ledger holds a sound record of its key."""
        return self.state.ledger.has(*self.planned.key)

    def run(self, watch: Stopwatch) -> TaskReport:
        """Make, write and record the tile."""
        state, planned, context = self.state, self.planned, self.state.context
        box = planned.tile.box(context.layout.tile)
        inside = None if planned.part == "full" else context.region.mask(box)
        objects = object_layout(context.kernel.info, context.region)
        sink = TileSink(
            watch,
            None if objects is None else TileObjects(objects, context.region, box, inside),
            state.features,
            state.windows_of(planned.tile),
        )
        arrays, reads = context.source.make(state, planned, box, inside, sink)
        status: Status = "done" if arrays["observations"].any() else "masked" if planned.covered else "empty"
        counts = self._histogram(arrays, inside)
        with watch("write"):
            checksums = {**state.writer.write(planned.tile, arrays), **sink.checksums()}
        with watch("cog"):
            files = self._cog(arrays) if status == "done" else {}
        if sink.objects is not None:
            with watch("objects"):
                files |= sink.objects.write(context.storage, planned.tile, planned.inputs)
        record = Record(
            tile=planned.tile.name,
            inputs=planned.inputs,
            status=status,
            attempts=self.attempt,
            seconds={stage: round(spent, 4) for stage, spent in watch.seconds.items()},
            bytes_read=reads.bytes_read,
            scenes=tuple(row for rows in planned.rows for row in rows),
            checksums=checksums,
            histogram=counts,
            files=files,
            lacks=planned.lacks,
            figures=sink.figures(),
            device=device_label(state.device),
            started=self.started,
            finished=datetime.now(UTC),
        )
        return TaskReport(
            planned.subject,
            status,
            seconds=dict(watch.seconds),
            bytes_read=reads.bytes_read,
            retries=reads.retries,
            warnings=self._record(record),
        )

    def on_failure(self, failure: Failure) -> Mapping[str, Callable[[], object]]:
        """Half-written shards are erased, so that the pixels read as not produced; then the failure is recorded."""
        return {
            "erase": lambda: self.state.writer.erase(self.planned.tile),
            "record": lambda: self.state.ledger.fail(failure),
        }

    def _histogram(self, arrays: Mapping[str, NDArray[Any]], inside: NDArray[np.bool_] | None) -> dict[int, int]:
        """Pixels of the area (of the tile where ``inside`` is None) by code of the first categorical array."""
        spec = next((spec for spec in self.state.context.kernel.info.arrays if spec.classes), None)
        if spec is None:
            return {}
        values = arrays[spec.name]
        return histogram(values if inside is None else values[inside])

    def _cog(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, OutputFile]:
        context, planned = self.state.context, self.planned
        if context.cog is None:
            return {}
        return write_cog(
            context.storage,
            path=run_folder.cog(planned.tile, planned.inputs),
            geobox=context.layout.grid.geobox(planned.tile.box(context.layout.tile)),
            arrays=arrays,
            info=context.cog,
        )

    def _record(self, record: Record) -> tuple[str, ...]:
        """Record the tile last of all; where another task was first, its bytes must be the same."""
        if self.state.ledger.create(record):
            return ()
        other = self.state.ledger.get(*record.key)
        if other is None or (other.checksums == record.checksums and other.files == record.files):
            return ()
        return (f"write.nondeterministic: {record.tile} was recorded with other bytes by {other.device}",)


def run_tile(run_id: str, index: int) -> TaskReport:
    """Do one tile of a run on this worker; its number indexes the context's list."""
    state = state_of(run_id)
    return run_task(TileTask(state, state.context.tiles[index]))
