"""``eval``: how good a model is on labelled images; ``eval change``: how good a map of change is."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path  # noqa: TC003  (typer reads annotations)
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from eopipe.cli.app import Json, app, print_json
from eopipe.cli.runs import read_options
from eopipe.errors import SpecError


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


class CommandToo(TyperGroup):
    """A group that is a command as well: arguments that do not begin with a subcommand's name are its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Keep what belongs to the group itself from being taken for a subcommand, and the other way round."""
        if args and args[0] in self.commands:
            ctx.meta[_SUBCOMMAND] = True
        else:
            ctx.allow_interspersed_args = True  # options may follow the argument
            ctx.allow_extra_args = False
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Its own options, and its own arguments unless a subcommand takes them."""
        params = super().get_params(ctx)
        return [each for each in params if not (_SUBCOMMAND in ctx.meta and each.param_type_name == "argument")]


_SUBCOMMAND = "eopipe.eval.subcommand"
"""In a context's notes where a subcommand was named."""


judging = typer.Typer(cls=CommandToo, invoke_without_command=True, subcommand_metavar="| COMMAND [ARGS]...")
app.add_typer(judging, name="eval")


def _cards(incomplete: str) -> list[str]:
    """Completion of what may follow ``eval``."""
    from eopipe.evaluation.cards import cards  # noqa: PLC0415

    return [name for name in ("change", *cards()) if name.startswith(incomplete)]


@judging.callback()
def evaluate(  # noqa: PLR0913  (a command line's options are its function's arguments)
    context: typer.Context,
    card: Annotated[
        str,
        typer.Argument(
            metavar="CARD",
            help="A data set, as --list names it, or a TOML file.",
            show_default=False,
            autocompletion=_cards,
        ),
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
    if context.invoked_subcommand is not None:
        return
    from eopipe.evaluation import report  # noqa: PLC0415

    if listed:
        print_json(report.cards_document()) if as_json else typer.echo("\n".join(report.cards_lines()))
        return
    if not card:
        raise SpecError("eval needs a CARD, the data set's; eopipe eval --list names them")
    from eopipe.evaluation.display import Told  # noqa: PLC0415
    from eopipe.evaluation.evaluate_set import Request, judge  # noqa: PLC0415

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
        print_json(judge(request))
        return
    with Told() as told:
        found = judge(request, told)
    console = Console(highlight=False, soft_wrap=True)
    for line in report.result_lines(found):
        console.print(line, markup=False) if isinstance(line, str) else console.print(line)


_WIDE = 160
"""Columns of a table that goes into a file."""


def _sets(incomplete: str) -> list[str]:
    from eopipe.evaluation.change.cards import sets  # noqa: PLC0415

    return [name for name in sets() if name.startswith(incomplete)]


@judging.command("change")
def evaluate_change(  # noqa: PLR0913  (a command line's options are its function's arguments)
    name: Annotated[
        str,
        typer.Argument(
            metavar="SET", help="A set, as --list names it, or a TOML file.", show_default=False, autocompletion=_sets
        ),
    ] = "",
    *,
    listed: Annotated[bool, typer.Option("--list", help="List the sets and what was published on them.")] = False,
    data: Annotated[
        str | None, typer.Option("--data", metavar="PATH", help="The set's folder; of scenes, their STAC document.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(metavar="NAME", help="What is asked for, where a set has several.")
    ] = None,
    instantiation: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The combination of stages; else one that needs no weights."),
    ] = None,
    beta: Annotated[
        str | None, typer.Option(metavar="DEGREES", help="The comparer's threshold, or otsu; else as published.")
    ] = None,
    rule: Annotated[str | None, typer.Option(metavar="KIND", help="instance or stuff; else as published.")] = None,
    prompts: Annotated[
        str | None, typer.Option(metavar="WORDS", help="Such as 'building: building, house'; else as published.")
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Another option of the kernel; repeatable."),
    ] = None,
    baselines: Annotated[bool, typer.Option(help="Judge change-vector analysis beside it.")] = True,
    side: Annotated[
        int | None, typer.Option(min=64, metavar="PX", help="Cut larger pictures into pieces; else as published.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first N pairs or places.")] = None,
    places: Annotated[
        list[str] | None, typer.Option("--place", metavar="NAME", help="Of scenes: only this one; repeatable.")
    ] = None,
    mosaic: Annotated[
        str | None, typer.Option("--map", metavar="OUT", help="Judge a finished run instead, against --labels.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", metavar="FILE", help="Label raster, or a STAC document (.json) of some.")
    ] = None,
    label_asset: Annotated[
        str | None, typer.Option(metavar="KEY", help="STAC asset of the labels; else the set's.")
    ] = None,
    changed: Annotated[
        int | None,
        typer.Option(min=0, max=255, metavar="N", help="The labels' value of change; else the set's, or 1."),
    ] = None,
    unchanged: Annotated[
        int | None, typer.Option(min=0, max=255, metavar="N", help="Of no change; else the set's, or 0.")
    ] = None,
    place_property: Annotated[
        str | None, typer.Option(metavar="KEY", help="Of scenes: the item property that names the place.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Of scenes: local workers.")] = None,
    device: Annotated[Device, typer.Option(help="Of pairs: what to compute on.")] = Device.auto,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep maps, runs and counts here; run again to resume.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Judge maps of change: pairs of pictures by the published protocol, labelled scenes by runs, a finished run."""
    if listed:
        from eopipe.evaluation.change import report  # noqa: PLC0415

        print_json(report.sets_document()) if as_json else typer.echo("\n".join(report.sets_lines()))
        return
    options = _options({"instantiation": instantiation, "beta": _degrees(beta), "rule": rule}, prompts, changes)
    from eopipe.cli import change  # noqa: PLC0415  (numpy and rasterio)

    asked = change.Asked(
        name=name, data=data, category=category, options=options, baselines=baselines, side=side, limit=limit,
        places=tuple(places or ()), mosaic=mosaic, labels=labels, label_asset=label_asset, changed=changed,
        unchanged=unchanged, place_property=place_property, workers=workers, device=device.value, out=out,
    )  # fmt: skip
    document, lines = change.answer(asked, quiet=as_json)
    if as_json:
        print_json(document)
    else:
        console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _WIDE)
        for line in lines:
            console.print(line, markup=False) if isinstance(line, str) else console.print(line)
    raise typer.Exit(document.get("exit_status", 0))


def _options(given: dict[str, Any], prompts: str | None, changes: list[str] | None) -> dict[str, Any]:
    """Options of the kernel that were given, by name."""
    found = {name: value for name, value in given.items() if value is not None}
    return {**found, **(read_options(prompts, changes) if prompts or changes else {})}


def _degrees(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text
