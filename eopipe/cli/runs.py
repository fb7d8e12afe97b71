"""``plan``, ``run``, ``rescore``, ``rethreshold``, ``status``, ``validate``: a run from its spec to its output."""

from __future__ import annotations

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from eopipe.cli.app import app, print_json, print_pairs, progress
from eopipe.cli.options import (
    Address,
    AllowEmpty,
    Json,
    KernelOptions,
    LocalWorkers,
    Now,
    OutUri,
    SpecPath,
    Strict,
    read_options,
)
from eopipe.errors import SpecError
from eopipe.spec import ClusterSpec, load_spec, resolve_now

if TYPE_CHECKING:
    from collections.abc import Callable


class Shape(StrEnum):
    """What ``eopipe plan --tiles`` may print."""

    no = "no"
    geojson = "geojson"


@app.command()
def plan(
    spec: SpecPath,
    *,
    now: Now = None,
    allow_empty: AllowEmpty = False,
    strict: Strict = False,
    tiles: Annotated[
        Shape, typer.Option("--tiles", help="Print the tiles too, as GeoJSON on the map's CRS in lon/lat.")
    ] = Shape.no,
    as_json: Json = False,
) -> None:
    """Say what a run would do: tiles, tasks, bytes, requests, memory, time. Nothing is written."""
    loaded, moment = load_spec(spec), resolve_now(now)  # a wrong spec is told before torch and dask are loaded

    from eopipe.engine.display import plan_lines  # noqa: PLC0415
    from eopipe.engine.plan.open import open_run  # noqa: PLC0415
    from eopipe.engine.run import local_workers, plan_run  # noqa: PLC0415
    from eopipe.engine.work.calibrate import calibrate  # noqa: PLC0415  (with what follows: torch and dask)
    from eopipe.engine.work.precision import freeze_precision  # noqa: PLC0415

    found = open_run(loaded, now=moment, allow_empty=allow_empty, strict=strict)
    opened, calibration = freeze_precision(found, calibrate)
    made = plan_run(opened, workers=local_workers(loaded), calibration=calibration)
    if tiles is Shape.geojson:
        from eopipe.engine.plan.geojson import feature_collection  # noqa: PLC0415

        print_json(feature_collection(opened.job, made))
        return
    if as_json:
        print_json({"output": opened.storage.url(), **made.summary()})
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in plan_lines(made):
        console.print(line)
    console.print(f"next: eopipe run {spec}", markup=False)


@app.command()
def run(
    spec: SpecPath,
    *,
    now: Now = None,
    allow_empty: AllowEmpty = False,
    strict: Strict = False,
    as_json: Json = False,
) -> None:
    """Run a spec, or resume it where an earlier run stopped.

    Ctrl-C drains: tiles under way are finished, and the same command resumes. A second Ctrl-C stops at once.
    """
    loaded, moment = load_spec(spec), resolve_now(now) if now else None

    from eopipe.engine.display import choose_display  # noqa: PLC0415

    display = choose_display(quiet=as_json)
    display.phase("load")
    from eopipe.engine.run import execute  # noqa: PLC0415

    work = partial(execute, loaded, now=moment, allow_empty=allow_empty, strict=strict, display=display)
    _see_through(work, display, as_json=as_json)


@app.command()
def rescore(
    out: OutUri,
    *,
    prompts: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Classes and their words, such as 'water: water, river; forest: forest'."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--out", metavar="URI", help="The new output; a name beside OUT where not given.")
    ] = None,
    changes: KernelOptions = None,
    workers: LocalWorkers = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Map other words from the window features that a run kept; nothing is encoded. The same command resumes."""
    options = read_options(prompts, changes)
    if not options:
        raise SpecError("nothing to change; give --prompts 'water: water, river; forest: forest', or --set scale=40")

    from eopipe.engine.display import choose_display  # noqa: PLC0415

    display = choose_display(quiet=as_json)
    display.phase("load")
    from eopipe.engine.derived.rescore import rescore as again  # noqa: PLC0415

    cluster = _cluster(workers, address)
    _see_through(partial(again, out, options, out=to, display=display, cluster=cluster), display, as_json=as_json)


@app.command()
def rethreshold(
    out: OutUri,
    *,
    to: Annotated[str, typer.Option("--to", metavar="NEW", help="The new output.", show_default=False)],
    at: Annotated[
        int,
        typer.Option(
            "--at",
            metavar="N",
            show_default=False,
            help="From which change_score on a pixel counts as changed: 1 to 250, in hundredths of the threshold of "
            "its place. 100 is the map as it is, 50 finds more, 200 only what is twice as clear.",
        ),
    ],
    workers: LocalWorkers = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Cut a change map elsewhere, from the scores that a run stored; nothing is mapped. The same command resumes."""
    from eopipe.engine.display import choose_display  # noqa: PLC0415

    display = choose_display(quiet=as_json)
    display.phase("load")
    from eopipe.engine.derived.rethreshold import rethreshold as again  # noqa: PLC0415

    cluster = _cluster(workers, address)
    _see_through(partial(again, out, to=to, at=at, display=display, cluster=cluster), display, as_json=as_json)


def _cluster(workers: int | None, address: str | None) -> ClusterSpec | None:
    """What computes, as the command line says it; None where it says nothing."""
    asked = {"kind": "address", "address": address} if address else {"kind": "local", "workers": workers}
    return ClusterSpec.model_validate(asked) if address or workers else None


def _see_through(work: Callable[[], dict[str, Any]], display: Any, *, as_json: bool) -> NoReturn:
    """Do it with its display, which is closed whatever happens; then the summary and its exit status."""
    from eopipe.engine.display import Terminal  # noqa: PLC0415  (torch and dask)

    try:
        summary = work()
    finally:
        if isinstance(display, Terminal):
            display.close()
    if as_json:
        print_json(summary)
    raise typer.Exit(summary["exit_status"])


@app.command()
def status(out: OutUri, *, as_json: Json = False) -> None:
    """Say how far a run is: tiles by status, failures by reason, who is writing."""
    from eopipe.engine.finish.status import read_status  # noqa: PLC0415

    found = read_status(out)
    if as_json:
        print_json(found)
    else:
        print_pairs(found)


@app.command()
def validate(out: OutUri, *, as_json: Json = False) -> None:
    """Read everything again: shards against checksums, ledger against shards, STAC against files."""
    from eopipe.engine.finish.validate import validate_run  # noqa: PLC0415

    problems = validate_run(out, progress=None if as_json else progress)
    if as_json:
        print_json({"output": out, "problems": problems, "exit_status": 6 if problems else 0})
    else:
        for problem in problems:
            typer.echo(problem)
        told = f"{len(problems):,} problem{'s' * (len(problems) > 1)}" if problems else "everything agrees"
        typer.echo(told, err=bool(problems))
    raise typer.Exit(6 if problems else 0)
