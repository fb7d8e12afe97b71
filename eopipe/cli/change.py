"""``eval change``: which of its three judgements was asked for, and what it says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.errors import SpecError
from eopipe.evaluation.change.cards import ChangeCard, find_set
from eopipe.evaluation.results_folder import refuse_remote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

Answer = tuple[dict[str, Any], "list[str | Table]"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The command line, as `eopipe.cli.evaluation.evaluate_change` has it."""

    name: str
    data: str | None
    category: str | None
    options: Mapping[str, Any]
    baselines: bool
    side: int | None
    limit: int | None
    places: tuple[str, ...]
    mosaic: str | None
    labels: str | None
    label_asset: str | None
    changed: int | None
    unchanged: int | None
    place_property: str | None
    workers: int | None
    device: str
    out: Path | None


def answer(asked: Asked, *, quiet: bool) -> Answer:
    """Judge what was asked for.

    Args:
        asked: What.
        quiet: Whether nobody is told how it goes.

    Returns:
        The document, and the same for people.

    Raises:
        EopipeError: Everything a user can mend.
    """
    if asked.mosaic is not None:
        return _map(asked)
    if asked.labels is not None:
        raise SpecError("--labels are for a finished run; name it with --map OUT, or leave them out")
    if not asked.name:
        raise SpecError(
            "eval change needs a SET, or --map OUT with --labels FILE; eopipe eval change --list names sets"
        )
    card = find_set(asked.name)
    return _scenes(asked, card, quiet=quiet) if card.labels == "scenes" else _pairs(asked, card, quiet=quiet)


def _map(asked: Asked) -> Answer:
    from eopipe.evaluation.change.command import judge_map, write_result  # noqa: PLC0415
    from eopipe.evaluation.change.report import map_lines  # noqa: PLC0415

    if asked.labels is None:
        raise SpecError("--map needs --labels FILE: a georeferenced raster, or a STAC document of some")
    if asked.data is not None:
        raise SpecError("--map judges a finished run, and --data is a set's; give one or the other")
    assert asked.mosaic is not None
    found = judge_map(
        asked.mosaic,
        asked.labels,
        card=find_set(asked.name) if asked.name else None,
        asset=asked.label_asset,
        changed=asked.changed,
        unchanged=asked.unchanged,
    )
    if asked.out is not None:
        write_result(asked.out, found)
    return found, map_lines(found)


def _pairs(asked: Asked, card: ChangeCard, *, quiet: bool) -> Answer:
    from eopipe.evaluation.change.command import Request, judge  # noqa: PLC0415
    from eopipe.evaluation.change.metrics import Figures  # noqa: PLC0415
    from eopipe.evaluation.change.report import result_lines  # noqa: PLC0415
    from eopipe.evaluation.display import Told  # noqa: PLC0415

    if asked.places or asked.place_property or asked.workers or asked.label_asset:
        raise SpecError(f"{card.title} is a set of pictures; --place, --label-asset and --workers are for scenes")
    request = Request(
        card=asked.name, data=None if asked.data is None else Path(asked.data), category=asked.category,
        options=asked.options, baselines=asked.baselines, side=asked.side, limit=asked.limit, out=asked.out,
        device=asked.device,
    )  # fmt: skip
    if quiet:
        return (found := judge(request)), result_lines(found)
    with Told(figure=lambda counts: Figures.of(counts).told) as told:
        found = judge(request, told)
    return found, result_lines(found)


def _scenes(asked: Asked, card: ChangeCard, *, quiet: bool) -> Answer:
    card.category(asked.category)
    if asked.data is None:
        raise SpecError(f"where are the scenes? Give --data COLLECTION.json of {card.title}")
    if asked.out is None:
        raise SpecError(f"{card.title} is judged by runs, which need a folder; give --out DIR")
    refuse_remote(asked.out)
    if asked.side is not None:
        raise SpecError(f"--side cuts pictures, and {card.title} is of scenes; leave it out")
    from eopipe.engine.display import choose_display  # noqa: PLC0415  (torch and dask)
    from eopipe.evaluation.change.command import write_result  # noqa: PLC0415
    from eopipe.evaluation.change.places.labelled import find_places  # noqa: PLC0415
    from eopipe.evaluation.change.places.report import trial_lines, trial_result  # noqa: PLC0415
    from eopipe.evaluation.change.places.run import Trial, try_places  # noqa: PLC0415

    places = find_places(asked.data, _with(card, asked), wanted=asked.places)[: asked.limit]
    display = choose_display(quiet=quiet)
    try:
        trial = Trial(out=asked.out, kernel=asked.options, baselines=asked.baselines, workers=asked.workers)
        found = try_places(places, trial, display=display)
    finally:
        display.close()
    document = trial_result(card, found, asked.options)
    write_result(asked.out, document)
    return document, trial_lines(document)


def _with(card: ChangeCard, asked: Asked) -> ChangeCard:
    """The set with what the command line says of its labels instead."""
    said: dict[str, Any] = {
        "label_asset": asked.label_asset, "changed": asked.changed, "unchanged": asked.unchanged,
        "place": asked.place_property,
    }  # fmt: skip
    try:
        return replace(card, **{name: value for name, value in said.items() if value is not None})
    except ValueError as error:
        raise SpecError(f"--changed and --unchanged: {error}; give two values") from None
