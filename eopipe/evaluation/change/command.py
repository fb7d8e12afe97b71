"""``eopipe eval change`` on pairs of pictures and on finished runs; the result as a document."""

from __future__ import annotations

import re
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.errors import SpecError
from eopipe.evaluation.change import mosaics
from eopipe.evaluation.change.cards import ChangeCard, find_set
from eopipe.evaluation.change.metrics import ChangeMetrics
from eopipe.evaluation.change.pairs import PairReader, cut, find_pairs
from eopipe.evaluation.change.report import map_result, result
from eopipe.evaluation.results_folder import ResultsFolder, write_result
from eopipe.evaluation.run import Request, evaluate
from eopipe.kernels.change.dynamicearth.published_settings import SECOND_CLASSES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.evaluation.change.methods import Method
    from eopipe.evaluation.dataset import Sample
    from eopipe.evaluation.run import ProgressDisplay

COLOURS = ("#e8e6df", "#d7301f")
"""Colours of unchanged and changed in the stored maps: those of the ``change`` kernel."""

DECIDING = ("name", "labels", "folders", "names")
"""Fields of a card that decide how a pair is judged."""


@dataclass(frozen=True, kw_only=True)
class ChangeRequest(Request):
    """An evaluation of maps of change: of pairs of pictures, of labelled places, or of a finished run.

    Args:
        category: Category of the set; None: its only one.
        baselines: Whether change-vector analysis is judged too.
        side: Pairs larger than this are cut; None: by the published settings, else not.
        places: Names of the labelled places that are judged; empty: all.
        mosaic: Folder of a finished run.
        labels: Its labels: a raster, or a static STAC document with label assets.
        label_asset: Asset of STAC items; None: the card's.
        changed: Value of change in the labels; None: the card's, or 1.
        unchanged: Value of no change; None: the card's, or 0.
        place_property: Property that names an item's place; None: the card's.
        workers: Local workers of the places' runs.
    """

    category: str | None = None
    baselines: bool = True
    side: int | None = None
    places: tuple[str, ...] = ()
    mosaic: str | None = None
    labels: str | None = None
    label_asset: str | None = None
    changed: int | None = None
    unchanged: int | None = None
    place_property: str | None = None
    workers: int | None = None

    def labels_card(self) -> ChangeCard:
        """The card, or a plain one for a map, with the values of the labels that are given here.

        Raises:
            SpecError: There is no such card, or change and no change have the same value.
        """
        card = find_set(self.card) if self.card else ChangeCard(name="map", title="map", labels="scenes")
        values: dict[str, Any] = {
            "label_asset": self.label_asset, "changed": self.changed, "unchanged": self.unchanged,
            "place": self.place_property,
        }  # fmt: skip
        try:
            return replace(card, **{name: value for name, value in values.items() if value is not None})
        except ValueError as error:
            raise SpecError(f"--changed and --unchanged: {error}; give two values") from None


def judge_pairs(request: ChangeRequest, display: ProgressDisplay | None = None) -> dict[str, Any]:
    """Judge methods on a set of pairs, one after the other.

    Args:
        request: The set and the settings.
        display: Shows the progress.

    Returns:
        See `eopipe.evaluation.change.report.result`.

    Raises:
        SpecError: The card, the options or a file cannot be used.
        WeightsError: Weights are not on this machine; the message says which file goes where.
        OutputError: ``out`` cannot be written.
    """
    from eopipe.evaluation.change.methods import load_methods, plan_stages  # noqa: PLC0415  (torch)

    card = find_set(request.card)
    category = card.category(request.category)
    if request.data is None:
        raise SpecError(f"where is the set? Give --data FOLDER of {card.title}")
    pairs = find_pairs(Path(request.data), card)
    plan = plan_stages(card, category, request.options, side=request.side)
    samples = list(cut(pairs, plan.side, limit=request.limit))
    methods = load_methods(plan, baselines=request.baselines, device=request.device)
    return judge_methods(request, samples, methods, display)


def judge_methods(
    request: ChangeRequest,
    samples: Sequence[Sample],
    methods: Sequence[Method],
    display: ProgressDisplay | None = None,
) -> dict[str, Any]:
    """`judge_pairs` with methods that are loaded already; the result's own figures are those of the first one."""
    card = find_set(request.card)
    category = card.category(request.category)
    number = SECOND_CLASSES[category].number if card.labels == "either" else None
    deciding = {name: value for name, value in asdict(card).items() if name in DECIDING}
    outcomes = []
    for method in methods:
        settings = {"card": deciding, "category": category, "method": method.name, **method.identity}
        path = None if request.out is None else request.out / folder_name(method.name)
        read = PairReader(card, number=number)
        with nullcontext() if path is None else ResultsFolder(path, settings, COLOURS) as folder:
            judged = evaluate(samples, read, method.predict, classes=2, folder=folder, display=display)
            if folder is not None:
                metrics = ChangeMetrics.of(judged.confusion).percent()
                counts = {"images": judged.images, "skipped": list(judged.skipped.values())}
                folder.finish(judged.confusion, {"method": method.name, **metrics, **counts})
        outcomes.append((method, judged))
        samples = [sample for sample in samples if sample.key not in judged.skipped]  # one warning a sample
    document = result(card, category, outcomes, limited=request.limit is not None)
    if request.out is not None:
        document["out"] = str(request.out)
        write_result(request.out, document)
    return document


def judge_map(request: ChangeRequest) -> dict[str, Any]:
    """Judge the map of a finished run, ``mosaic``, against ``labels``.

    Returns:
        See `eopipe.evaluation.change.report.map_result`.

    Raises:
        SpecError: The run or the labels cannot be used.
        OutputError: The run cannot be reached, or ``out`` cannot be written.
        CatalogError: The STAC document cannot be read.
    """
    assert request.mosaic is not None
    assert request.labels is not None
    card = request.labels_card()
    rasters = mosaics.find_rasters(request.labels, card.label_asset, changed=card.changed, unchanged=card.unchanged)
    counts, outside = mosaics.judge_run(request.mosaic, rasters)
    document = map_result(request.mosaic, request.labels, counts, files=len(rasters) - len(outside), outside=outside)
    if request.out is not None:
        write_result(request.out, document)
    return document


def folder_name(method: str) -> str:
    """The folder of a method, from its name."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", method).strip("-")
