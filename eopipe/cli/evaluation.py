"""``eval``: how good a model is on labelled images."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path  # noqa: TC003  (typer reads annotations)
from typing import Annotated

import typer
from rich.console import Console

from eopipe.cli.app import Json, app, print_json
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
        print_json(report.cards_document()) if as_json else typer.echo("\n".join(report.cards_lines()))
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
        print_json(judge(request))
        return
    with Told() as told:
        found = judge(request, told)
    console = Console(highlight=False, soft_wrap=True)
    for line in report.result_lines(found):
        console.print(line, markup=False) if isinstance(line, str) else console.print(line)
