"""``plan``, ``run``, ``rescore``, ``rethreshold``, ``status``, ``validate``: a run from its spec to its output."""

from __future__ import annotations

from contextlib import contextmanager
from enum import StrEnum
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
    from collections.abc import Iterator

    from eopipe.engine.display import Display


class TileFormat(StrEnum):
    """How ``eopipe plan --tiles`` prints the tiles."""

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
        TileFormat, typer.Option("--tiles", help="Print the tiles too, as GeoJSON on the map's CRS in lon/lat.")
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
    console = Console(highlight=False, soft_wrap=True)
    for line in plan_lines(planned.plan):
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

    with _progress(quiet=as_json) as display:
        from eopipe.engine.run import execute  # noqa: PLC0415

        summary = execute(loaded, now=moment, allow_empty=allow_empty, strict=strict, display=display)
    _finish(summary, as_json=as_json)


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

    with _progress(quiet=as_json) as display:
        from eopipe.engine.derived.rescore import rescore as rescore_run  # noqa: PLC0415

        summary = rescore_run(out, options, out=to, display=display, cluster=_cluster(workers, address))
    _finish(summary, as_json=as_json)


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
    with _progress(quiet=as_json) as display:
        from eopipe.engine.derived.rethreshold import rethreshold as rethreshold_run  # noqa: PLC0415

        summary = rethreshold_run(out, to=to, at=at, display=display, cluster=_cluster(workers, address))
    _finish(summary, as_json=as_json)


def _cluster(workers: int | None, address: str | None) -> ClusterSpec | None:
    """The cluster that the command line names; None where it names none."""
    stated = {"kind": "address", "address": address} if address else {"kind": "local", "workers": workers}
    return ClusterSpec.model_validate(stated) if address or workers else None


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Display]:
    """A display while torch and dask load and a run goes; closed whatever happens."""
    from eopipe.engine.display import choose_display  # noqa: PLC0415

    display = choose_display(quiet=quiet)
    display.phase("load")
    try:
        yield display
    finally:
        display.close()


def _finish(summary: dict[str, Any], *, as_json: bool) -> NoReturn:
    """Exit with a run's status."""
    if as_json:
        print_json(summary)
    raise typer.Exit(summary["exit_status"])


@app.command()
def status(out: OutUri, *, as_json: Json = False) -> None:
    """Say how far a run is: tiles by status, failures by reason, who is writing."""
    from eopipe.engine.finish.status import read_status  # noqa: PLC0415

    progress_so_far = read_status(out)
    if as_json:
        print_json(progress_so_far)
    else:
        print_pairs(progress_so_far)


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
