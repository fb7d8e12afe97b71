"""The plan of a run that cuts another's scores again: no scene is read, no kernel loaded, little measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import psutil

from eopipe.cube.estimate import ReadEstimate
from eopipe.engine.cluster.device import choose_device, device_label
from eopipe.engine.format import gib
from eopipe.engine.plan import prompt_check
from eopipe.engine.plan.make import WRITTEN_A_PIXEL, Plan, Workers
from eopipe.engine.plan.memory import GDAL_CACHE, TileMemory
from eopipe.engine.sources.stored_scores import all_tiles, recipe_of
from eopipe.engine.work.calibrate import Calibration
from eopipe.errors import PlanError

if TYPE_CHECKING:
    from distributed import Client

    from eopipe.engine.plan.open import Opened
    from eopipe.kernel_info import KernelInfo

PIXELS_A_SECOND = {False: 1e7, True: 2.5e6}
"""Of one array, read, cut, reduced and written by one worker, without COGs and with them."""


def plan_cut(opened: Opened, *, workers: Workers, calibration: Calibration) -> Plan:
    """Plan an opened run of :func:`eopipe.engine.derived.rethreshold.rethreshold`.

    Args:
        opened: The run; its tile's side is the source's.
        workers: The cluster, as far as the plan must know it.
        calibration: Of a worker (:func:`weigh`).

    Raises:
        PlanError: A worker has less memory than a tile needs.
    """
    job, size, scored = opened.job, opened.tile, opened.scored
    assert size is not None, "a tile has the side that it has in the source"
    assert scored is not None, "it cuts another run's scores"
    recipe = recipe_of(scored.recipe, scored.at)
    tiles, _ = all_tiles(job.region, size, info=job.kernel.info, snapshot=opened.snapshot, recipe=recipe)
    memory = _memory(job.kernel.info, size, base=calibration.base, cog=job.spec.output.cog)
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
        seconds=pixels / PIXELS_A_SECOND[job.spec.output.cog] / workers.count,
        kernel_seconds=0.0,
        km2=job.area.km2,
        workers=workers,
        calibration=calibration,
        warnings=opened.warnings,
        words=prompt_check.notes_of(job.kernel),
    )


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


def weigh(client: Client, info: KernelInfo) -> Calibration:
    """What a worker weighs that has loaded no kernel."""
    found: Calibration = client.submit(_weigh, info, pure=False).result()
    return found


def _weigh(info: KernelInfo) -> Calibration:
    import eopipe.engine.work.tile  # noqa: F401, PLC0415  (what a worker imports, so that the base weighs the same)
    from eopipe.engine.work.warm_up import warm_up_arrays  # noqa: PLC0415

    warm_up_arrays(info)
    base = int(psutil.Process().memory_info().rss)
    return Calibration(base=base, window_seconds=0.0, device=device_label(choose_device()))
