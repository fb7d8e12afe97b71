"""The end of a run: coarse pyramid, tile status, ledger table, quicklook, objects, STAC; each from the ledger anew.

Everything here may be repeated: a run that is killed in it finishes on the next start. STAC comes
last; where its Collection stands, the rest is complete.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.engine.output.ledger import Failure, Ledger, Record
from eopipe.engine.plan.layouts import array_specs, mosaic_layout
from eopipe.engine.work.tile_objects import merge_objects
from eopipe.errors import ClusterError
from eopipe.grid import Tile
from eopipe.mosaic.class_areas import class_areas
from eopipe.mosaic.coarse_pyramid import build_parent, coarse_tasks
from eopipe.mosaic.quicklook import QuicklookInfo, quicklook
from eopipe.mosaic.store import write_status
from eopipe.run_folder import Key
from eopipe.stac.publish import publish
from eopipe.stac.publish_input import ObjectsFile, OutputFile, PublishInfo, SceneRef, TileOutput
from eopipe.versions import versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distributed import Client

    from eopipe.engine.plan.make import Plan
    from eopipe.engine.plan.open import Opened
    from eopipe.mosaic.layout import Layout
    from eopipe.storage import Storage


@dataclass(frozen=True)
class Outcome:
    """Where every tile stands now: records of what is done, last failures of what is not."""

    records: Mapping[Key, Record]
    failures: Mapping[Key, Failure]
    statuses: Mapping[Tile, str]

    @property
    def counts(self) -> dict[str, int]:
        """Tiles by status."""
        found = Counter(status.replace(" ", "_") for status in self.statuses.values() if status != "outside")
        return {name: found[name] for name in ("done", "empty", "masked", "failed", "not_run")}


def outcome_of(opened: Opened, plan: Plan, layout: Layout) -> Outcome:
    """Read the ledger."""
    ledger = Ledger(opened.storage)
    planned = {tile.key: tile.tile for tile in plan.tiles}
    records = {record.key: record for record in ledger.load_all(set(planned))}
    failures = {
        failure.key: failure for failure in ledger.failures() if failure.key in planned and failure.key not in records
    }
    statuses: dict[Tile, str] = dict.fromkeys(layout.tiles(), "outside")
    for key, tile in planned.items():
        statuses[tile] = records[key].status if key in records else "failed" if key in failures else "not run"
    return Outcome(records, failures, statuses)


def finish(opened: Opened, plan: Plan, *, client: Client, drained: bool) -> dict[str, Any]:
    """Make what is made of all tiles.

    Args:
        opened: The run.
        plan: Its plan.
        client: Of the cluster, for the coarse pyramid.
        drained: Whether a signal stopped the run: where tiles are left, only the tiles' status is written.

    Returns:
        ``counts``, the class table, and where the products are.
    """
    storage, layout = opened.storage, mosaic_layout(opened.job, plan.tile)
    outcome = outcome_of(opened, plan, layout)
    write_status(storage, layout, outcome.statuses)
    found: dict[str, Any] = {"counts": outcome.counts, "mosaic": storage.url(run_folder.MOSAIC)}
    if drained and outcome.counts["not_run"]:
        return found
    _build_coarse(storage, layout, client)
    Ledger(storage).write_parquet({tile.key for tile in plan.tiles})
    total = _histogram(outcome)
    areas = class_areas(storage, layout, histogram=total)
    picture = quicklook(storage, layout, _words(opened, total))
    storage.put(run_folder.QUICKLOOK, picture)
    objects = _merged(opened, outcome)
    _publish(opened, plan, layout, outcome, picture=picture, objects=objects)
    return {
        **found,
        **_feature_figures(opened, plan, outcome),
        **({"objects": objects.count, "vectors": storage.url(objects.file.path)} if objects is not None else {}),
        **_cut_figures(opened, plan, outcome),
        "classes": [(area.name, round(area.km2, 4), round(area.share, 5)) for area in areas if area.pixels],
        "cogs": storage.url(run_folder.COGS) if opened.job.spec.output.cog else None,
        "stac": storage.url(run_folder.COLLECTION),
        "quicklook": storage.url(run_folder.QUICKLOOK),
    }


def _merged(opened: Opened, outcome: Outcome) -> ObjectsFile | None:
    merged = merge_objects(opened.storage, opened.job, opened.snapshot, outcome.records.values())
    if merged is None:
        return None
    return ObjectsFile(OutputFile(merged.path, merged.size, merged.sha256), merged.count, merged.sources)


def _feature_figures(opened: Opened, plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What was kept, and what it cost to score what another run kept; against that run's own tiles."""
    found: dict[str, Any] = {}
    if (features := opened.job.kernel.info.features) is not None:
        sizes = [size for _, size in opened.storage.sizes(f"{run_folder.FEATURES}/features/c")]
        share = sum(sizes) / (len(sizes) * features.window_bytes) if sizes else 0.0
        found["features"] = {
            "windows": len(sizes),
            "bytes": sum(sizes),
            "bytes_per_km2": round(plan.features.a_km2 * share) if plan.features else None,
        }
    if opened.kept is not None:
        full = sum(record.seconds.get("kernel", 0.0) for record in Ledger(opened.kept.storage).load_all())
        spent = sum(record.seconds.get("kernel", 0.0) for record in outcome.records.values())
        found["rescored"] = {
            "from": opened.kept.storage.url(),
            "kernel_seconds": round(spent, 3),
            "kernel_seconds_of_full_run": round(full, 3),
        }
    return found


