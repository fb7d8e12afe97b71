"""From a spec to a job: everything resolved that a plan and a run need, and nothing read of any pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eopipe.area.on_grid import Area, GridArea, resolve_crs
from eopipe.cube import sar
from eopipe.engine.plan import prompt_check
from eopipe.engine.work.tile_objects import check_objects
from eopipe.errors import SpecError
from eopipe.grid import Grid
from eopipe.kernels.registry import create

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from eopipe.kernels.protocol import Kernel
    from eopipe.snapshot import Snapshot
    from eopipe.spec import RunSpec

THREADS = 1
"""Torch threads a task: part of the tile recipe, since sums depend on them (DESIGN §5)."""


@dataclass(frozen=True)
class Job:
    """A resolved spec.

    Args:
        spec: As written.
        now: What relative dates were measured from.
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
    def read_grid(self) -> Grid:
        """The lattice that is read: finer than the mosaic's where the kernel's GSD is."""
        return self.grid.finer(self.kernel.info.factor)


def resolve(spec: RunSpec, now: datetime, *, kernel_options: Mapping[str, Any] | None = None) -> Job:
    """Resolve area, grid and kernel.

    Args:
        spec: A valid run spec.
        now: What relative dates are measured from.
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
    check_objects(kernel.info)
    return Job(spec=spec, now=now, area=area, region=GridArea.project(area, grid), kernel=kernel)


def _check_epochs(kernel: Kernel, spec: RunSpec) -> None:
    """Refuse a source with another number of epochs than the kernel maps.

    Raises:
        SpecError: It has.
    """
    wanted, said = kernel.info.inputs.epochs, spec.source.epochs
    if len(spec.source.ranges()) == wanted:
        return
    if wanted == 1:
        raise SpecError(
            f"source.epochs: {kernel.info.name} maps one, and here are {len(said or ())} ({', '.join(said or ())}); "
            f"give source.datetime instead"
        )
    found = f"source.epochs: here are {', '.join(said)}" if said else "source.epochs: there is none"
    raise SpecError(
        f"{found}, and {kernel.info.name} compares {wanted}; write such as {{before: 2016, after: 2018}} there"
    )


def warnings_of(job: Job, snapshot: Snapshot) -> list[str]:
    """What the kernel has to say about these scenes and its words, and what the spec's on SAR mean for the map."""
    levels = [level for level in snapshot.index.column("level").unique().to_pylist() if level is not None]
    said = job.kernel.check(levels, job.grid.resolution)
    return [*said, *prompt_check.warnings_of(job.kernel), *sar.warnings_of(job.spec.source)]
