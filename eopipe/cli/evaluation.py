"""``eval``: how good a model is on labelled images."""

from __future__ import annotations

from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path  # noqa: TC003  (typer reads annotations)
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from eopipe.cli.app import app, print_json, print_lines
from eopipe.cli.options import Device, Json, argument, option
from eopipe.errors import SpecError

Unknown = StrEnum("Unknown", ("refuse", "ignore"))
"""Values of ``--unknown``."""

Preprocess = StrEnum("Preprocess", ("benchmark", "demo"))
"""Values of ``--preprocess``."""

_SUBCOMMAND = "eopipe.eval.subcommand"
"""Key of a context's notes that is set where a subcommand was named."""


class CallableGroup(TyperGroup):
    """A group that is a command as well: arguments that do not begin with a subcommand's name are its own."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Tell a subcommand with its arguments from the arguments of the group itself."""
        if args and args[0] in self.commands:
            ctx.meta[_SUBCOMMAND] = True
        else:
            ctx.allow_interspersed_args = True  # options may follow the argument
            ctx.allow_extra_args = False
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options, and its arguments unless a subcommand has them."""
        subcommand = _SUBCOMMAND in ctx.meta
        return [
            param for param in super().get_params(ctx) if not (subcommand and param.param_type_name == "argument")
        ]


evaluation = typer.Typer(cls=CallableGroup, invoke_without_command=True, subcommand_metavar="| COMMAND [ARGS]...")
app.add_typer(evaluation, name="eval")


def _complete_card(incomplete: str) -> list[str]:
    from eopipe.evaluation.cards import cards  # noqa: PLC0415  (numpy)

    return [name for name in ("change", *cards()) if name.startswith(incomplete)]


@evaluation.callback()
def evaluate(  # noqa: PLR0913  (a command line's options are its function's arguments)
    context: typer.Context,
    card: Annotated[str, argument("CARD", "A data set, as --list names it, or a TOML file.", _complete_card)] = "",
    *,
    listed: Annotated[bool, option("List the data sets and what was published on them.", name="--list")] = False,
    data: Annotated[str | None, option("The set's folder, or its STAC document (.json).", "PATH")] = None,
    images: Annotated[Path | None, option("Or: its images …", "DIR")] = None,
    labels: Annotated[Path | None, option("… and its labels.", "DIR")] = None,
    image_pattern: Annotated[str | None, option("Names of images; * is what image and label share.", "NAME")] = None,
    label_pattern: Annotated[str | None, option("Names of labels, such as '*_mask'.", "NAME")] = None,
    image_asset: Annotated[str, option("STAC asset of the image.", "KEY")] = "image",
    label_asset: Annotated[str, option("STAC asset of the labels.", "KEY")] = "label",
    unknown: Annotated[Unknown, option("What to do with label values that have no class.")] = Unknown.refuse,
    model: Annotated[str | None, option("As eopipe models lists it; else the card's.", "NAME")] = None,
    checkpoint: Annotated[str | None, option("Weights of your own.", "FILE")] = None,
    sha256: Annotated[str | None, option("Hash that the weights must have.", "HEX")] = None,
    gelu: Annotated[str | None, option("quick or exact.", "KIND")] = None,
    attention: Annotated[str | None, option("vanilla, MaskCLIP, SCLIP, ClearCLIP or SegEarth.", "KIND")] = None,
    last_layers: Annotated[int | None, option("Number of blocks with that attention.", "N")] = None,
    upsampler: Annotated[str | None, option("bilinear, jbu_one, jbu_stack or anyup.", "NAME")] = None,
    upsampler_checkpoint: Annotated[str | None, option("Weights of your own for the upsampler.", "FILE")] = None,
    bias: Annotated[float | None, option("Global bias alleviation; 0 is off.", "LAMBDA")] = None,
    threshold: Annotated[float | None, option("Score below which a pixel is background.", "P")] = None,
    prompts: Annotated[Path | None, option("Words: a line a class, synonyms between commas.", "FILE")] = None,
    precision: Annotated[str | None, option("float32 or bfloat16.", "TYPE")] = None,
    resize: Annotated[int | None, option("Long side that the model sees.", "PX", min=1)] = None,
    preprocess: Annotated[
        Preprocess, option("As for the published tables, or as in the authors' demonstration.")
    ] = Preprocess.benchmark,
    device: Annotated[Device, option("What to compute on.")] = Device.auto,
    limit: Annotated[int | None, option("Judge only the first N images.", "N", min=1)] = None,
    out: Annotated[Path | None, option("Keep maps and counts here; run again to resume.", "DIR")] = None,
    as_json: Json = False,
) -> None:
    """Judge a model on labelled images by the published protocol, beside the published figure."""
    if context.invoked_subcommand is not None:
        return
    from eopipe.evaluation import report  # noqa: PLC0415  (numpy)

    if listed:
        print_json(report.cards_document()) if as_json else typer.echo("\n".join(report.cards_lines()))
        return
    if not card:
        raise SpecError("eval needs a CARD, the data set's; eopipe eval --list names them")
    from eopipe.evaluation.evaluate_set import ImageRequest, judge  # noqa: PLC0415
    from eopipe.evaluation.run import ProgressDisplay  # noqa: PLC0415

    options = {
        "model": model, "checkpoint": checkpoint, "sha256": sha256, "gelu": gelu, "attention": attention,
        "last_layers": last_layers, "upsampler": upsampler, "upsampler_checkpoint": upsampler_checkpoint,
        "bias": bias, "threshold": threshold, "precision": precision,
    }  # fmt: skip
    request = ImageRequest(
        card=card, data=data, images=images, labels=labels, image_pattern=image_pattern, label_pattern=label_pattern,
        image_asset=image_asset, label_asset=label_asset, ignore_unknown=unknown is Unknown.ignore, options=options,
        prompts=prompts, resize=resize, demo=preprocess is Preprocess.demo, limit=limit, out=out, device=device.value,
    )  # fmt: skip
    with nullcontext() if as_json else ProgressDisplay() as display:
        document = judge(request, display)
    print_json(document) if as_json else print_lines(report.result_lines(document))
