"""What one task does: read, composite, map (or cut another run's scores again), write, record.

It never raises for a tile's fault.

The order matters: window features (where they are kept), the mosaic's shards, the COG, the objects, and last the
ledger's record, which vouches for them.
"""

from __future__ import annotations

import logging
import traceback
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch

from eopipe.cube.asset_file import ReadStats
from eopipe.engine.cluster.device import device_label
from eopipe.engine.output.ledger import Failure, FileInfo, Record, Status
from eopipe.engine.sources.stored_scores import cut_tile
from eopipe.engine.work.reasons import fault_of
from eopipe.engine.work.strips import Stopwatch, map_box
from eopipe.engine.work.tile_objects import TileObjects
from eopipe.engine.work.worker_state import state_of
from eopipe.errors import EopipeError, TileFault
from eopipe.mosaic.cog import write_cog
from eopipe.mosaic.features import FEATURES
from eopipe.mosaic.pyramid import histogram
from eopipe.redact import redact
from eopipe.run_folder import cog as cog_path

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.sources.kept_features import Keeper
    from eopipe.engine.work.strips import Found, Tell
    from eopipe.engine.work.worker_state import WorkerState
    from eopipe.grid import PixelBox

LOG = logging.getLogger("eopipe.tile")


@dataclass(frozen=True)
class TileReport:
    """What a task tells the driver; small, since the driver releases it at once.

    Args:
        index: Position in the context's list of tiles.
        status: ``done``, ``empty``, ``masked``, ``failed``, or ``present`` when another had recorded it.
        reason: The ledger's code where it failed.
        detail: One line for people where it failed.
        seconds: By stage.
        bytes_read: Estimated from what was asked of the sources.
        retries: Reads that were tried again.
        warnings: Such as ``write.nondeterministic``.
    """

    index: int
    status: str
    reason: str = ""
    detail: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    bytes_read: int = 0
    retries: int = 0
    warnings: tuple[str, ...] = ()


class Figures:
    """A kernel's figures over a tile's strips."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[float, float]] = {}

    def add(self, more: Mapping[str, tuple[float, float]]) -> None:
        """Totals and weights of a strip."""
        for name, (total, weight) in more.items():
            known = self._sums.get(name, (0.0, 0.0))
            self._sums[name] = (known[0] + total, known[1] + weight)

    def means(self) -> dict[str, float]:
        """By name; what has no weight is left out."""
        return {name: round(total / weight, 4) for name, (total, weight) in self._sums.items() if weight > 0}


def run_tile(run_id: str, index: int) -> TileReport:
    """Map one tile of a run on this worker."""
    state = state_of(run_id)
    planned = state.context.tiles[index]
    watch = Stopwatch()
    started = datetime.now(UTC)
    try:
        torch.set_num_threads(state.context.threads)
        with watch("check"):
            if state.ledger.has(*planned.key):
                return TileReport(index, "present")
        return _map(state, planned, index=index, watch=watch, started=started)
    except Exception as error:  # noqa: BLE001  (the seam: whatever stops a tile becomes a record, and is named)
        return _failed(state, planned, index=index, watch=watch, error=error)


def _map(state: WorkerState, planned: PlannedTile, *, index: int, watch: Stopwatch, started: datetime) -> TileReport:
    box = planned.tile.box(state.context.layout.tile)
    keep, figures = state.keeper(planned.tile), Figures()
    inside = None if planned.part == "full" else state.context.region.mask(box)
    objects = TileObjects.of(state.context, planned.tile, inside)
    found = objects.add if objects is not None else None
    if state.context.scored is not None:
        kernel, reads = state.context.kernel, ReadStats()  # no asset is opened, no weight loaded
        cut = cut_tile(kernel, state.context.scored, planned, box, watch=watch, tell=figures.add)
        arrays = cut.arrays
        if found is not None and cut.objects is not None:
            found(cut.objects)
    else:
        arrays, reads = _map_scenes(
            state, planned, box, inside, watch=watch, keep=keep, tell=figures.add, found=found
        )
    status = _status(arrays, covered=planned.covered)
    counts = _histogram(state, arrays, inside)
    with watch("write"):
        checksums = state.writer.write(planned.tile, arrays)
        if keep is not None:
            checksums[FEATURES] = keep.checksum
    with watch("cog"):
        files = _cog(state, planned, arrays) if status == "done" else {}
    if objects is not None:
        with watch("objects"):
            files |= objects.write(state.context.storage, planned.tile, planned.inputs)
    record = Record(
        tile=planned.tile.name,
        inputs=planned.inputs,
        status=status,
        attempts=state.context.attempts.get(planned.key, 0) + 1,
        seconds={stage: round(spent, 4) for stage, spent in watch.seconds.items()},
        bytes_read=reads.bytes_read,
        scenes=tuple(row for rows in planned.rows for row in rows),
        checksums=checksums,
        histogram=counts,
        files=files,
        lacks=planned.lacks,
        figures=figures.means(),
        device=device_label(state.device),
        started=started,
        finished=datetime.now(UTC),
    )
    warnings = _record(state, planned, record)
    return TileReport(
        index,
        status,
        seconds=dict(watch.seconds),
        bytes_read=reads.bytes_read,
        retries=reads.retries,
        warnings=warnings,
    )


def _map_scenes(
    state: WorkerState,
    planned: PlannedTile,
    box: PixelBox,
    inside: NDArray[np.bool_] | None,
    *,
    watch: Stopwatch,
    keep: Keeper | None,
    tell: Tell,
    found: Found | None,
) -> tuple[Mapping[str, NDArray[Any]], ReadStats]:
    """A tile's arrays from its scenes."""
    with watch("scenes"):
        scenes = state.scenes(planned) if planned.read else [[] for _ in planned.rows]
    return map_box(
        state.kernel if any(scenes) else state.context.kernel,
        scenes,
        state.context.read,
        box,
        watch=watch,
        inside=inside,
        features=state.context.kept,
        keep=keep,
        statistics=state.statistics,
        tell=tell,
        found=found,
    )


