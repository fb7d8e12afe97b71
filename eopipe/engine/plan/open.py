"""A run's folder, opened: resumed as it was frozen, or searched and about to be frozen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from eopipe import run_folder
from eopipe.area.on_grid import Area, GridArea
from eopipe.engine.output import run_json
from eopipe.engine.plan import prompt_check
from eopipe.engine.plan.layouts import feature_layout, mosaic_layout, store_attributes
from eopipe.engine.plan.model import PlanRequest
from eopipe.engine.plan.radiometry_survey import Survey, files_in, survey
from eopipe.engine.plan.resolved_spec import resolve, resolve_frozen, settle_options, warnings_of
from eopipe.engine.plan.tiles import plan_tiles
from eopipe.engine.sources.scenes import Scenes
from eopipe.engine.work.precision import LIMIT
from eopipe.errors import NoItemsError, OutputError, SpecError
from eopipe.grid import Grid
from eopipe.mosaic.features import create as create_features
from eopipe.mosaic.store import create as create_store
from eopipe.snapshot import Snapshot, read_snapshot, write_snapshot
from eopipe.stac.search import SearchReport, search
from eopipe.storage import Storage
from eopipe.versions import versions

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from eopipe.engine.plan.model import Calibration, Plan, Workers
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.engine.plan.tiles import TilePlan
    from eopipe.engine.sources.protocol import TileSource
    from eopipe.kernels.protocol import Kernel
    from eopipe.mosaic.pca import Basis
    from eopipe.spec import RunSpec

WORTH = 0.9
"""``precision: auto`` gives up float32's bits for a tenth of the time at least: equal speeds differ a little too."""


@dataclass(frozen=True)
class Opened:
    """A run's folder with everything that is frozen in it, or about to be.

    Args:
        storage: The folder.
        job: The resolved spec.
        snapshot: The items.
        before: ``run.json``, None before the first start.
        report: Of the search, None where none was done.
        warnings: Shown with the plan.
        tile: Side of a tile where it is given: frozen, or the other run's.
        source: What tiles are made of.
        survey: What the files' numbers mean.
    """

    storage: Storage
    job: Job
    snapshot: Snapshot
    before: run_json.Frozen | None
    report: SearchReport | None
    warnings: tuple[str, ...]
    tile: int | None = None
    source: TileSource = field(default_factory=Scenes)
    survey: Survey = field(default_factory=Survey)

    def plan(self, *, workers: Workers, calibration: Calibration) -> Plan:
        """Plan the run; nothing is written.

        Raises:
            PlanError: It cannot fit.
            ItemError: A scene lacks a band that the kernel needs.
        """
        features = None if self.before is None else self.before.recipe.get("features")
        return self.source.plan(
            PlanRequest(
                self.job, self.snapshot, workers, calibration, self.tile, self.warnings, features, self.survey
            )
        )


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
        now: Time that relative dates are measured from.
        allow_empty: Whether a search without a match is fine.
        strict: Whether prompts outside the kernel's vocabulary are refused, before anything is searched, and items
            that cannot be used.
        searching: Receives the number of items so far.

    Raises:
        SpecError: The output belongs to another spec, or a prompt is refused.
        WeightsError: It was made with other weights.
        NoItemsError: The search matched nothing and ``allow_empty`` is false.
        PlanError: The scenes' sensors need different values of an option.
        ItemError: Nothing says what the numbers of a kind of file mean.
    """
    refuse_memory(spec, now)
    storage = Storage.open(spec.output_uri(now))
    before = run_json.load(storage)
    if before is not None:
        run_json.refuse_derived(before, storage.url())
        run_json.refuse_another(before, spec, storage.url())
        job = resolve(spec, before.now, kernel_options=before.kernel_options)
    else:
        job = resolve(spec, now)
    if strict:
        prompt_check.refuse_unknown(job.kernel)
    if before is not None:
        run_json.refuse_other_weights(before, job.kernel.info, storage.url())
        snapshot = read_snapshot(storage, run_json.current_snapshot(storage))
        if spec.source.sign == "keep":  # signatures are never written, so that they are searched for at each start
            search(spec.source, job.area, before.now, progress=searching)
        warnings = (*before.warnings, *run_json.software_warnings(before))
        facts = survey(snapshot, job.read)
        facts.refuse_other(before.recipe, storage.url())
        facts = replace(facts, files=tuple(files_in(before.recipe)))
        return Opened(storage, job, snapshot, before, None, warnings, tile=before.tile, survey=facts)
    snapshot, report = search(spec.source, job.area, now, progress=searching, strict=strict)
    if snapshot.index.num_rows == 0 and not allow_empty:
        raise NoItemsError(
            f"no item of {', '.join(spec.source.collections) or spec.source.catalog} matches the area, the dates "
            f"{', '.join(str(dates) for dates in spec.source.ranges().values())}"
            f"{f', the season {spec.source.season}' if spec.source.season else ''} and the query; "
            f"widen one of them, or pass --allow-empty"
        )
    values, notes = settle_options(job.kernel, snapshot)
    if values:
        job = resolve(spec, now, kernel_options={**job.kernel.info.options, **values})
    facts = survey(snapshot, job.read)
    warnings = (*report.warnings, *warnings_of(job, snapshot), *notes, *facts.warnings)
    return Opened(storage, job, snapshot, None, report, warnings, survey=facts)


def open_frozen(storage: Storage, before: run_json.Frozen) -> tuple[Opened, TilePlan]:
    """A run's folder as it was frozen, and all of its tiles; nothing is searched or measured."""
    job = resolve_frozen(before)
    snapshot = read_snapshot(storage, run_json.current_snapshot(storage))
    opened = Opened(storage, job, snapshot, before, None, before.warnings, tile=before.tile)
    return opened, plan_tiles(job.region, snapshot=snapshot, recipe=before.recipe)


