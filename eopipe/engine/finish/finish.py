"""The end of a run: coarse pyramid, tile status, ledger table, quicklook, objects, STAC; each from the ledger anew.

Everything here may be repeated: a run that is killed in it finishes on the next start. STAC comes
last; where its Collection stands, the rest is complete.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.engine.finish.merge_objects import merge_objects
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.output.record import total_histogram
from eopipe.engine.plan.layouts import array_specs, mosaic_layout
from eopipe.engine.plan.radiometry_survey import PREFIX
from eopipe.errors import ClusterError
from eopipe.grid import Tile
from eopipe.mosaic.class_areas import class_areas
from eopipe.mosaic.coarse_pyramid import build_parent, coarse_tasks
from eopipe.mosaic.quicklook import QuicklookInfo, quicklook
from eopipe.mosaic.store import write_status
from eopipe.run_folder import OutputFile
from eopipe.stac.publish import publish
from eopipe.stac.publish_input import PublishInfo, SceneRef, TileOutput
from eopipe.text import some
from eopipe.versions import versions

if TYPE_CHECKING:
    from collections import Counter

    from distributed import Client

    from eopipe.engine.output.record import Outcome
    from eopipe.engine.plan.model import Plan
    from eopipe.engine.plan.open import Opened
    from eopipe.mosaic.layout import Layout
    from eopipe.run_folder import MergedObjects
    from eopipe.storage import Storage


def finish(opened: Opened, plan: Plan, *, client: Client, drained: bool) -> dict[str, Any]:
    """Make what is made of all tiles.

    Args:
        opened: The run.
        plan: Its plan.
        client: Of the cluster, for the coarse pyramid.
        drained: Whether a signal stopped the run: where tiles are left, only the tiles' status is written.

    Returns:
        ``counts``, the class table, and the products' addresses.
    """
    storage, layout, ledger = opened.storage, mosaic_layout(opened.job, plan.tile), Ledger(opened.storage)
    outcome = ledger.outcome({tile.key for tile in plan.tiles})
    statuses = {tile.tile: outcome.status(tile.key) for tile in plan.tiles}
    write_status(storage, layout, {**dict.fromkeys(layout.tiles(), "outside"), **statuses})
    counts = outcome.counts
    products: dict[str, Any] = {"counts": counts, "mosaic": storage.url(run_folder.MOSAIC)}
    if drained and counts["not_run"]:
        return products
    _build_coarse(storage, layout, client)
    ledger.write_parquet(outcome)
    histogram = total_histogram(outcome.records.values())
    areas = class_areas(storage, layout, histogram=histogram)
    picture = quicklook(storage, layout, _captions(opened, histogram))
    storage.put(run_folder.QUICKLOOK, picture)
    objects = merge_objects(storage, opened.job, opened.snapshot, outcome.records.values())
    if objects is not None:
        products |= {"objects": objects.count, "vectors": storage.url(objects.file.path)}
    _publish(opened, plan, layout, outcome, picture=picture, objects=objects)
    return {
        **products,
        **_feature_figures(opened, plan),
        **opened.source.summary(plan, outcome.records),
        "classes": [(area.name, round(area.km2, 4), round(area.share, 5)) for area in areas if area.pixels],
        "cogs": storage.url(run_folder.COGS) if opened.job.spec.output.cog else None,
        "stac": storage.url(run_folder.COLLECTION),
        "quicklook": storage.url(run_folder.QUICKLOOK),
    }


def _feature_figures(opened: Opened, plan: Plan) -> dict[str, Any]:
    """Windows and bytes of the features that were kept, where they are."""
    features = opened.job.kernel.info.features
    if features is None:
        return {}
    sizes = [size for _, size in opened.storage.sizes(f"{run_folder.FEATURES}/features/c")]
    share = sum(sizes) / (len(sizes) * features.window_bytes) if sizes else 0.0
    a_km2 = round(plan.features.a_km2 * share) if plan.features else None
    return {"features": {"windows": len(sizes), "bytes": sum(sizes), "bytes_per_km2": a_km2}}


def _build_coarse(storage: Storage, layout: Layout, client: Client) -> None:
    """Level by level, for a level reads the one below; one task a parent shard."""
    for parents in coarse_tasks(layout):
        futures = [client.submit(build_parent, storage, layout, *parent, pure=False) for parent in parents]
        for future, parent in zip(futures, parents, strict=True):
            if (error := future.exception()) is not None:
                raise ClusterError(
                    f"pyramid level {parent[0]} could not be built: {' '.join(str(error).split())[:300]}; "
                    f"the tiles are safe, run again to finish"
                )


def _captions(opened: Opened, histogram: Counter[int]) -> QuicklookInfo:
    spec, index, info = opened.job.spec, opened.snapshot.index, opened.job.kernel.info
    days = sorted({time.date().isoformat() for time in index.column("datetime").to_pylist()})
    when = " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "no scene"
    collections = ", ".join(sorted({name for name in index.column("collection").to_pylist() if name}))
    scenes = f"{some(len(opened.snapshot), 'scene')} of {collections or 'a catalogue'}"
    return QuicklookInfo(
        title=spec.name,
        subtitle=" · ".join([f"{info.name}{opened.source.remark}", when, scenes]),
        attribution=f"made with eopipe · {info.provenance.get('model', '')}",
        histogram=histogram,
        extent=opened.job.region.box,
    )


def _publish(
    opened: Opened, plan: Plan, layout: Layout, outcome: Outcome, *, picture: bytes, objects: MergedObjects | None
) -> None:
    job, index = opened.job, opened.snapshot.index
    moment = datetime.now(UTC).replace(microsecond=0)
    columns = {name: index.column(name).to_pylist() for name in ("id", "collection", "datetime", "href")}
    times = columns["datetime"]
    refs = [
        SceneRef(identifier, collection or "", time, href)
        for identifier, collection, time, href in zip(*columns.values(), strict=True)
    ]
    outputs = (
        TileOutput(
            tile=Tile.parse(record.tile),
            inputs=record.inputs,
            status=record.status,
            scenes=tuple(refs[row] for row in record.scenes),
            files=record.files,
            histogram=record.histogram,
        )
        for record in outcome.records.values()
    )
    info = PublishInfo(
        name=job.spec.name,
        description=f"{job.kernel.info.name} made by eopipe from {', '.join(job.spec.source.collections) or 'STAC'}",
        area=job.area,
        region=job.region,
        tile_size=plan.tile,
        kernel=job.kernel.info,
        arrays=array_specs(job),
        interval=(min(times), max(times)) if times else (moment, moment),
        created=moment,
        software=versions(),
        failed={key.tile: failure.reason for key, failure in outcome.failures.items()},
        counts=outcome.counts,
        levels=layout.levels,
        quicklook=OutputFile.of(run_folder.QUICKLOOK, picture),
        objects=objects,
        warnings=tuple(line for line in plan.warnings if line.startswith(PREFIX)),
    )
    publish(opened.storage, info, outputs)
