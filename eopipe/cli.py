"""The command line: thin. Each command resolves its arguments, calls the engine and prints."""

from __future__ import annotations

import json
import logging
import os
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from eopipe import __version__
from eopipe.errors import EopipeError, SpecError
from eopipe.spec import load_spec, parse_yaml, resolve_now

if TYPE_CHECKING:
    from collections.abc import Mapping

app = typer.Typer(
    name="eopipe",
    help="Maps of anything you can name, from a STAC query, on a Dask cluster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="Run spec (YAML or JSON).", show_default=False)]
OutUri = Annotated[str, typer.Argument(metavar="OUT", help="A run's folder or URL.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else.")]
Now = Annotated[
    str | None, typer.Option("--now", metavar="TIME", help="What relative dates are measured from (ISO 8601).")
]
AllowEmpty = Annotated[bool, typer.Option("--allow-empty", help="A search without a match is fine.")]


class Shape(StrEnum):
    """What ``eopipe plan --tiles`` may print."""

    no = "no"
    geojson = "geojson"


class Unknown(StrEnum):
    """What ``eopipe eval --unknown`` may do."""

    refuse = "refuse"
    ignore = "ignore"


class Preprocess(StrEnum):
    """How ``eopipe eval`` prepares pictures."""

    benchmark = "benchmark"
    demo = "demo"


class Device(StrEnum):
    """What ``eopipe eval`` computes on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class _Redacting(logging.Formatter):
    """Takes signatures and passwords out of every line, tracebacks too, whichever library wrote it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return _redacted(super().format(record))


def _redacted(text: str) -> str:
    from eopipe.stac.signing import redact  # noqa: PLC0415  (loads an HTTP library; most commands log nothing)

    return redact(text)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eopipe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    version: Annotated[  # noqa: ARG001  (its callback does the work)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens, on standard error.")] = False,
) -> None:
    """Maps of anything you can name, from a STAC query, on a Dask cluster."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Redacting("%(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.INFO if verbose else logging.WARNING)  # distributed sets its own loggers to INFO
    if not verbose:
        handler.addFilter(lambda record: "still alive after" not in str(record.msg))  # a nanny's, of a slow goodbye
    logging.basicConfig(level=logging.INFO, handlers=[handler])


@app.command()
def plan(
    spec: SpecPath,
    *,
    now: Now = None,
    allow_empty: AllowEmpty = False,
    tiles: Annotated[
        Shape, typer.Option("--tiles", help="Print the tiles too, as GeoJSON on the map's CRS in lon/lat.")
    ] = Shape.no,
    as_json: Json = False,
) -> None:
    """Say what a run would do: tiles, tasks, bytes, requests, memory, time. Nothing is written."""
    loaded, moment = load_spec(spec), resolve_now(now)  # a wrong spec is told before torch and dask are loaded

    from eopipe.engine.calibrate import calibrate  # noqa: PLC0415  (with what follows: torch and dask)
    from eopipe.engine.display import plan_lines  # noqa: PLC0415
    from eopipe.engine.opened import open_run  # noqa: PLC0415
    from eopipe.engine.precision import freeze_precision  # noqa: PLC0415
    from eopipe.engine.run import local_workers, plan_run  # noqa: PLC0415

    opened, calibration = freeze_precision(open_run(loaded, now=moment, allow_empty=allow_empty), calibrate)
    made = plan_run(opened, workers=local_workers(loaded), calibration=calibration)
    if tiles is Shape.geojson:
        from eopipe.engine.footprints import feature_collection  # noqa: PLC0415

        _print_json(feature_collection(opened.job, made))
        return
    if as_json:
        _print_json({"output": opened.storage.url(), **made.summary()})
        return
    console = Console(highlight=False, soft_wrap=True)
    for line in plan_lines(made):
        console.print(line)
    console.print(f"next: eopipe run {spec}", markup=False)


@app.command()
def run(spec: SpecPath, *, now: Now = None, allow_empty: AllowEmpty = False, as_json: Json = False) -> None:
    """Run a spec, or resume it where an earlier run stopped.

    Ctrl-C drains: tiles under way are finished, and the same command resumes. A second Ctrl-C stops at once.
    """
    loaded, moment = load_spec(spec), resolve_now(now) if now else None

    from eopipe.engine.display import Terminal, choose_display  # noqa: PLC0415

    display = choose_display(quiet=as_json)
    display.phase("load")
    from eopipe.engine.run import execute  # noqa: PLC0415

    try:
        summary = execute(loaded, now=moment, allow_empty=allow_empty, display=display)
    finally:
        if isinstance(display, Terminal):
            display.close()
    if as_json:
        _print_json(summary)
    raise typer.Exit(summary["exit_status"])


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
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another option, such as scale=40; repeatable."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Local workers.")] = None,
    address: Annotated[str | None, typer.Option(help="A scheduler's address, instead of local workers.")] = None,
    as_json: Json = False,
) -> None:
    """Map other words from the window features that a run kept; nothing is encoded. The same command resumes."""
    options = _changes(prompts, changes or [])

    from eopipe.engine.display import Terminal, choose_display  # noqa: PLC0415

    display = choose_display(quiet=as_json)
    display.phase("load")
    from eopipe.engine.rescore import rescore as again  # noqa: PLC0415
    from eopipe.spec import ClusterSpec  # noqa: PLC0415

    asked = {"kind": "address", "address": address} if address else {"kind": "local", "workers": workers}
    try:
        cluster = ClusterSpec.model_validate(asked) if address or workers else None
        summary = again(out, options, out=to, display=display, cluster=cluster)
    finally:
        if isinstance(display, Terminal):
            display.close()
    if as_json:
        _print_json(summary)
    raise typer.Exit(summary["exit_status"])


def _changes(prompts: str | None, pairs: list[str]) -> dict[str, Any]:
    """Options of the kernel as the command line gives them; values as YAML reads them."""
    found: dict[str, Any] = {}
    if prompts is not None:
        found["prompts"] = {}
        for entry in filter(str.strip, prompts.split(";")):
            name, colon, words = entry.partition(":")
            said = [word.strip() for word in (words if colon else name).split(",") if word.strip()]
            if not name.strip() or not said or name.strip() in found["prompts"]:
                raise SpecError(f"--prompts: {entry.strip()!r} is no class; write 'water: water, river; land: field'")
            found["prompts"][name.strip()] = said
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise SpecError(f"--set: {pair!r} is no option; write KEY=VALUE, such as scale=40")
        found[key] = parse_yaml(value, f"--set {key}")
    if not found:
        raise SpecError("nothing to change; give --prompts 'water: water, river; forest: forest', or --set scale=40")
    return found


@app.command()
def status(out: OutUri, *, as_json: Json = False) -> None:
    """Say how far a run is: tiles by status, failures by reason, who is writing."""
    from eopipe.engine.status import read_status  # noqa: PLC0415

    found = read_status(out)
    if as_json:
        _print_json(found)
    else:
        _print_pairs(found)


@app.command()
def validate(out: OutUri, *, as_json: Json = False) -> None:
    """Read everything again: shards against checksums, ledger against shards, STAC against files."""
    from eopipe.engine.validate import validate_run  # noqa: PLC0415

    problems = validate_run(out, progress=None if as_json else _progress)
    if as_json:
        _print_json({"output": out, "problems": problems, "exit_status": 6 if problems else 0})
    else:
        for problem in problems:
            typer.echo(problem)
        told = f"{len(problems):,} problem{'s' * (len(problems) > 1)}" if problems else "everything agrees"
        typer.echo(told, err=bool(problems))
    raise typer.Exit(6 if problems else 0)


@app.command()
def models(*, as_json: Json = False) -> None:
    """List what a spec can name: models and upsamplers, their licences, what is here and how to get the rest."""
    from eopipe.models.registry import OTHERS, listing  # noqa: PLC0415

    rows = listing()
    if as_json:
        _print_json(rows)
        return
    table = Table("name", "what", "licence", "here", box=None, pad_edge=False)
    for row in rows:
        here = "[green]yes[/]" if row["here"] else "hub" if row["hub"] else "no"
        table.add_row(row["name"], row["title"], row["licence"], here)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print()
    for row in rows:
        if not row["here"] and not row["hub"]:
            console.print(f"{row['name']}: {row['get']}", markup=False)
    for line in OTHERS:
        console.print(line, markup=False)


@app.command("eval")
def evaluate(  # noqa: PLR0913  (a command line's options are its function's arguments)
    card: Annotated[
        str,
        typer.Argument(metavar="CARD", help="A data set, as --list names it, or a TOML file.", show_default=False),
    ] = "",
    *,
    listed: Annotated[
        bool, typer.Option("--list", help="List the data sets and what was published on them.")
    ] = False,
    data: Annotated[
        str | None, typer.Option("--data", metavar="PATH", help="The set's folder, or its STAC document (.json).")
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", metavar="DIR", help="Or: its images …")] = None,
    labels: Annotated[Path | None, typer.Option("--labels", metavar="DIR", help="… and its labels.")] = None,
    image_pattern: Annotated[
        str | None, typer.Option(metavar="NAME", help="Names of images; * is what image and label share.")
    ] = None,
    label_pattern: Annotated[
        str | None, typer.Option(metavar="NAME", help="Names of labels, such as '*_mask'.")
    ] = None,
    image_asset: Annotated[str, typer.Option(metavar="KEY", help="STAC asset of the image.")] = "image",
    label_asset: Annotated[str, typer.Option(metavar="KEY", help="STAC asset of the labels.")] = "label",
    unknown: Annotated[
        Unknown, typer.Option(help="What to do with label values that mean nothing.")
    ] = Unknown.refuse,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="As eopipe models lists it; else the card's.")
    ] = None,
    checkpoint: Annotated[str | None, typer.Option(metavar="FILE", help="Weights of your own.")] = None,
    sha256: Annotated[str | None, typer.Option(metavar="HEX", help="What the weights must have.")] = None,
    gelu: Annotated[str | None, typer.Option(metavar="KIND", help="quick or exact.")] = None,
    attention: Annotated[
        str | None, typer.Option(metavar="KIND", help="vanilla, MaskCLIP, SCLIP, ClearCLIP or SegEarth.")
    ] = None,
    last_layers: Annotated[int | None, typer.Option(metavar="N", help="Blocks with that attention.")] = None,
    upsampler: Annotated[
        str | None, typer.Option(metavar="NAME", help="bilinear, jbu_one, jbu_stack or anyup.")
    ] = None,
    upsampler_checkpoint: Annotated[
        str | None, typer.Option(metavar="FILE", help="Weights of your own for it.")
    ] = None,
    bias: Annotated[float | None, typer.Option(metavar="LAMBDA", help="Global bias alleviation; 0 is off.")] = None,
    threshold: Annotated[float | None, typer.Option(metavar="P", help="Below it, a pixel is background.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Words: a line a class, synonyms between commas.")
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="TYPE", help="float32 or bfloat16.")] = None,
    resize: Annotated[int | None, typer.Option(min=1, metavar="PX", help="Long side that the model sees.")] = None,
    preprocess: Annotated[
        Preprocess, typer.Option(help="As for the published tables, or as in the authors' demonstration.")
    ] = Preprocess.benchmark,
    device: Annotated[Device, typer.Option(help="What to compute on.")] = Device.auto,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Judge only the first N images.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep maps and counts here; run again to resume.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge a model on labelled images by the published protocol, beside the published figure."""
    from eopipe.evaluation import report  # noqa: PLC0415

    if listed:
        _print_json(report.cards_document()) if as_json else typer.echo("\n".join(report.cards_lines()))
        return
    if not card:
        raise SpecError("eval needs a CARD, the data set's; eopipe eval --list names them")
    from eopipe.evaluation.command import Request, judge  # noqa: PLC0415
    from eopipe.evaluation.display import Told  # noqa: PLC0415

    options = {
        "model": model, "checkpoint": checkpoint, "sha256": sha256, "gelu": gelu, "attention": attention,
        "last_layers": last_layers, "upsampler": upsampler, "upsampler_checkpoint": upsampler_checkpoint,
        "bias": bias, "threshold": threshold, "precision": precision,
    }  # fmt: skip
    request = Request(
        card=card, data=data, images=images, labels=labels, image_pattern=image_pattern, label_pattern=label_pattern,
        image_asset=image_asset, label_asset=label_asset, ignore_unknown=unknown is Unknown.ignore, options=options,
        prompts=prompts, resize=resize, demo=preprocess is Preprocess.demo, limit=limit, out=out, device=device.value,
    )  # fmt: skip
    if as_json:
        _print_json(judge(request))
        return
    with Told() as told:
        found = judge(request, told)
    console = Console(highlight=False, soft_wrap=True)
    for line in report.result_lines(found):
        console.print(line, markup=False) if isinstance(line, str) else console.print(line)


@app.command()
def bench(
    kernel: Annotated[str, typer.Argument(metavar="KERNEL", help="Such as land-cover.")] = "land-cover",
    *,
    as_json: Json = False,
) -> None:
    """Time a kernel on this machine, against the plain form of its model."""
    from eopipe.engine.bench import bench as measure  # noqa: PLC0415

    found = measure(kernel)
    if as_json:
        _print_json(found)
    else:
        _print_pairs(found)


def _progress(line: str) -> None:
    if sys.stderr.isatty():
        typer.echo(line, err=True)


def _print_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=1, ensure_ascii=False))


