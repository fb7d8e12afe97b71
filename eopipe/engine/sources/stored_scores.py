"""Tiles that are made of the scores that another run stored, cut at another threshold: no scene, no weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe import run_folder
from eopipe.cube.asset_file import ReadStats
from eopipe.cube.estimate import ReadEstimate
from eopipe.engine.cluster.resources import choose_device, device_label, process_memory
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.output.recipe import rethreshold_recipe
from eopipe.engine.output.record import total_histogram
from eopipe.engine.output.run_json import Derived
from eopipe.engine.plan import prompt_check
from eopipe.engine.plan.make import WRITTEN_A_PIXEL
from eopipe.engine.plan.memory import GDAL_CACHE, TileMemory
from eopipe.engine.plan.model import Calibration, Plan
from eopipe.engine.plan.resolved_spec import rethresholding
from eopipe.engine.plan.tiles import plan_tiles
from eopipe.engine.sources.protocol import Readiness
from eopipe.engine.work.warm_up import warm_up_arrays
from eopipe.errors import DamageError, OutputError, PlanError, TileFault, one_line
from eopipe.mosaic.class_areas import class_areas
from eopipe.mosaic.store import MosaicWriter, checksum
from eopipe.run_folder import Key
from eopipe.text import gib

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.engine.output.record import Record
    from eopipe.engine.plan.model import PlanRequest
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.sources.protocol import Worker
    from eopipe.engine.work.strips import Sink, Stopwatch
    from eopipe.grid import PixelBox
    from eopipe.kernelinfo import KernelInfo
    from eopipe.kernels.protocol import Kernel
    from eopipe.mosaic.layout import Layout
    from eopipe.storage import Storage

PIXELS_A_SECOND = {False: 1e7, True: 2.5e6}
"""Of one array, read, cut, reduced and written by one worker, without COGs and with them."""


@dataclass(frozen=True)
class StoredScores:
    """A run whose stored scores are cut at another threshold. Picklable.

    A tile is made only of one that is done there and has the checksums that were recorded there. See
    :class:`eopipe.engine.sources.protocol.TileSource`.

    Args:
        storage: Its folder.
        layout: Of its mosaic.
        recipe: Its tile recipe.
        threshold: Where they are cut, in the units of the score.
    """

    storage: Storage
    layout: Layout
    recipe: Mapping[str, Any]
    threshold: int

    @property
    def derived(self) -> Derived:
        """The run that stored the scores."""
        return Derived("rethreshold", self.storage.url())

    @property
    def remark(self) -> str:
        """The threshold."""
        return f", from {self.threshold} hundredths of the threshold on"

    def plan(self, request: PlanRequest) -> Plan:
        """Plan reading, cutting and writing; the tiles have the side that they have in the source.

        Raises:
            PlanError: A worker has less memory than a tile needs.
        """
        job, workers, size, cog = request.job, request.workers, self.layout.tile, request.job.spec.output.cog
        recipe = rethreshold_recipe(self.recipe, self.threshold)
        tiles = plan_tiles(job.region, snapshot=request.snapshot, recipe=recipe).tiles
        memory = _memory(job.kernel.info, size, base=request.calibration.base, cog=cog)
        if workers.memory is not None and memory.total > workers.memory:
            raise PlanError(
                f"a tile of {size}, the side that the other run has, needs {gib(memory.total)} a worker, which has "
                f"{gib(workers.memory)}; take fewer workers, or such with more memory"
            )
        pixels = len(tiles) * size * size * (len(job.kernel.info.arrays) + 1)
        return Plan(
            tile=size,
            tiles=tiles,
            recipe=recipe,
            reads=ReadEstimate(bytes=0, requests=0),
            memory=memory,
            written=int(pixels * WRITTEN_A_PIXEL),
            seconds=pixels / PIXELS_A_SECOND[cog] / workers.count,
            km2=job.area.km2,
            workers=workers,
            calibration=request.calibration,
            warnings=request.warnings,
            words=prompt_check.notes_of(job.kernel),
        )

    def calibrate(self, kernel: Kernel) -> Calibration:
        """Measure the memory of a process that loads no kernel."""
        warm_up_arrays(kernel.info)
        return Calibration(base=process_memory(), window_seconds=0.0, device=device_label(choose_device()))

    def ready(self, worker: Worker, watch: Stopwatch) -> Readiness:  # noqa: ARG002  (no kernel is loaded)
        """Look for the source's folder.

        Raises:
            OutputError: It is not reached.
        """
        with watch("source"):
            if not self.storage.exists(run_folder.RUN):
                raise OutputError(
                    f"{self.storage.url(run_folder.RUN)} is not seen from here; move that run to a place that every "
                    f"worker reaches (object store or shared file system)"
                )
        return Readiness()

    def make(
        self,
        worker: Worker,
        tile: PlannedTile,
        box: PixelBox,
        inside: NDArray[np.bool_] | None,  # noqa: ARG002  (the stored arrays are no data outside the area)
        sink: Sink,
    ) -> tuple[Mapping[str, NDArray[Any]], ReadStats]:
        """Read the source's tile and cut its scores; figures are those of the source's record.

        Raises:
            TileFault: The source has not done the tile, or it is damaged there.
        """
        kernel = worker.unloaded_kernel
        with sink.watch("source"):
            stored, record = self.read(tile)
        with sink.watch("kernel"):
            arrays = {spec.name: stored[spec.name] for spec in kernel.info.arrays}
            result = rethresholding(kernel, self.storage.url()).recompute(arrays, box)
        sink.take(replace(result, figures={name: (value, 1.0) for name, value in record.figures.items()}))
        return {**stored, **result.arrays}, ReadStats()

    def summary(self, plan: Plan, records: Mapping[Key, Record]) -> dict[str, Any]:
        """The threshold, and the classes of the source on the same tiles."""
        keys = {Key(tile.tile.name, tile.source_inputs or "") for tile in plan.tiles if tile.key in records}
        histogram = total_histogram(Ledger(self.storage).load_all(keys))
        areas = class_areas(self.storage, self.layout, histogram=histogram)
        classes = [(area.name, round(area.km2, 4), round(area.share, 5)) for area in areas if area.pixels]
        figures = {"from": self.storage.url(), "at": self.threshold, "classes_of_source": classes}
        return {"rethresholded": figures}

    def read(self, tile: PlannedTile) -> tuple[dict[str, NDArray[Any]], Record]:
        """A tile's arrays at full resolution, and its record.

        Raises:
            TileFault: ``source.not_done``, ``source.damaged`` or ``source.unreachable``.
        """
        try:
            record = self._record(tile)
            return {spec.name: self._array(tile, spec.name, record) for spec in self.layout.arrays}, record
        except DamageError as error:
            raise TileFault("source.damaged", str(error)) from None
        except OutputError as error:
            raise TileFault("source.unreachable", str(error)) from None

    def _record(self, tile: PlannedTile) -> Record:
        assert tile.source_inputs is not None, "only tiles that are made of another run's are read from it"
        try:
            return self._ledger.read(tile.tile.name, tile.source_inputs)
        except FileNotFoundError:
            raise TileFault(
                "source.not_done",
                f"{self.storage.url()}: {tile.subject} is not done there; run that one to its end, then this again",
            ) from None

    def _array(self, tile: PlannedTile, name: str, record: Record) -> NDArray[Any]:
        try:
            values = self._reader.read(tile.tile, name)
        except FileNotFoundError as error:  # of an array's own document; a missing shard reads as fill
            detail = one_line(error)
            raise TileFault("source.damaged", f"{self.storage.url()}: {detail}; restore it there") from None
        if checksum(values) != record.checksums.get(name):
            raise TileFault(
                "source.damaged",
                f"{self.storage.url()}: {name} of {tile.subject} does not have its recorded checksum; eopipe "
                f"validate names there what to delete, and running that one again writes it anew",
            )
        return values

    @cached_property
    def _ledger(self) -> Ledger:
        return Ledger(self.storage)

    @cached_property
    def _reader(self) -> MosaicWriter:
        return MosaicWriter(self.storage, self.layout)

    def __getstate__(self) -> dict[str, Any]:
        """Travel closed."""
        return {name: value for name, value in self.__dict__.items() if name not in {"_ledger", "_reader"}}


def _memory(info: KernelInfo, size: int, *, base: int, cog: bool) -> TileMemory:
    """The tile's arrays as they were and as they become, with what encodes them."""
    planes = sum(max(len(spec.bands), 1) * np.dtype(spec.dtype).itemsize for spec in info.arrays) + 1
    return TileMemory(
        base=base,
        reading=0,
        gdal=GDAL_CACHE if cog else 0,  # COGs are written through it
        strip=0,
        kernel=0,
        arrays=int(size * size * planes * (4 if cog else 3)),
    )
