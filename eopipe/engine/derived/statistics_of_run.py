"""A run's statistics for a map in a notebook: ``eopipe.map_kernel(cube, kernel, statistics=OUT)``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eopipe.canonical_json import canonical_json
from eopipe.engine.output import run_json
from eopipe.engine.output.recipe import tile_recipe
from eopipe.engine.plan.open import frozen_tiles
from eopipe.engine.plan.radiometry_survey import files_in
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.plan.tiles import read_box
from eopipe.engine.statistics.interpolate import Statistics
from eopipe.engine.statistics.planning import block_recipe, describe, stages_of
from eopipe.engine.statistics.store import StatisticsStore
from eopipe.errors import PlanError, SpecError
from eopipe.spec import SourceSpec
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.cube.cube import Cube
    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.kernels.protocol import Kernel


def statistics_for(cube: Cube, kernel: Kernel, uri: str | None, *, tile: int) -> Statistics | None:
    """The statistics that a kernel needs to map a cube; None where it declares no stage.

    Args:
        cube: To be mapped.
        kernel: Maps it.
        uri: Folder or URL of the run that measured.
        tile: Side of the squares that are mapped.

    Raises:
        PlanError: The kernel needs statistics and none are given, or the other way round.
        SpecError: There is no run, it has other statistics, or does not reach as far as the cube.
    """
    name = kernel.info.name
    if not stages_of(kernel):
        if uri is not None:
            raise PlanError(f"{name} uses no statistics; leave statistics={uri!r} out")
        return None
    if uri is None:
        raise PlanError(f"{name} needs statistics of a wider area; run it there, and give statistics=OUT of that run")
    storage = Storage.open(uri)
    before = run_json.require(storage)
    _refuse_other(before.recipe, _recipe(cube, kernel, files_in(before.recipe)), storage.url())
    plan = frozen_tiles(storage, before).statistics
    assert plan is not None, "a recipe with statistics has a plan of them"
    _refuse_far(cube, kernel, plan, where=storage.url(), tile=tile)
    left = plan.keys - StatisticsStore(storage).done()
    if left:
        raise SpecError(
            f"statistics: {storage.url()} has measured {plan.blocks - len(left)} of {plan.blocks} blocks; "
            f"run it to its end first"
        )
    return Statistics(storage, plan)


def _recipe(cube: Cube, kernel: Kernel, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The recipe that a run of this kernel on the cube's pixels would freeze.

    Args:
        cube: To be mapped.
        kernel: Maps it.
        files: Facts of files as the run that measured has them.
    """
    settings = cube.settings
    numbers = settings.radiometry.model_dump(exclude_none=True) if settings.radiometry is not None else {}
    source = SourceSpec(catalog="cube", composite=settings.composite, mask=settings.mask, sar=settings.sar, **numbers)
    return tile_recipe(
        info=kernel.info,
        grid=cube.grid,
        tile=0,
        source=source,
        threads=THREADS,
        statistics=describe(stages_of(kernel)),
        files=files,
    )


def _refuse_other(measured: Mapping[str, Any], needed: Mapping[str, Any], where: str) -> None:
    before, now = (json.loads(canonical_json(block_recipe(recipe))) for recipe in (measured, needed))
    if before != now:
        raise SpecError(
            f"statistics: {where} measured something else: {run_json.first_difference(before, now)}; "
            f"give a run of this kernel on such pixels, or map as that run did"
        )


def _refuse_far(cube: Cube, kernel: Kernel, plan: StatisticsPlan, *, where: str, tile: int) -> None:
    for box in cube.box.blocks(tile):
        inside = cube.region is None or cube.region.part(box) != "none"
        if inside and not plan.reaches(read_box(box, kernel.info)):
            west, south, east, north = cube.grid.bounds(box)
            raise SpecError(
                f"statistics: {where} measured nothing around {west:.0f}, {south:.0f}, {east:.0f}, {north:.0f} "
                f"({cube.grid.crs}); map a part of its area"
            )
