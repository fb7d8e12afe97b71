"""A run whose stored scores another run cuts again: what its recipe says, its tiles, and what they hold.

The recipe of what is cut holds the source's whole recipe and the threshold, so the tiles of the source, and with them
its own, follow from its own folder alone: ``status`` and ``validate`` need not find the source.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.output.recipe import digest, inputs_key
from eopipe.engine.plan.tiles import planned_tiles
from eopipe.engine.statistics.planning import RECIPE as STATISTICS
from eopipe.engine.statistics.planning import plan_statistics
from eopipe.errors import DamageError, OutputError, SpecError, TileFault
from eopipe.kernels.protocol import Rethresholding
from eopipe.mosaic.store import MosaicWriter, checksum

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from eopipe.area.on_grid import GridArea
    from eopipe.engine.output.ledger import Record
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.engine.work.strips import Stopwatch
    from eopipe.grid import PixelBox
    from eopipe.kernel_info import KernelInfo
    from eopipe.kernels.protocol import Kernel, Result
    from eopipe.mosaic.layout import Layout
    from eopipe.snapshot import SceneIndex, Snapshot
    from eopipe.storage import Storage

RECIPE = "rethreshold"
"""Where the recipe of a run that was cut again says at what, and of which recipe."""


def recipe_of(source: Mapping[str, Any], at: int) -> dict[str, Any]:
    """The tile recipe of a run that cuts the scores of another; it measures nothing.

    Args:
        source: The other's tile recipe.
        at: The threshold.
    """
    kept = {name: value for name, value in source.items() if name not in {STATISTICS, RECIPE}}
    return {**kept, RECIPE: {"at": at, "source": dict(source)}}


def at_of(recipe: Mapping[str, Any]) -> int | None:
    """The threshold at which a run's scores were cut again; None of a run that maps scenes."""
    return int(recipe[RECIPE]["at"]) if RECIPE in recipe else None


def as_cut(job: Job, recipe: Mapping[str, Any]) -> Job:
    """A job with its kernel cutting where the recipe says, if it does.

    Raises:
        SpecError: The kernel's scores cannot be cut again, or not there.
    """
    at = at_of(recipe)
    return job if at is None else replace(job, kernel=rethresholding(job.kernel, job.spec.name).with_threshold(at))


def rethresholding(kernel: Kernel, what: str) -> Rethresholding:
    """A kernel whose scores can be cut again.

    Args:
        kernel: Made, not loaded.
        what: The run that made its maps, for the error.

    Raises:
        SpecError: They cannot.
    """
    if isinstance(kernel, Rethresholding):
        return kernel
    raise SpecError(
        f"{what} cannot be cut again: kernel {kernel.info.name} stores no score from which its maps follow pixel by "
        f"pixel; give the output of a change run that compares pixels, or run its spec anew with other options"
    )


def all_tiles(
    region: GridArea,
    size: int,
    *,
    info: KernelInfo,
    snapshot: Snapshot,
    recipe: Mapping[str, Any],
    scenes: SceneIndex | None = None,
) -> tuple[list[PlannedTile], StatisticsPlan | None]:
    """All tiles of a run, whatever they are made of, and what is measured before them.

    A tile that is cut again has a key of the recipe and of the key that it has in the source.

    Args:
        region: The area on the grid.
        size: Side of a tile in grid pixels.
        info: The kernel's, for its halo and lattice.
        snapshot: The frozen items.
        recipe: The tile recipe.
        scenes: The snapshot's outlines on the grid, where they are at hand.
    """
    if RECIPE in recipe:
        source, text = recipe[RECIPE]["source"], digest(recipe)
        before, _ = all_tiles(region, size, info=info, snapshot=snapshot, recipe=source, scenes=scenes)
        return [
            replace(tile, inputs=inputs_key(text, tile.part, {"source": [tile.inputs]}), source=tile.inputs)
            for tile in before
        ], None
    measured = plan_statistics(region, recipe=recipe, snapshot=snapshot, scenes=scenes)
    tiles = planned_tiles(
        region, size, info=info, snapshot=snapshot, recipe=recipe, scenes=scenes, statistics=measured
    )
    return tiles, measured


@dataclass(frozen=True)
class ScoredRun:
    """The source of a run that cuts scores again. Picklable; a tile is believed if it has its recorded checksums.

    Args:
        storage: Its folder.
        layout: Of its mosaic.
        recipe: Its tile recipe.
        at: Where they are cut.
    """

    storage: Storage
    layout: Layout
    recipe: Mapping[str, Any]
    at: int

    def read(self, planned: PlannedTile) -> tuple[dict[str, NDArray[Any]], Record]:
        """A tile's arrays at full resolution, and its record.

        Raises:
            TileFault: ``source.not_done``, ``source.damaged`` or ``source.unreachable``.
        """
        try:
            record = self._record(planned)
            return {spec.name: self._array(planned, spec.name, record) for spec in self.layout.arrays}, record
        except DamageError as error:
            raise TileFault("source.damaged", str(error)) from None
        except OutputError as error:
            raise TileFault("source.unreachable", str(error)) from None

    def look(self) -> None:
        """See that it is there: what a worker shows before the first tile.

        Raises:
            OutputError: It is not.
        """
        if not self.storage.exists(run_folder.RUN):
            raise OutputError(
                f"{self.storage.url(run_folder.RUN)} is not seen from here; move that run to a place that every "
                f"worker reaches (object store or shared file system)"
            )

    def _record(self, planned: PlannedTile) -> Record:
        assert planned.source is not None, "only tiles that are made of another run's are read from it"
        try:
            return self._ledger.read(planned.tile.name, planned.source)
        except FileNotFoundError:
            said = f"tile {planned.tile.name} is not done there; run that one to its end, then this again"
            raise TileFault("source.not_done", f"{self.storage.url()}: {said}") from None

    def _array(self, planned: PlannedTile, name: str, record: Record) -> NDArray[Any]:
        try:
            values = self._reader.read(planned.tile, name)
        except FileNotFoundError as error:  # of an array's own document; a shard that is not there reads as fill
            said = " ".join(str(error).split())
            raise TileFault("source.damaged", f"{self.storage.url()}: {said}; restore it there") from None
        if checksum(values) != record.checksums.get(name):
            raise TileFault(
                "source.damaged",
                f"{self.storage.url()}: {name} of tile {planned.tile.name} does not have its recorded checksum; "
                f"eopipe validate names there what to delete, and running that one again mends it",
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


def cut_tile(
    kernel: Kernel,
    source: ScoredRun,
    planned: PlannedTile,
    box: PixelBox,
    *,
    watch: Stopwatch,
    tell: Callable[[Mapping[str, tuple[float, float]]], None],
) -> Result:
    """A tile of the source, cut again; all arrays, the engine's ``observations`` included.

    Args:
        kernel: With its threshold; it is not loaded.
        source: Where the scores are.
        planned: The tile.
        box: Its pixels.
        watch: Told of the stages ``source`` and ``kernel``.
        tell: Given the figures of the source's record: how its dates lie is the same.

    Raises:
        TileFault: The source has not done the tile, or it is damaged there.
    """
    with watch("source"):
        stored, record = source.read(planned)
    own = {spec.name: stored[spec.name] for spec in kernel.info.arrays}
    with watch("kernel"):
        found = rethresholding(kernel, source.storage.url()).recompute(own, box)
    tell({name: (value, 1.0) for name, value in record.figures.items()})
    return replace(found, arrays={**stored, **found.arrays})
