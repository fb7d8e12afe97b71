"""What ``eopipe eval`` does: a card, a set, a model; the result as a document."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.errors import SpecError
from eopipe.evaluation.cards import find_card
from eopipe.evaluation.dataset import Naming, Reader, cut, find_folders, find_items, find_pairs
from eopipe.evaluation.device import choose
from eopipe.evaluation.report import result
from eopipe.evaluation.run import evaluate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.evaluation.cards import Card
    from eopipe.evaluation.dataset import Pair
    from eopipe.evaluation.display import Told


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for.

    Args:
        card: A shipped card's name, or a TOML file.
        data: A set's folder, or a STAC document; None: ``images`` and ``labels`` are given.
        images: Folder of images.
        labels: Folder of labels.
        image_pattern: Names of images, ``*`` standing for what both share; None: the card's.
        label_pattern: Names of labels, likewise.
        image_asset: Of STAC items.
        label_asset: Of STAC items.
        ignore_unknown: Whether label values that mean nothing are left out instead of refused.
        options: Kernel options; None means the card's.
        prompts: A class file.
        resize: Long side; None: the card's.
        demo: Whether pictures are prepared as the authors' demonstration does.
        limit: At most so many pictures.
        out: Folder for maps and counts, and for resuming.
        device: ``cpu``, ``cuda`` or ``auto``.
    """

    card: str
    data: str | None = None
    images: Path | None = None
    labels: Path | None = None
    image_pattern: str | None = None
    label_pattern: str | None = None
    image_asset: str = "image"
    label_asset: str = "label"
    ignore_unknown: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    prompts: Path | None = None
    resize: int | None = None
    demo: bool = False
    limit: int | None = None
    out: Path | None = None
    device: str = "auto"


def judge(request: Request, display: Told | None = None) -> dict[str, Any]:
    """Run a model over a labelled set.

    Args:
        request: What.
        display: Who is told how it goes.

    Returns:
        See `eopipe.evaluation.report.result`.

    Raises:
        SpecError: The card, the options or a file cannot be used.
        WeightsError: The model's weights are not here.
    """
    from eopipe.evaluation.model import Ovss, make_plan  # noqa: PLC0415
    from eopipe.evaluation.results_folder import Kept  # noqa: PLC0415  (with what follows: torch)

    card = find_card(request.card)
    plan = make_plan(card, given=request.options, prompts=request.prompts, resize=request.resize, demo=request.demo)
    samples = cut(pairs_of(request, card), card, limit=request.limit)
    predict = Ovss(plan, device=choose(request.device), threads=os.cpu_count() or 1)
    read = Reader(card.label_rule(ignore_unknown=request.ignore_unknown))
    settings = {**plan.identity(), "weights": predict.weights, "ignore_unknown": request.ignore_unknown}
    colours = [entry.colour for entry in plan.options.vocabulary.classes()]
    notes = [*predict.notes, *(["label values that mean nothing were ignored"] if request.ignore_unknown else [])]

    with nullcontext() if request.out is None else Kept(request.out, settings, colours) as kept:
        judged = evaluate(samples, read, predict, classes=len(card.names), kept=kept, display=display)
        document = result(plan, judged, limited=request.limit is not None, model=predict.provenance, notes=notes)
        if kept is not None:
            document["out"] = str(kept.folder)
            kept.finish(judged.confusion, document)
    return document


def pairs_of(request: Request, card: Card) -> list[Pair]:
    """The set's images and labels.

    Raises:
        SpecError: It is not said where they are, or they cannot be matched.
    """
    naming = Naming(
        images=(request.image_pattern,) if request.image_pattern else card.image_names,
        labels=(request.label_pattern, *card.label_names) if request.label_pattern else (*card.label_names, "*"),
        skip=card.skip,
    )
    if request.data is not None:
        if request.images or request.labels:
            raise SpecError("--data stands for --images and --labels; give one or the other")
        if request.data.endswith(".json") or "://" in request.data:
            return find_items(request.data, image=request.image_asset, label=request.label_asset)
        return find_pairs(*find_folders(Path(request.data)), naming)
    if request.images is None or request.labels is None:
        raise SpecError(
            f"where is the set? Give --data FOLDER (or a STAC .json), or --images and --labels, of {card.title}"
        )
    return find_pairs(request.images, request.labels, naming)