def _histogram(
    state: WorkerState, arrays: Mapping[str, NDArray[Any]], inside: NDArray[np.bool_] | None
) -> dict[int, int]:
    """Pixels of the area (of the tile where ``inside`` is None) by code of the first categorical array."""
    spec = next((spec for spec in state.context.kernel.info.arrays if spec.classes), None)
    if spec is None:
        return {}
    values = arrays[spec.name]
    return histogram(values if inside is None else values[inside])


def _status(arrays: Mapping[str, NDArray[Any]], *, covered: bool) -> Status:
    if arrays["observations"].any():
        return "done"
    return "masked" if covered else "empty"


def _cog(state: WorkerState, planned: PlannedTile, arrays: Mapping[str, NDArray[Any]]) -> dict[str, FileInfo]:
    context = state.context
    if context.cog is None:
        return {}
    written = write_cog(
        context.storage,
        path=cog_path(planned.tile, planned.inputs),
        geobox=context.layout.grid.geobox(planned.tile.box(context.layout.tile)),
        arrays=arrays,
        info=context.cog,
    )
    return {name: FileInfo(**file) for name, file in written.items()}


def _record(state: WorkerState, planned: PlannedTile, record: Record) -> tuple[str, ...]:
    """Record the tile last of all; where another was first, its bytes must be ours."""
    if state.ledger.create(record):
        return ()
    other = state.ledger.get(*planned.key)
    if other is None or (other.checksums == record.checksums and other.files == record.files):
        return ()
    return (f"write.nondeterministic: {planned.tile.name} was recorded with other bytes by {other.device}",)


def _failed(
    state: WorkerState, planned: PlannedTile, *, index: int, watch: Stopwatch, error: Exception
) -> TileReport:
    fault = fault_of(error, watch.stage)
    if not isinstance(error, (TileFault, EopipeError, MemoryError)):  # those say all there is to say
        told = redact("".join(traceback.format_exception(error)))
        LOG.warning("tile %s failed in %s:\n%s", planned.tile.name, watch.stage, told)
    notes: list[str] = []
    failure = Failure(
        tile=planned.tile.name,
        inputs=planned.inputs,
        attempt=state.context.attempts.get(planned.key, 0) + 1,
        reason=fault.reason,
        stage=watch.stage,
        detail=fault.detail,
        time=datetime.now(UTC),
    )
    for what, act in (
        ("erase", lambda: state.writer.erase(planned.tile)),
        ("record", lambda: state.ledger.fail(failure)),
    ):
        try:
            act()
        except Exception as second:  # noqa: BLE001  (the first fault is the one to report; this one is told beside it)
            notes.append(f"{what} after the failure failed too: {fault_of(second, what).detail}")
    return TileReport(index, "failed", fault.reason, fault.detail, seconds=dict(watch.seconds), warnings=tuple(notes))