def frozen_tiles(storage: Storage, before: run_json.Frozen) -> TilePlan:
    """All tiles of a run, and what is measured before them, from its folder alone: no kernel, no weights."""
    spec = before.run_spec()
    assert not isinstance(spec.area, str), "a frozen spec holds the area itself"
    snapshot = read_snapshot(storage, run_json.current_snapshot(storage))
    region = GridArea.project(Area.parse(spec.area), Grid(before.crs, spec.grid.resolution))
    return plan_tiles(region, snapshot=snapshot, recipe=before.recipe)


def freeze_precision(opened: Opened, measure: Callable[[Kernel], Calibration]) -> tuple[Opened, Calibration]:
    """Resolve ``precision: auto`` by measuring both precisions; returns the calibration of the chosen one.

    Args:
        opened: The run.
        measure: Calibrates a kernel on a worker, or in a process of this machine.
    """
    options = opened.job.kernel.info.options
    if options.get("precision") != "auto":
        return opened, measure(opened.job.kernel)

    def tried(precision: str) -> tuple[Job, Calibration]:
        job = resolve(opened.job.spec, opened.job.now, kernel_options={**options, "precision": precision})
        return job, measure(job.kernel)

    name, (job, calibration) = "float32", tried("float32")
    if calibration.bfloat16 > LIMIT:
        reason = f"a bfloat16 product takes {calibration.bfloat16:.0f} times as long as float32's"
    else:
        half_job, half = tried("bfloat16")
        reason = f"float32 {calibration.window_seconds:.3f} s, bfloat16 {half.window_seconds:.3f} s a window"
        if half.window_seconds < WORTH * calibration.window_seconds:
            name, job, calibration = "bfloat16", half_job, half
    warnings = (*opened.warnings, f"precision auto: {name} was taken ({reason})")
    return replace(opened, job=job, warnings=warnings), calibration


def freeze(opened: Opened, plan: Plan, basis: Basis | None = None) -> None:
    """Write what a later start resumes from; ``run.json`` last, so that it vouches for the rest.

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
        versions=versions(),
        warnings=plan.warnings,
        words=tuple(note.plain() for note in plan.words),
        derived=opened.source.derived,
    )
    if not storage.create(run_folder.RUN, document.to_bytes()):
        raise OutputError(
            f"{storage.url(run_folder.RUN)} appeared while this run was planning; run again to resume it"
        )


def refuse_memory(spec: RunSpec, now: datetime) -> None:
    """Workers share no memory.

    Raises:
        SpecError: The output is in memory.
    """
    uri = spec.output_uri(now)
    if uri.startswith("memory:"):
        raise SpecError(f"output.uri: {uri} cannot be shared by worker processes; give a folder or an object store")
