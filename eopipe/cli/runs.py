"""``plan``, ``run``, ``rescore``, ``rethreshold``, ``status``, ``validate``: a run from its spec to its output."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer

from eopipe.cli.app import app, print_json, print_lines, print_pairs, progress, run_display
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
    option,
    read_options,
)
from eopipe.errors import SpecError
from eopipe.spec import ClusterSpec, load_spec, resolve_now

TileFormat = StrEnum("TileFormat", ("no", "geojson"))
"""How ``eopipe plan --tiles`` prints the tiles."""

_AT_HELP = (
    "From which change_score on a pixel counts as changed: 1 to 250, in hundredths of the threshold of its place. "
    "100 is the map as it is, 50 finds more, 200 only what is twice as clear."
)


@app.command()
def plan(
    spec: SpecPath,
    *,
    now: Now = None,
    allow_empty: AllowEmpty = False,
    strict: Strict = False,
    tiles: Annotated[
        TileFormat, option("Print the tiles too, as GeoJSON on the map's CRS in lon/lat.")
    ] = TileFormat.no,
    as_json: Json = False,
) -> None:
    """Say what a run would do: tiles, tasks, bytes, requests, memory, time. Nothing is written."""
    loaded, moment = load_spec(spec), resolve_now(now)  # a wrong spec is refused before torch and dask are loaded

    from eopipe.engine.display import plan_lines  # noqa: PLC0415
    from eopipe.engine.run import plan_spec  # noqa: PLC0415  (torch and dask)

    planned = plan_spec(loaded, now=moment, allow_empty=allow_empty, strict=strict)
    if tiles is TileFormat.geojson:
        print_json(planned.geojson())
        return
    if as_json:
        print_json(planned.summary())
        return
    print_lines([*plan_lines(planned.plan), f"next: eopipe run {spec}"])


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

    with run_display(quiet=as_json, loading=True) as display:
        from eopipe.engine.run import execute  # noqa: PLC0415

        summary = execute(loaded, now=moment, allow_empty=allow_empty, strict=strict, display=display)
    _finish(summary, as_json=as_json)


@app.command()
def rescore(
    out: OutUri,
    *,
    prompts: Annotated[
        str | None, option("Classes and their words, such as 'water: water, river; forest: forest'.", "WORDS")
    ] = None,
    to: Annotated[
        str | None, option("The new output; a name beside OUT where not given.", "URI", name="--out")
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

    with run_display(quiet=as_json, loading=True) as display:
        from eopipe.engine.derived.rescore import rescore as rescore_run  # noqa: PLC0415

        summary = rescore_run(out, options, out=to, display=display, cluster=_cluster(workers, address))
    _finish(summary, as_json=as_json)


@app.command()
def rethreshold(
    out: OutUri,
    *,
    to: Annotated[str, option("The new output.", "NEW", show_default=False)],
    at: Annotated[int, option(_AT_HELP, "N", show_default=False)],
    workers: LocalWorkers = None,
    address: Address = None,
    as_json: Json = False,
) -> None:
    """Cut a change map elsewhere, from the scores that a run stored; nothing is mapped. The same command resumes."""
    with run_display(quiet=as_json, loading=True) as display:
        from eopipe.engine.derived.rethreshold import rethreshold as rethreshold_run  # noqa: PLC0415

        summary = rethreshold_run(out, to=to, at=at, display=display, cluster=_cluster(workers, address))
    _finish(summary, as_json=as_json)


def _cluster(workers: int | None, address: str | None) -> ClusterSpec | None:
    """The cluster that the command line names; None where it names none."""
    stated = {"kind": "address", "address": address} if address else {"kind": "local", "workers": workers}
    return ClusterSpec.model_validate(stated) if address or workers else None


def _finish(summary: dict[str, Any], *, as_json: bool) -> NoReturn:
    """Exit with a run's status."""
    if as_json:
        print_json(summary)
    raise typer.Exit(summary["exit_status"])


@app.command()
def status(out: OutUri, *, as_json: Json = False) -> None:
    """Say how far a run is: tiles by status, failures by reason, who is writing."""
    from eopipe.engine.finish.status import read_status  # noqa: PLC0415

    (print_json if as_json else print_pairs)(read_status(out))


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
        total = f"{len(problems):,} problem{'s' * (len(problems) > 1)}" if problems else "everything agrees"
        typer.echo(total, err=bool(problems))
    raise typer.Exit(6 if problems else 0)
