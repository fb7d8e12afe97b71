"""A run's folder, opened: resumed as it was frozen, or searched and about to be frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.area.on_grid import Area, GridArea
from eopipe.cube.reader import ReadSettings
from eopipe.engine.output import run_json
from eopipe.engine.plan import prompt_check
from eopipe.engine.plan.auto_options import settled
from eopipe.engine.plan.layouts import feature_layout, mosaic_layout, store_attributes
from eopipe.engine.plan.resolved_spec import Job, resolve, warnings_of
from eopipe.engine.sources.stored_scores import all_tiles, as_cut, at_of
from eopipe.errors import NoItemsError, OutputError, SpecError
from eopipe.grid import Grid
from eopipe.kernel_info import Inputs, KernelInfo, Window
from eopipe.mosaic.features import create as create_features
from eopipe.mosaic.store import create as create_store
from eopipe.snapshot import Snapshot, read_snapshot, write_snapshot
from eopipe.stac.search import SearchReport, search
from eopipe.stac.signing import signer_for
from eopipe.storage import Storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from eopipe.engine.plan.make import Plan
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.sources.kept_features import KeptFeatures
    from eopipe.engine.sources.stored_scores import ScoredRun
    from eopipe.engine.statistics.planning import StatisticsPlan
    from eopipe.mosaic.pca import Basis
    from eopipe.spec import RunSpec


@dataclass(frozen=True)
class Opened:
    """A run's folder with everything that is frozen in it, or about to be.

    Args:
        storage: The folder.
        job: The resolved spec.
        snapshot: The items.
        before: What is frozen there, None before the first start.
        found: What the search said, None where it was not done.
        warnings: To be shown with the plan.
        kept: Another run's window features, which are scored instead of encoding.
        tile: Side of a tile where it is given: frozen, or the other run's.
        scored: Another run, whose stored scores are cut again instead of mapping scenes.
    """

    storage: Storage
    job: Job
    snapshot: Snapshot
    before: run_json.Frozen | None
    found: SearchReport | None
    warnings: tuple[str, ...]
    kept: KeptFeatures | None = None
    tile: int | None = None
    scored: ScoredRun | None = None

    @property
    def derived(self) -> run_json.Derived | None:
        """What the run is made of, where it maps no scenes."""
        if self.scored is not None:
            return run_json.Derived("rethreshold", self.scored.storage.url())
        return run_json.Derived("rescore", self.kept.storage.url()) if self.kept is not None else None

    @property
    def features(self) -> Mapping[str, Any] | None:
        """What the recipe says of window features, where it is known: frozen, or another run's that are scored."""
        if self.before is not None:
            found: Mapping[str, Any] | None = self.before.recipe.get("features")
            return found
        return self.kept.identity if self.kept is not None else None


def open_run(
    spec: RunSpec,
    *,
    now: datetime,
    allow_empty: bool,
    strict: bool = False,
    searching: Callable[[int], None] | None = None,
) -> Opened:
    """Open the output: resume what is frozen there, or search.

    Args:
        spec: The run's.
        now: What relative dates are measured from.
        allow_empty: Whether a search without a match is fine.
        strict: Whether words that the kernel was not taught are refused, before anything is searched.
        searching: Told of the items that have come.

    Raises:
        SpecError: The output belongs to another spec, or a word is refused.
        WeightsError: It was made with other weights.
        NoItemsError: The search matched nothing and ``allow_empty`` is false.
        PlanError: The scenes' sensors need different values of an option.
    """
    refuse_memory(spec, now)
    storage = Storage.open(spec.output_uri(now))
    before = run_json.load(storage)
    if before is not None:
        _refuse_derived(before, storage.url())
        run_json.refuse_another(before, spec, storage.url())
        job = _resolve(spec, before.now, strict=strict, kernel_options=before.kernel_options)
        run_json.refuse_other_weights(before, job.kernel.info, storage.url())
        snapshot = read_snapshot(storage, run_json.current_snapshot(storage))
        return Opened(storage, job, snapshot, before, None, before.warnings, tile=before.tile)
    job = _resolve(spec, now, strict=strict)
    snapshot, found = search(spec, job.area, now, progress=searching)
    if snapshot.index.num_rows == 0 and not allow_empty:
        raise NoItemsError(
            f"no item of {', '.join(spec.source.collections) or spec.source.catalog} matches the area, the dates "
            f"{', '.join(str(dates) for dates in spec.source.ranges().values())}"
            f"{f', the season {spec.source.season}' if spec.source.season else ''} and the query; "
            f"widen one of them, or pass --allow-empty"
        )
    job, notes = _settle(job, snapshot)
    return Opened(storage, job, snapshot, None, found, (*found.warnings, *warnings_of(job, snapshot), *notes))


