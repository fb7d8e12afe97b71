"""From a spec to a job: area, grid and kernel resolved; no pixel is read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eopipe.area.on_grid import Area, GridArea, resolve_crs
from eopipe.cube import sar
from eopipe.cube.reader import ReadSettings
from eopipe.cube.sensors import sensor_of
from eopipe.engine.output.recipe import threshold_of
from eopipe.engine.plan import prompt_check
from eopipe.errors import SpecError
from eopipe.grid import Grid
from eopipe.kernels.protocol import Measuring, Rethresholding, Settling
from eopipe.kernels.registry import create
from eopipe.stac.signing import signer_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from eopipe.engine.output.run_json import Frozen
    from eopipe.kernelinfo import KernelInfo
    from eopipe.kernels.protocol import Kernel
    from eopipe.snapshot import Snapshot
    from eopipe.spec import RunSpec, SourceSpec

THREADS = 1
"""Torch threads a task: part of the tile recipe, since sums depend on them."""

UNKNOWN = "unknown"
"""Stands for scenes that no table of sensors knows."""

KINDS = 500
"""At most so many items are read for their sensor, each of another kind."""

_MISSION = 4
"""Letters of an id that name a mission: ``LC08``, ``LE07``, ``S2A_``."""


@dataclass(frozen=True)
class Job:
    """A resolved spec.

    Args:
        spec: As written.
        now: Time that relative dates were measured from.
        area: The area in longitude and latitude.
        region: The area on the grid.
        kernel: Made, its weights checked, not loaded.
    """

    spec: RunSpec
    now: datetime
    area: Area
    region: GridArea
    kernel: Kernel

    @property
    def grid(self) -> Grid:
        """The lattice of the mosaic."""
        return self.region.grid

    @property
    def read(self) -> ReadSettings:
        """How pixels are read: on a finer lattice than the mosaic's where the kernel's GSD is finer."""
        source, info = self.spec.source, self.kernel.info
        return ReadSettings(
            bands=info.inputs.bands,
            composite=source.composite,
            mask=source.mask,
            sar=source.sar,
            radiometry=source.radiometry,
            grid=self.grid.finer(info.factor),
            sign=signer_for(source),
            requester_pays=source.requester_pays,
            assets=source.bands or {},
            alternate=source.alternate,
        )


def resolve(spec: RunSpec, now: datetime, *, kernel_options: Mapping[str, Any] | None = None) -> Job:
    """Resolve area, grid and kernel.

    Args:
        spec: A valid run spec.
        now: Time that relative dates are measured from.
        kernel_options: Options with ``auto`` frozen, when a run is resumed; the spec's own where None.

    Raises:
        AreaError: The area cannot be placed on the grid.
        SpecError: The kernel or one of its options does not exist, or the source does not suit it.
        WeightsError: The kernel's weights are missing or wrong.
    """
    assert not isinstance(spec.area, str), "parse_spec reads area files"
    area = Area.parse(spec.area)
    grid = Grid(resolve_crs(spec.grid.crs, area), spec.grid.resolution)
    options = spec.kernel.options() if kernel_options is None else kernel_options
    kernel = create(spec.kernel.name, options, resolution=grid.resolution)
    sar.check_source(kernel.info.inputs, spec.source)
    _check_epochs(kernel, spec)
    _check_bands(kernel, spec.source)
    _check_objects(kernel.info)
    return Job(spec=spec, now=now, area=area, region=GridArea.project(area, grid), kernel=kernel)


def resolve_frozen(frozen: Frozen) -> Job:
    """The job of a run as it was frozen; with the kernel's threshold where it cuts stored scores.

    Raises:
        DamageError: ``run.json`` holds no valid spec.
        SpecError: The kernel's scores cannot be cut again.
        WeightsError: The kernel's weights are missing or wrong.
    """
    job = resolve(frozen.run_spec(), frozen.now, kernel_options=frozen.kernel_options)
    threshold = threshold_of(frozen.recipe)
    if threshold is None:
        return job
    return replace(job, kernel=rethresholding(job.kernel, job.spec.name).with_threshold(threshold))


def rethresholding(kernel: Kernel, run: str) -> Rethresholding:
    """A kernel whose stored scores can be cut at another threshold.

    Args:
        kernel: Made, not loaded.
        run: The run that made its maps, for the error.

    Raises:
        SpecError: They cannot.
    """
    if isinstance(kernel, Rethresholding):
        return kernel
    raise SpecError(
        f"{run} cannot be cut again: kernel {kernel.info.name} stores no score from which its maps follow pixel by "
        f"pixel; give the output of a change run that compares pixels, or run its spec anew with other options"
    )


def _check_epochs(kernel: Kernel, spec: RunSpec) -> None:
    """Refuse a source with another number of epochs than the kernel maps.

    Raises:
        SpecError: It has.
    """
    count, named = kernel.info.inputs.epochs, ", ".join(spec.source.epochs or ())
    if len(spec.source.ranges()) == count:
        return
    if count == 1:
        raise SpecError(
            f"source.epochs: {kernel.info.name} maps one, and here are {len(spec.source.epochs or ())} ({named}); "
            f"give source.datetime instead"
        )
    stated = f"here are {named}" if named else "there is none"
    raise SpecError(
        f"source.epochs: {stated}, and {kernel.info.name} compares {count}; write such as "
        f"{{before: 2016, after: 2018}} there"
    )


def _check_bands(kernel: Kernel, source: SourceSpec) -> None:
    """Refuse a map of bands that names a band which is not read: a misspelt one would have no effect.

    Raises:
        SpecError: It does.
    """
    stages = kernel.stages() if isinstance(kernel, Measuring) else ()
    read = dict.fromkeys((*kernel.info.inputs.bands, *(band for stage in stages for band in stage.info.bands)))
    if source.mask is not None:
        read[source.mask.band] = None
    unused = [band for band in source.bands or () if band not in read]
    if unused:
        raise SpecError(
            f"source.bands.{unused[0]}: {kernel.info.name} reads {', '.join(read)}; name one of these, or remove it"
        )


def _check_objects(info: KernelInfo) -> None:
    """Refuse objects on another lattice than the grid's: the area, and so their owner, is defined on grid pixels.

    Raises:
        SpecError: They are.
    """
    if info.objects is not None and info.factor != 1:
        raise SpecError(
            f"kernel.gsd: {info.name} finds objects on the grid's own pixels, and its pixels would be {info.factor} "
            f"times as fine; leave kernel.gsd out, or give a grid of that resolution"
        )


def sensors_of(snapshot: Snapshot) -> tuple[str, ...]:
    """Names of the sensors of a snapshot's scenes, sorted.

    One item of each kind is read (of each collection, level and mission): a snapshot may hold 100,000.
    """
    index = snapshot.index
    kinds: dict[tuple[Any, ...], int] = {}
    columns = (index.column(name).to_pylist() for name in ("collection", "level", "id"))
    for row, (collection, level, identifier) in enumerate(zip(*columns, strict=True)):
        kinds.setdefault((collection, level, identifier[:_MISSION]), row)
    sensors = [sensor_of(item) for item in snapshot.items(list(kinds.values())[:KINDS])]
    return tuple(sorted({sensor.name if sensor is not None else UNKNOWN for sensor in sensors}))


def settle_options(kernel: Kernel, snapshot: Snapshot) -> tuple[dict[str, Any], list[str]]:
    """Values for a kernel's ``auto`` options that depend on the scenes' sensors, and a line for each.

    Raises:
        PlanError: The sensors need different values.
    """
    if not isinstance(kernel, Settling):
        return {}, []
    sensors = sensors_of(snapshot)
    values = dict(kernel.settle(sensors))
    stated, names = kernel.info.options, ", ".join(sensors)
    return values, [f"{name} {stated[name]}: {value} was taken for {names}" for name, value in values.items()]


def warnings_of(job: Job, snapshot: Snapshot) -> list[str]:
    """Warnings of the kernel about these scenes and its prompts, and of the source about SAR."""
    levels = [level for level in snapshot.index.column("level").unique().to_pylist() if level is not None]
    checked = job.kernel.check(levels, job.grid.resolution)
    return [*checked, *prompt_check.warnings_of(job.kernel), *sar.warnings_of(job.spec.source)]
