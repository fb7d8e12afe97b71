"""What one task does: read, composite, map, write, record. It never raises for a tile's fault.

A strip is ``STRIP`` rows of the kernel's lattice over the tile's whole width. While one strip is
mapped, the next is read in the background; a strip's rows of cells are kept until the next
strip has used them, so memory is bounded by strips, not by the tile.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eopipe.cube.reader import TileReader
from eopipe.engine.context import state_of
from eopipe.engine.device import device_label
from eopipe.engine.faults import fault_of
from eopipe.engine.folder import cog as cog_path
from eopipe.engine.ledger import Failure, Record
from eopipe.engine.tiles import read_box
from eopipe.errors import TileFault
from eopipe.grid import CELL, PixelBox
from eopipe.mosaic.cog import write_cog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.cube.reader import Pixels
    from eopipe.cube.scenes import Scene
    from eopipe.engine.context import WorkerState
    from eopipe.engine.tiles import PlannedTile

LOG = logging.getLogger("eopipe.tile")

STRIP = CELL
"""Rows of the kernel's lattice that are mapped at once."""


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
        histogram: Pixels by label code.
        warnings: Such as ``write.nondeterministic``.
    """

    index: int
    status: str
    reason: str = ""
    detail: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    bytes_read: int = 0
    retries: int = 0
    histogram: Mapping[int, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.stage = "start"

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time a stage; stages may come again and add up."""
        self.stage, start = stage, time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


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
    with watch("scenes"):
        scenes = state.scenes(planned)
    arrays, reads = _compute(state, scenes, box, watch)
    _outside_is_nodata(state, planned, box, arrays)
    status = _status(arrays, covered=planned.covered)
    with watch("write"):
        written = state.writer.write(planned.tile, arrays)
    with watch("cog"):
        files = _cog(state, planned, arrays)
    record = Record(
        tile=planned.tile.name,
        inputs=planned.inputs,
        status=status,
        attempts=state.context.attempts.get(planned.key, 0) + 1,
        seconds={stage: round(spent, 4) for stage, spent in watch.seconds.items()},
        bytes_read=reads.bytes_read,
        scenes=tuple(row for rows in planned.rows for row in rows),
        checksums=written.checksums,
        histogram=written.histogram,
        files=files,
        device=device_label(state.context.device),
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
        histogram=written.histogram,
        warnings=warnings,
    )


def _compute(
    state: WorkerState, scenes: Sequence[Sequence[Scene]], box: PixelBox, watch: Stopwatch
) -> tuple[dict[str, NDArray[Any]], Any]:
    """Arrays of the tile, strip by strip."""
    info = state.context.kernel.info
    arrays = {
        spec.name: np.full((len(spec.bands), *box.shape)[0 if spec.bands else 1 :], spec.nodata, spec.dtype)
        for spec in info.arrays
    }
    arrays["observations"] = np.zeros(box.shape, np.uint8)
    with TileReader(scenes, state.context.read) as reader:
        if any(scenes):
            kernel = state.kernel
            strips = list(_strips(box, info.factor))
            for strip, following in zip(strips, [*strips[1:], None], strict=True):
                with watch("read"):
                    pixels = reader.read(read_box(strip, info))
                if following is not None:
                    reader.prefetch(read_box(following, info))
                with watch("kernel"):
                    _strip(kernel, pixels, strip, strip.slices(box)[0], arrays)
        return arrays, reader.stats


def _strips(box: PixelBox, factor: int) -> Iterator[PixelBox]:
    step = max(STRIP // factor, 1)
    for row in range(box.row0, box.row1, step):
        yield PixelBox(row, box.col0, row + step, box.col1)


def _strip(kernel: Any, pixels: Pixels, strip: PixelBox, rows: slice, arrays: Mapping[str, NDArray[Any]]) -> None:
    info = kernel.info
    inside = slice(info.window.halo, -info.window.halo or None)
    seen = pixels.observations.max(axis=0)[inside, inside]
    arrays["observations"][rows] = _coarsest(seen, info.factor)
    if not pixels.valid.any():
        return
    values = np.where(pixels.valid[:, None], pixels.values, 0).astype(np.float32)
    result = kernel(values, pixels.valid, strip.scale(info.factor), {})
    for name, made in result.arrays.items():
        arrays[name][..., rows, :] = made


def _coarsest(seen: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Most scenes seen by any of a grid pixel's kernel pixels."""
    rows, cols = seen.shape
    return seen.reshape(rows // factor, factor, cols // factor, factor).max(axis=(1, 3))


def _outside_is_nodata(
    state: WorkerState, planned: PlannedTile, box: PixelBox, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Pixels outside the area are no data in a tile that the area touches (DESIGN §5)."""
    if planned.part == "full":
        return
    outside = ~state.context.region.mask(box)
    nodata = {spec.name: spec.nodata for spec in state.context.kernel.info.arrays}
    for name, array in arrays.items():
        array[..., outside] = nodata.get(name, 0)


def _status(arrays: Mapping[str, NDArray[Any]], *, covered: bool) -> str:
    if arrays["observations"].any():
        return "done"
    return "masked" if covered else "empty"


def _cog(state: WorkerState, planned: PlannedTile, arrays: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    context = state.context
    if context.cog is None:
        return {}
    return write_cog(
        context.storage,
        path=cog_path(planned.tile, planned.inputs),
        geobox=context.layout.grid.geobox(planned.tile.box(context.layout.tile)),
        arrays=arrays,
        info=context.cog,
    )


def _record(state: WorkerState, planned: PlannedTile, record: Record) -> tuple[str, ...]:
    """Record the tile last of all; where another was first, its bytes must be ours."""
    if state.ledger.create(record):
        return ()
    other = state.ledger.get(*planned.key)
    if other is None or other.checksums == record.checksums:
        return ()
    return (f"write.nondeterministic: {planned.tile.name} was recorded with other bytes by {other.device}",)


def _failed(
    state: WorkerState, planned: PlannedTile, *, index: int, watch: Stopwatch, error: Exception
) -> TileReport:
    fault = fault_of(error, watch.stage)
    if not isinstance(error, TileFault):
        LOG.warning("tile %s failed in %s", planned.tile.name, watch.stage, exc_info=error)
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