def _print_pairs(found: Mapping[str, Any]) -> None:
    width = max(map(len, found)) + 1
    for key, value in found.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {count}" for name, count in value.items()) or "none"  # noqa: PLW2901
        elif isinstance(value, list):
            value = f"\n{'':{width}}".join(map(str, value)) or "none"  # noqa: PLW2901
        typer.echo(f"{key.replace('_', ' '):{width}}{value}")


def main() -> None:
    """Entry point: an error a user can mend is one line and its exit status; anything else is a bug, 1."""
    try:
        _exit(app(prog_name="eopipe", standalone_mode=False) or 0)
    except EopipeError as error:
        typer.echo(f"eopipe: {_redacted(' '.join(str(error).split()))}", err=True)
        _exit(error.exit_status)
    except KeyboardInterrupt:
        typer.echo("eopipe: interrupted", err=True)
        _exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _exit(0)
    except Exception as error:  # noqa: BLE001  (the last seam: a bug is told with its traceback and exit status 1)
        if hasattr(error, "format_message"):  # typer's own, for a wrong command line; it has no public base class
            _refuse_usage(error)
        typer.echo(_redacted(traceback.format_exc()), err=True)
        typer.echo("eopipe: this is a bug in eopipe; please report it with the lines above", err=True)
        _exit(1)


def _refuse_usage(error: Any) -> NoReturn:
    """A wrong command line, as any wrong request: one line, exit status 2; ``eopipe`` alone has shown its help."""
    context = getattr(error, "ctx", None)
    said = " ".join(error.format_message().split()).rstrip(".")
    if said:
        path = context.command_path if context is not None else "eopipe"
        typer.echo(f"eopipe: {said} (see {path} --help)", err=True)
    _exit(error.exit_code)


def _exit(code: int) -> NoReturn:
    sys.exit(code)


if __name__ == "__main__":
    main()