def _resolve(spec: RunSpec, now: datetime, *, strict: bool, kernel_options: Mapping[str, Any] | None = None) -> Job:
    job = resolve(spec, now, kernel_options=kernel_options)
    if strict:
        prompt_check.refuse_unknown(job.kernel)
    return job


def _settle(job: Job, snapshot: Snapshot) -> tuple[Job, list[str]]:
    """The job with the options frozen that depend on what was found."""
    changes, notes = settled(job.kernel, snapshot)
    if not changes:
        return job, notes
    return resolve(job.spec, job.now, kernel_options={**job.kernel.info.options, **changes}), notes


def open_frozen(storage: Storage, before: run_json.Frozen) -> tuple[Opened, list[PlannedTile]]:
    """A run's folder as it was frozen, and all of its tiles; nothing is searched or measured."""
    job = as_cut(resolve(before.run_spec(), before.now, kernel_options=before.kernel_options), before.recipe)
    snapshot = read_snapshot(storage, run_json.current_snapshot(storage))
    opened = Opened(storage, job, snapshot, before, None, before.warnings, tile=before.tile)
    tiles, _ = all_tiles(job.region, before.tile, info=job.kernel.info, snapshot=snapshot, recipe=before.recipe)
    return opened, tiles


def frozen_tiles(storage: Storage, before: run_json.Frozen) -> tuple[list[PlannedTile], StatisticsPlan | None]:
    """All tiles of a run as it was frozen, and what it measures before them.

    Its kernel is not made, so its weights need not be here.
    """
    spec, made = before.run_spec(), before.recipe["kernel"]
    assert not isinstance(spec.area, str), "a frozen spec holds the area itself"
    snapshot = read_snapshot(storage, run_json.current_snapshot(storage))
    size, stride, halo = made["window"]
    info = KernelInfo(
        name=made["name"],
        version=made["version"],
        inputs=Inputs("", tuple(before.recipe["bands"]), gsd=spec.grid.resolution),
        window=Window(size, stride, halo),
        arrays=(),
        factor=made["factor"],
    )
    region = GridArea.project(Area.parse(spec.area), Grid(before.crs, spec.grid.resolution))
    return all_tiles(region, before.tile, info=info, snapshot=snapshot, recipe=before.recipe)


def read_settings(job: Job) -> ReadSettings:
    """How this job's pixels are read."""
    source = job.spec.source
    return ReadSettings(
        bands=job.kernel.info.inputs.bands,
        composite=source.composite,
        mask=source.mask,
        sar=source.sar,
        grid=job.read_grid,
        sign=signer_for(source),
        requester_pays=source.requester_pays,
    )


def freeze(opened: Opened, plan: Plan, basis: Basis | None = None) -> None:
    """Write what a later run resumes from; ``run.json`` last, so that it vouches for the rest.

    Args:
        opened: The run.
        plan: Its plan.
        basis: Of its window features, where they are reduced.
    """
    if opened.before is not None:
        return
    storage, job = opened.storage, opened.job
    write_snapshot(opened.snapshot, storage)
    run_json.write_version(storage, 1, opened.snapshot.hash, "first run")
    create_store(storage, mosaic_layout(job, plan.tile), store_attributes(job, plan))
    if (layout := feature_layout(job, plan.tile)) is not None:
        create_features(storage, layout, basis, store_attributes(job, plan))
    document = run_json.Frozen(
        spec=run_json.plain_spec(job.spec),
        now=job.now,
        tile=plan.tile,
        crs=job.grid.crs,
        kernel_options=dict(job.kernel.info.options),
        recipe=plan.recipe,
        area=job.area.geojson,
        versions=run_json.versions(),
        warnings=plan.warnings,
        words=tuple(prompt_check.plain(plan.words)),
        derived=opened.derived,
    )
    if not storage.create(run_folder.RUN, document.to_bytes()):
        raise OutputError(
            f"{storage.url(run_folder.RUN)} appeared while this run was planning; run again to resume it"
        )


def _refuse_derived(before: run_json.Frozen, where: str) -> None:
    """What was made of another run is resumed by the command that made it.

    Raises:
        SpecError: With that command.
    """
    if before.derived is None:
        return
    by, source, at = before.derived.by, before.derived.source, at_of(before.recipe)
    how = f"{source} and its options" if at is None else f"{source} --to {where} --at {at}"
    raise SpecError(
        f"output {where} was made of {source}, not of scenes; resume it with eopipe {by} {how}, "
        f"or give another output"
    )


def refuse_memory(spec: RunSpec, now: datetime) -> None:
    """Workers share no memory.

    Raises:
        SpecError: The output is in memory.
    """
    uri = spec.output_uri(now)
    if uri.startswith("memory:"):
        raise SpecError(f"output.uri: {uri} cannot be shared by worker processes; give a folder or an object store")
