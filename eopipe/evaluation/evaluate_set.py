"""``eopipe eval``: a model judged on the data set of a card; the result as a document."""

from __future__ import annotations

import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.errors import SpecError
from eopipe.evaluation.cards import find_card
from eopipe.evaluation.dataset import ImageReader, Naming, cut, find_folders, find_items, find_pairs
from eopipe.evaluation.report import result
from eopipe.evaluation.run import Request, choose_device, evaluate

if TYPE_CHECKING:
    from eopipe.evaluation.cards import DatasetCard
    from eopipe.evaluation.dataset import Sample
    from eopipe.evaluation.run import ProgressDisplay


@dataclass(frozen=True, kw_only=True)
class ImageRequest(Request):
    """An evaluation on labelled images.

    Args:
        images: Folder of images; ``data``, a folder or a STAC document, stands for both folders.
        labels: Folder of labels.
        image_pattern: Names of images, ``*`` standing for what both share; None: the card's.
        label_pattern: Names of labels, likewise.
        image_asset: Asset of STAC items.
        label_asset: Asset of STAC items.
        ignore_unknown: Whether label values without a class are left out instead of refused.
        prompts: A class file; None: the card's words.
        resize: Long side; None: the card's.
        demo: Whether pictures are prepared as in the authors' demonstration.
    """

    images: Path | None = None
    labels: Path | None = None
    image_pattern: str | None = None
    label_pattern: str | None = None
    image_asset: str = "image"
    label_asset: str = "label"
    ignore_unknown: bool = False
    prompts: Path | None = None
    resize: int | None = None
    demo: bool = False


def judge(request: ImageRequest, display: ProgressDisplay | None = None) -> dict[str, Any]:
    """Judge a model on a labelled set.

    Args:
        request: The set and the settings.
        display: Shows the progress.

    Returns:
        See `eopipe.evaluation.report.result`.

    Raises:
        SpecError: The card, the options or a file cannot be used.
        WeightsError: The model's weights are not on this machine.
    """
    from eopipe.evaluation.model import OvssPredictor, make_plan  # noqa: PLC0415  (torch)
    from eopipe.evaluation.results_folder import ResultsFolder  # noqa: PLC0415

    card = find_card(request.card)
    plan = make_plan(card, request.options, prompts=request.prompts, resize=request.resize, demo=request.demo)
    samples = cut(pairs_of(request, card), card, limit=request.limit)
    predict = OvssPredictor(plan, device=choose_device(request.device), threads=os.cpu_count() or 1)
    read = ImageReader(card.label_rule(ignore_unknown=request.ignore_unknown))
    settings = {**plan.identity(), "weights": predict.weights, "ignore_unknown": request.ignore_unknown}
    colours = [entry.colour for entry in plan.options.vocabulary.classes()]
    notes = [*predict.notes, *(["label values that mean nothing were ignored"] if request.ignore_unknown else [])]

    with nullcontext() if request.out is None else ResultsFolder(request.out, settings, colours) as folder:
        judged = evaluate(samples, read, predict, classes=len(card.names), folder=folder, display=display)
        document = result(plan, judged, limited=request.limit is not None, model=predict.provenance, notes=notes)
        if folder is not None:
            document["out"] = str(folder.folder)
            folder.finish(judged.confusion, document)
    return document


def pairs_of(request: ImageRequest, card: DatasetCard) -> list[Sample]:
    """The set's images and labels.

    Raises:
        SpecError: No folder is given, or images and labels cannot be matched.
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
        raise SpecError(f"where is {card.title}? Give --data FOLDER (or a STAC .json), or --images and --labels")
    return find_pairs(request.images, request.labels, naming)
