"""From a job to what it makes: the mosaic's layout, its attributes, and what a COG says of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe import __version__
from eopipe.engine.output.recipe import digest
from eopipe.kernel_info import ArraySpec
from eopipe.mosaic.cog import CogInfo
from eopipe.mosaic.features import FeatureLayout
from eopipe.mosaic.layout import Layout

if TYPE_CHECKING:
    from eopipe.engine.plan.make import Plan
    from eopipe.engine.plan.resolved_spec import Job

OBSERVATIONS = ArraySpec("observations", "uint8", 255, 0, losers=(255,), long_name="scenes seen (254 for more)")
"""The engine's own array, beside the kernel's."""


def array_specs(job: Job) -> tuple[ArraySpec, ...]:
    """All arrays of the mosaic."""
    return (*job.kernel.info.arrays, OBSERVATIONS)


def mosaic_layout(job: Job, tile: int) -> Layout:
    """The mosaic's layout for tiles of a side."""
    return Layout.plan(job.grid, tile, job.region.tile_bounds(tile), array_specs(job))


def feature_layout(job: Job, tile: int) -> FeatureLayout | None:
    """Where window features lie for tiles of a side; None where the kernel keeps none."""
    if job.kernel.info.features is None:
        return None
    return FeatureLayout.of(job.kernel.info, tile, job.region.tile_bounds(tile))


def store_attributes(job: Job, plan: Plan) -> dict[str, Any]:
    """Attributes of the store's root."""
    info = job.kernel.info
    return {
        "title": job.spec.name,
        "eopipe:version": __version__,
        "eopipe:kernel": info.name,
        "eopipe:model": dict(info.provenance),
        "eopipe:recipe": digest(plan.recipe),
        "datetime_ranges": dict(job.spec.source.ranges()),
    }


def cog_info(job: Job) -> CogInfo:
    """What every COG says of the run."""
    info = job.kernel.info
    return CogInfo(
        run=job.spec.name,
        kernel=info.name,
        arrays=array_specs(job),
        tags={"MODEL": str(info.provenance.get("model", ""))},
    )
