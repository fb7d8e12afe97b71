"""What ``eopipe eval change`` does with pairs of pictures and finished mosaics; the result as a document."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from eopipe.errors import OutputError, SpecError
from eopipe.evaluation.change import mosaics
from eopipe.evaluation.change.cards import find_set
from eopipe.evaluation.change.pairs import PairReader, cut, find_pairs
from eopipe.evaluation.change.report import map_result, result
from eopipe.evaluation.results_folder import RESULT, Kept, refuse_remote
from eopipe.evaluation.run import evaluate
from eopipe.kernels.change.dynamicearth.published_settings import SECOND_CLASSES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from eopipe.evaluation.change.cards import ChangeCard
    from eopipe.evaluation.change.methods import Method
    from eopipe.evaluation.change.pairs import PairSample
    from eopipe.evaluation.display import Told
    from eopipe.evaluation.run import Judged

COLOURS = ("#e8e6df", "#d7301f")
"""Of unchanged and changed in the kept maps: the kernel's."""

DECIDING = ("name", "labels", "folders", "names")
"""What of a card decides how a pair is judged; its titles and terms may be mended."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for.

    Args:
        card: A shipped card's name, or a TOML file; None: only a mosaic is judged.
        data: The set's folder.
        category: Of the set; None: its only one.
        options: Of the kernel's stages, by name; None means the published ones, or the kernel's own.
        baselines: Whether change-vector analysis is judged beside it.
        side: Pairs larger than this are cut; None: as the published settings have it, else not.
        limit: At most so many pairs.
        out: Folder for maps and counts, and for resuming.
        device: ``cpu``, ``cuda`` or ``auto``.
    """

    card: str
    data: Path | None = None
    category: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    baselines: bool = True
    side: int | None = None
    limit: int | None = None
    out: Path | None = None
    device: str = "auto"


def judge(request: Request, display: Told | None = None) -> dict[str, Any]:
    """Go through a set of pairs, method by method.

    Args:
        request: What.
        display: Who is told how it goes.

    Returns:
        See `eopipe.evaluation.change.report.result`.

    Raises:
        SpecError: The card, the options or a file cannot be used.
        WeightsError: Weights are not here; the message says which file goes where.
        OutputError: ``out`` cannot be written.
    """
    from eopipe.evaluation.change.methods import methods_of, plan_of  # noqa: PLC0415  (torch)

    card = find_set(request.card)
    category = card.category(request.category)
    if request.data is None:
        raise SpecError(f"where is the set? Give --data FOLDER of {card.title}")
    pairs = find_pairs(request.data, card)
    plan = plan_of(card, category, given=request.options, side=request.side)
    samples = list(cut(pairs, plan.side, limit=request.limit))
    methods = methods_of(plan, baselines=request.baselines, device=request.device)
    return judge_methods(request, card, category, samples, methods, display=display)


def judge_methods(
    request: Request,
    card: ChangeCard,
    category: str,
    samples: Sequence[PairSample],
    methods: Sequence[Method],
    *,
    display: Told | None = None,
) -> dict[str, Any]:
    """The same with given methods, the first being the one that was asked for."""
    number = SECOND_CLASSES[category].number if card.labels == "either" else None
    found = []
    for method in methods:
        settings = {"card": _deciding(card), "category": category, "method": method.name, **method.identity}
        folder = None if request.out is None else request.out / slug(method.name)
        reader = PairReader(card, number=number)
        with nullcontext() if folder is None else Kept(folder, settings, COLOURS) as kept:
            judged = evaluate(samples, reader, method.predict, classes=2, kept=kept, display=display)
            found.append((method, judged))
            samples = [sample for sample in samples if sample.key not in judged.skipped]  # told once
            if kept is not None:
                kept.finish(judged.confusion, _kept(method, judged))
    document = result(card, category, found, limited=request.limit is not None)
    if request.out is not None:
        document["out"] = str(request.out)
        write_result(request.out, document)
    return document


def judge_map(
    out: str, labels: str, *, card: ChangeCard | None, asset: str | None, changed: int | None, unchanged: int | None
) -> dict[str, Any]:
    """Judge a finished run's map.

    Args:
        out: The run's folder.
        labels: A raster, or a static STAC document with label assets.
        card: Where values and asset come from that are not given.
        asset: Of STAC items.
        changed: The labels' value of change.
        unchanged: Of no change.

    Returns:
        See `eopipe.evaluation.change.report.map_result`.

    Raises:
        SpecError: The run or the labels cannot be used.
        OutputError: The run cannot be reached.
        CatalogError: The STAC document cannot be read.
    """
    rasters = mosaics.labels_of(
        labels,
        asset or (card.label_asset if card else "label"),
        changed=_or(changed, card.changed if card else 1),
        unchanged=_or(unchanged, card.unchanged if card else 0),
    )
    found, beside = mosaics.judge_run(out, rasters)
    return map_result(out, labels, found, files=len(rasters) - len(beside), beside=beside)


def slug(name: str) -> str:
    """A method's name as a folder's."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


def write_result(out: Path, document: Mapping[str, Any]) -> None:
    """Write what ``--json`` prints.

    Raises:
        SpecError: The folder is a remote one.
        OutputError: It cannot be written.
    """
    refuse_remote(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / RESULT).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"--out {out} cannot be written ({error}); make room, and run again") from None


def _deciding(card: ChangeCard) -> dict[str, Any]:
    return {name: value for name, value in asdict(card).items() if name in DECIDING}


def _kept(method: Method, judged: Judged) -> dict[str, Any]:
    from eopipe.evaluation.change.metrics import Figures  # noqa: PLC0415

    figures = Figures.of(judged.confusion).percent()
    return {"method": method.name, **figures, "images": judged.images, "skipped": list(judged.skipped.values())}


def _or(given: int | None, other: int) -> int:
    return other if given is None else given
