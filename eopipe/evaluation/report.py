"""What an evaluation says: a JSON document, and the same for people."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table

from eopipe.evaluation.cards import cards
from eopipe.evaluation.published import comparable, figures, main_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.evaluation.cards import Card
    from eopipe.evaluation.metrics import Confusion
    from eopipe.evaluation.model import Plan
    from eopipe.evaluation.published import Figure
    from eopipe.evaluation.run import Judged


def result(
    plan: Plan, judged: Judged, *, limited: bool, model: Mapping[str, Any], notes: Sequence[str]
) -> dict[str, Any]:
    """Everything found, in percent, as plain JSON; what is not defined is null.

    Args:
        plan: What was run.
        judged: What came out.
        limited: Whether the user asked for some of the set's images only.
        model: Provenance of the weights.
        notes: What else its user should know.
    """
    card, found = plan.card, judged.confusion
    figure = comparable(card, plan.compared())
    ours = headline(card, found)
    return {
        "card": card.name,
        "title": card.title,
        "metric": card.metric,
        "ours": ours,
        "published": None if figure is None else _figure(figure),
        "difference": None if figure is None or ours is None else round(ours - figure.percent, 2),
        "mIoU": _percent(found.mean_iou),
        "accuracy": _percent(found.accuracy),
        "classes": [
            {
                "name": name,
                "IoU": _percent(found.iou[number]),
                "precision": _percent(found.precision[number]),
                "recall": _percent(found.recall[number]),
                "F1": _percent(found.f1[number]),
                "truth": int(found.truth[number]),
                "predicted": int(found.predicted[number]),
            }
            for number, name in enumerate(card.names)
        ],
        "images": judged.images,
        "resumed": judged.resumed,
        "pixels": found.pixels,
        "ignored": found.ignored,
        "seconds": round(judged.seconds, 2),
        "settings": {**plan.options.complete(), "resize": plan.resize, "preprocess": plan.preprocess},
        "model": dict(model),
        "also_published": [_figure(other) for other in figures(card) if other != figure],
        "notes": [*_notes(plan, judged, figure, limited=limited), *notes],
    }


def headline(card: Card, found: Confusion) -> float | None:
    """The figure that is published of such a set, in percent."""
    return _percent(found.mean_iou if card.metric == "mIoU" else found.iou[1])


def result_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """The same for people, the figure and the published one first."""
    lines: list[str | Table] = [_ours(document)]
    published = document["published"]
    if published is not None:
        lines.append(
            f"published {published['percent']:.1f} % by {published['method']} with {published['encoder']}"
            f" ({published['table']}); ours {_signed(document['difference'])}"
        )
    table = Table(
        "class", "IoU %", "F1 %", "precision %", "recall %", "truth px", "predicted px", box=None, pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for row in document["classes"]:
        shares = (_text(row[key]) for key in ("IoU", "F1", "precision", "recall"))
        table.add_row(row["name"], *shares, f"{row['truth']:,}", f"{row['predicted']:,}")
    lines.append(table)
    return [*lines, *(f"note: {note}" for note in document["notes"])]


def cards_lines() -> list[str]:
    """Every card in a line: what it is, what it is run with, what was published with that."""
    rows = [("card", "data set", "classes", "size", "window", "threshold", "bias", "published")]
    for card in cards().values():
        figure = main_figure(card)
        what = "mIoU" if card.metric == "mIoU" else "IoU"
        rows.append(
            (
                card.name,
                card.title,
                str(len(card.names)),
                str(card.resize),
                f"{card.crop}/{card.stride}" if card.crop else "whole",
                f"{card.threshold:g}",
                f"{card.bias:g}",
                "-" if figure is None else f"{what} {figure.percent:.1f} ({figure.method})",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def cards_document() -> list[dict[str, Any]]:
    """Every card with all its keys and published figures, as plain JSON."""
    return [
        {**_plain(card), "names": list(card.names), "published": [_figure(figure) for figure in figures(card)]}
        for card in cards().values()
    ]


def _plain(card: Card) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(card).items()}


def _figure(figure: Figure) -> dict[str, Any]:
    return {
        "method": figure.method,
        "percent": figure.percent,
        "encoder": figure.encoder,
        "table": figure.table,
        "note": figure.note,
    }


def _ours(document: Mapping[str, Any]) -> str:
    many = f"{document['images']:,} image{'s' * (document['images'] != 1)}"
    again = f", {document['resumed']:,} of them from before" if document["resumed"] else ""
    mean = "" if document["metric"] == "mIoU" else f", mIoU {_text(document['mIoU'])} %"
    if len(document["classes"]) == 2:
        mean += f", F1 {_text(document['classes'][1]['F1'])} %"
    what = "mIoU" if document["metric"] == "mIoU" else f"IoU of {document['classes'][1]['name']}"
    return (
        f"{document['title']}: {what} {_text(document['ours'])} %{mean}, pixel accuracy"
        f" {_text(document['accuracy'])} %, on {many}{again}, {document['pixels']:,} pixels"
    )


def _notes(plan: Plan, judged: Judged, figure: Figure | None, *, limited: bool) -> list[str]:
    card, own = plan.card, main_figure(plan.card)
    notes = []
    if card.images is not None and judged.images != card.images:
        notes.append(f"the published figure is of {card.images:,} images, this one of {judged.images:,}: a sample")
    elif limited:
        notes.append(f"only {judged.images:,} images were judged, as --limit asked: a sample")
    elif card.images is None and own is not None:
        notes.append("how many images the published figure was measured on is not stated; is this the same split?")
    different = plan.differences()
    if different:
        notes.append(f"settings differ from the card's: {'; '.join(different)}")
    if figure is None and own is not None:
        near = comparable(card, {**plan.compared(), "model": card.model}) or own
        theirs = "the same with" if near != own else "the card's own with"
        notes.append(
            f"no published figure was made with these settings; {theirs} {near.encoder} gave {near.percent:.1f} %"
            f" ({near.method}, {near.table})"
        )
    if figure is not None:
        notes.append(
            "the published figures were computed in half precision on a GPU; digits after the point may differ"
        )
        notes += [figure.note] if figure.note else []
    if plan.options.checkpoint is not None:
        notes.append(f"the weights are your checkpoint's, under the name {plan.options.model}")
    absent = [name for name, iou in zip(card.names, judged.confusion.iou, strict=True) if math.isnan(iou)]
    if absent:
        notes.append(f"nowhere in truth or prediction, so in no mean: {', '.join(absent)}")
    return notes


def _percent(value: Any) -> float | None:
    return None if math.isnan(value) else round(float(value) * 100, 2)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _signed(value: float | None) -> str:
    return "has none" if value is None else f"{value:+.2f}"
