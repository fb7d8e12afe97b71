"""From a job to what it makes: the layouts of mosaic, features and objects, attributes, and the COGs' own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.canonical_json import digest
from eopipe.kernelinfo import ArraySpec
from eopipe.mosaic.cog import CogInfo
from eopipe.mosaic.features import FeatureLayout
from eopipe.mosaic.layout import Layout
from eopipe.mosaic.objects import ObjectLayout
from eopipe.versions import __version__

if TYPE_CHECKING:
    from eopipe.area.on_grid import GridArea
    from eopipe.engine.plan.model import Plan
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.kernelinfo import KernelInfo

OBSERVATIONS = ArraySpec("observations", "uint8", 255, 0, losers=(255,), long_name="scenes seen (254 for more)")
"""The engine's own array, beside the kernel's."""


def array_specs(job: Job) -> tuple[ArraySpec, ...]:
    """All arrays of the mosaic."""
    return (*job.kernel.info.arrays, OBSERVATIONS)


def mosaic_layout(job: Job, tile: int) -> Layout:
    """The mosaic's layout for tiles of a side."""
    return Layout.plan(job.grid, tile, job.region.tile_bounds(tile), array_specs(job))


def feature_layout(job: Job, tile: int) -> FeatureLayout | None:
    """The layout of window features for tiles of a side; None where the kernel keeps none."""
    if job.kernel.info.features is None:
        return None
    return FeatureLayout.of(job.kernel.info, tile, job.region.tile_bounds(tile))


def object_layout(info: KernelInfo, region: GridArea) -> ObjectLayout | None:
    """The layout of the files of objects; None where the kernel finds none."""
    return None if info.objects is None else ObjectLayout(info.objects, region.grid)


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
    """The run's name, kernel and model, for the tags of every COG."""
    info = job.kernel.info
    return CogInfo(
        run=job.spec.name,
        kernel=info.name,
        arrays=array_specs(job),
        tags={"MODEL": str(info.provenance.get("model", ""))},
    )
