"""``eval change``: how good a map of change is, of pairs of pictures, of labelled places, or of a finished run."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path  # noqa: TC003  (typer reads annotations)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eopipe.cli.app import print_json, print_lines, run_display
from eopipe.cli.evaluation import evaluation
from eopipe.cli.options import Device, Json, KernelOptions, argument, option, read_options
from eopipe.errors import SpecError

if TYPE_CHECKING:
    from rich.table import Table

    from eopipe.evaluation.change.cards import ChangeCard
    from eopipe.evaluation.change.command import ChangeRequest

Report = tuple[dict[str, Any], "list[str | Table]"]
"""A result document, and the same as lines for people."""


def _complete_set(incomplete: str) -> list[str]:
    from eopipe.evaluation.change.cards import sets  # noqa: PLC0415  (numpy)

    return [name for name in sets() if name.startswith(incomplete)]


@evaluation.command("change")
def evaluate_change(  # noqa: PLR0913  (a command line's options are its function's arguments)
    card: Annotated[str, argument("SET", "A set, as --list names it, or a TOML file.", _complete_set)] = "",
    *,
    listed: Annotated[bool, option("List the sets and what was published on them.", name="--list")] = False,
    data: Annotated[str | None, option("The set's folder; of scenes, their STAC document.", "PATH")] = None,
    category: Annotated[str | None, option("Category of change, where a set has several.", "NAME")] = None,
    instantiation: Annotated[str | None, option("Combination of stages; else one without weights.", "NAME")] = None,
    beta: Annotated[str | None, option("The comparer's threshold, or otsu; else as published.", "DEGREES")] = None,
    rule: Annotated[str | None, option("instance or stuff; else as published.", "KIND")] = None,
    prompts: Annotated[str | None, option("Such as 'building: building, house'; else as published.", "WORDS")] = None,
    changes: KernelOptions = None,
    baselines: Annotated[bool, option("Judge change-vector analysis beside it.")] = True,
    side: Annotated[int | None, option("Cut larger pictures into pieces; else as published.", "PX", min=64)] = None,
    limit: Annotated[int | None, option("Only the first N pairs or places.", "N", min=1)] = None,
    places: Annotated[list[str] | None, option("One of the places; repeatable.", "NAME", name="--place")] = None,
    mosaic: Annotated[str | None, option("Judge this finished run, by --labels.", "OUT", name="--map")] = None,
    labels: Annotated[str | None, option("Label raster, or a STAC document (.json) of some.", "FILE")] = None,
    label_asset: Annotated[str | None, option("STAC asset of the labels; else the set's.", "KEY")] = None,
    changed: Annotated[int | None, option("Label of change; else the set's, or 1.", "N", min=0, max=255)] = None,
    unchanged: Annotated[int | None, option("Label of no change; else the set's, or 0.", "N", min=0, max=255)] = None,
    place_property: Annotated[str | None, option("Of scenes: the item property that names the place.", "KEY")] = None,
    workers: Annotated[int | None, option("Of scenes: local workers.", min=1)] = None,
    device: Annotated[Device, option("Of pairs: what to compute on.")] = Device.auto,
    out: Annotated[Path | None, option("Keep maps, runs and counts here; run again to resume.", "DIR")] = None,
    as_json: Json = False,
) -> None:
    """Judge maps of change: pairs of pictures by the published protocol, labelled scenes by runs, a finished run."""
    if listed:
        from eopipe.evaluation.change import report  # noqa: PLC0415  (numpy)

        print_json(report.sets_document()) if as_json else typer.echo("\n".join(report.sets_lines()))
        return
    named = {"instantiation": instantiation, "beta": _number(beta), "rule": rule}
    options = {name: value for name, value in named.items() if value is not None} | read_options(prompts, changes)
    from eopipe.evaluation.change.command import ChangeRequest  # noqa: PLC0415  (numpy and rasterio)

    request = ChangeRequest(
        card=card, data=data, category=category, options=options, baselines=baselines, side=side, limit=limit,
        places=tuple(places or ()), mosaic=mosaic, labels=labels, label_asset=label_asset, changed=changed,
        unchanged=unchanged, place_property=place_property, workers=workers, device=device.value, out=out,
    )  # fmt: skip
    document, lines = _judge(request, quiet=as_json)
    print_json(document) if as_json else print_lines(lines)
    raise typer.Exit(document.get("exit_status", 0))


def _number(text: str | None) -> float | str | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


def _judge(request: ChangeRequest, *, quiet: bool) -> Report:
    """Judge a finished run, labelled places or pairs, by the options that are given."""
    from eopipe.evaluation.change.cards import find_set  # noqa: PLC0415

    if request.mosaic is not None:
        return _judge_map(request)
    if request.labels is not None:
        raise SpecError("--labels are for a finished run; name it with --map OUT, or leave them out")
    if not request.card:
        raise SpecError("eval change needs a SET, or --map OUT with --labels FILE; --list names the sets")
    card = find_set(request.card)
    judge = _judge_places if card.labels == "scenes" else _judge_pairs
    return judge(request, card, quiet=quiet)


def _judge_map(request: ChangeRequest) -> Report:
    from eopipe.evaluation.change.command import judge_map  # noqa: PLC0415
    from eopipe.evaluation.change.report import map_lines  # noqa: PLC0415

    if request.labels is None:
        raise SpecError("--map needs --labels FILE: a georeferenced raster, or a STAC document of some")
    if request.data is not None:
        raise SpecError("--map judges a finished run, and --data is a set's; give one or the other")
    document = judge_map(request)
    return document, map_lines(document)


def _judge_pairs(request: ChangeRequest, card: ChangeCard, *, quiet: bool) -> Report:
    from eopipe.evaluation.change.command import judge_pairs  # noqa: PLC0415
    from eopipe.evaluation.change.metrics import f1_text  # noqa: PLC0415
    from eopipe.evaluation.change.report import result_lines  # noqa: PLC0415
    from eopipe.evaluation.run import ProgressDisplay  # noqa: PLC0415

    if request.places or request.place_property or request.workers or request.label_asset:
        raise SpecError(f"{card.title} is a set of pictures; --place, --label-asset and --workers are for scenes")
    with nullcontext() if quiet else ProgressDisplay(metric=f1_text) as display:
        document = judge_pairs(request, display)
    return document, result_lines(document)


def _judge_places(request: ChangeRequest, card: ChangeCard, *, quiet: bool) -> Report:
    from eopipe.evaluation.results_folder import refuse_remote, write_result  # noqa: PLC0415

    card.category(request.category)
    if request.data is None:
        raise SpecError(f"where are the scenes? Give --data COLLECTION.json of {card.title}")
    if request.out is None:
        raise SpecError(f"{card.title} is judged by runs, which need a folder; give --out DIR")
    refuse_remote(request.out)
    if request.side is not None:
        raise SpecError(f"--side cuts pictures, and {card.title} is of scenes; leave it out")
    from eopipe.evaluation.change.places.labelled import find_places  # noqa: PLC0415  (with what follows: torch, dask)
    from eopipe.evaluation.change.places.report import places_lines, places_result  # noqa: PLC0415
    from eopipe.evaluation.change.places.run import judge_places  # noqa: PLC0415

    places = find_places(request.data, request.labels_card(), names=request.places)[: request.limit]
    with run_display(quiet=quiet) as display:
        results = judge_places(places, request, display=display)
    document = places_result(card, results, request.options)
    write_result(request.out, document)
    return document, places_lines(document)