def _cut_figures(opened: Opened, plan: Plan, outcome: Outcome) -> dict[str, Any]:
    """What the run whose scores were cut says on the same tiles."""
    if (scored := opened.scored) is None:
        return {}
    keys = {Key(tile.tile.name, tile.source or "") for tile in plan.tiles if tile.key in outcome.records}
    total: Counter[int] = Counter()
    for record in Ledger(scored.storage).load_all(keys):
        total.update(record.histogram)
    areas = class_areas(scored.storage, scored.layout, histogram=total)
    classes = [(area.name, round(area.km2, 4), round(area.share, 5)) for area in areas if area.pixels]
    return {"rethresholded": {"from": scored.storage.url(), "at": scored.at, "classes_of_source": classes}}


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


def _histogram(outcome: Outcome) -> Counter[int]:
    total: Counter[int] = Counter()
    for record in outcome.records.values():
        total.update(record.histogram)
    return total


def _words(opened: Opened, total: Counter[int]) -> QuicklookInfo:
    spec, index = opened.job.spec, opened.snapshot.index
    days = sorted({time.date().isoformat() for time in index.column("datetime").to_pylist()})
    when = " to ".join(dict.fromkeys([days[0], days[-1]])) if days else "no scene"
    source = ", ".join(sorted({name for name in index.column("collection").to_pylist() if name})) or "a catalogue"
    name = opened.job.kernel.info.name
    made = name if opened.scored is None else f"{name}, from {opened.scored.at} hundredths of the threshold on"
    return QuicklookInfo(
        title=spec.name,
        subtitle=" · ".join([made, when, f"{_scenes(len(opened.snapshot))} of {source}"]),
        attribution=f"made with eopipe · {opened.job.kernel.info.provenance.get('model', '')}",
        histogram=total,
        extent=opened.job.region.box,
    )


def _scenes(count: int) -> str:
    return "1 scene" if count == 1 else f"{count:,} scenes"


def _publish(
    opened: Opened, plan: Plan, layout: Layout, outcome: Outcome, *, picture: bytes, objects: ObjectsFile | None
) -> None:
    job, index = opened.job, opened.snapshot.index
    times = index.column("datetime").to_pylist()
    moment = datetime.now(UTC).replace(microsecond=0)
    refs = [
        SceneRef(identifier, collection or "", time, href)
        for identifier, collection, time, href in zip(
            index.column("id").to_pylist(),
            index.column("collection").to_pylist(),
            times,
            index.column("href").to_pylist(),
            strict=True,
        )
    ]
    outputs = (
        TileOutput(
            tile=Tile.parse(record.tile),
            inputs=record.inputs,
            status=record.status,
            scenes=tuple(refs[row] for row in record.scenes),
            files={name: OutputFile(file.path, file.size, file.sha256) for name, file in record.files.items()},
            histogram=record.histogram,
        )
        for record in outcome.records.values()
    )
    arrays = array_specs(job)
    info = PublishInfo(
        name=job.spec.name,
        description=f"{job.kernel.info.name} made by eopipe from {', '.join(job.spec.source.collections) or 'STAC'}",
        area=job.area,
        region=job.region,
        tile_size=plan.tile,
        kernel=job.kernel.info,
        arrays=arrays,
        interval=(min(times), max(times)) if times else (moment, moment),
        created=moment,
        software=versions(),
        failed={key.tile: failure.reason for key, failure in outcome.failures.items()},
        counts=outcome.counts,
        assets={spec.name: (spec.name,) for spec in arrays},
        levels=layout.levels,
        quicklook=OutputFile(run_folder.QUICKLOOK, len(picture), hashlib.sha256(picture).hexdigest()),
        objects=objects,
    )
    publish(opened.storage, info, outputs)
