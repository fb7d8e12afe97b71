"""The result of an evaluation as a JSON document and as lines for people; the list of cards as both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.table import Table

from eopipe.evaluation.cards import cards, comparable, figures, main_figure

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from eopipe.evaluation.cards import Figure
    from eopipe.evaluation.model import EvaluationPlan
    from eopipe.evaluation.run import Judged

PIXEL_COLUMNS = (("truth px", "truth", ","), ("predicted px", "predicted", ","))


def result(
    plan: EvaluationPlan, judged: Judged, *, limited: bool, model: Mapping[str, Any], notes: Sequence[str]
) -> dict[str, Any]:
    """The result as plain JSON, in percent; what is not defined is null.

    Args:
        plan: The settings.
        judged: The counts.
        limited: Whether the user asked for some of the set's images only.
        model: Provenance of the weights.
        notes: Further remarks for the user.
    """
    card, counts = plan.card, judged.confusion
    figure = comparable(card, plan.compared())
    percent = _percent(counts.mean_iou if card.metric == "mIoU" else counts.iou[1])
    shares = {"IoU": counts.iou, "precision": counts.precision, "recall": counts.recall, "F1": counts.f1}
    pixels = {"truth": counts.truth, "predicted": counts.predicted}
    return {
        "card": card.name,
        "title": card.title,
        "metric": card.metric,
        "ours": percent,
        "published": None if figure is None else figure.as_json(),
        "difference": None if figure is None or percent is None else round(percent - figure.percent, 2),
        "mIoU": _percent(counts.mean_iou),
        "accuracy": _percent(counts.accuracy),
        "classes": [
            {"name": name, **{key: _percent(share[n]) for key, share in shares.items()},
             **{key: int(count[n]) for key, count in pixels.items()}}
            for n, name in enumerate(card.names)
        ],
        "images": judged.images,
        "resumed": judged.resumed,
        "pixels": counts.pixels,
        "ignored": counts.ignored,
        "seconds": round(judged.seconds, 2),
        "settings": {**plan.options.complete(), "resize": plan.resize, "preprocess": plan.preprocess},
        "model": dict(model),
        "also_published": [row.as_json() for row in figures(card) if row != figure],
        "notes": [*_notes(plan, judged, figure, limited=limited), *notes],
    }  # fmt: skip


def result_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """A result for people: the metric and the published figure, a table of classes, notes."""
    lines: list[str | Table] = [_headline_text(document)]
    published = document["published"]
    if published is not None:
        difference = document["difference"]
        lines.append(
            f"published {published['percent']:.1f} % by {published['method']} with {published['encoder']}"
            f" ({published['table']}); ours {'has none' if difference is None else f'{difference:+.2f}'}"
        )
    shares = [(f"{key} %", key, ".2f") for key in ("IoU", "F1", "precision", "recall")]
    lines.append(table([("class", "name", ""), *shares, *PIXEL_COLUMNS], document["classes"]))
    return [*lines, *note_lines(document)]


def table(columns: Sequence[tuple[str, str, str]], rows: Iterable[Mapping[str, Any]]) -> Table:
    """A table; columns of numbers, whose heading ends with ``%`` or ``px``, are aligned to the right.

    Args:
        columns: Heading, key and format of each column.
        rows: Values by key; None is shown as ``-``.
    """
    grid = Table(box=None, pad_edge=False)
    for heading, _, _ in columns:
        grid.add_column(heading, justify="right" if heading.endswith((" %", " px")) else "left")
    for row in rows:
        grid.add_row(*("-" if row[key] is None else format(row[key], spec) for _, key, spec in columns))
    return grid


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of texts as lines, every column as wide as its longest text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def note_lines(document: Mapping[str, Any]) -> list[str]:
    """The notes of a result for people."""
    return [f"note: {note}" for note in document["notes"]]


def count_text(document: Mapping[str, Any], noun: str) -> str:
    """How many pictures a result is of, such as ``2 images, 1 of them from before``."""
    resumed = f", {document['resumed']:,} of them from before" if document["resumed"] else ""
    return f"{document['images']:,} {noun}{'s' * (document['images'] != 1)}{resumed}"


def cards_lines() -> list[str]:
    """Every card in a line: the set, its settings, the figure that was published with these."""
    rows = [("card", "data set", "classes", "size", "window", "threshold", "bias", "published")]
    for card in cards().values():
        figure = main_figure(card)
        metric = "mIoU" if card.metric == "mIoU" else "IoU"
        window = f"{card.crop}/{card.stride}" if card.crop else "whole"
        published = "-" if figure is None else f"{metric} {figure.percent:.1f} ({figure.method})"
        rows.append(
            (card.name, card.title, str(len(card.names)), str(card.resize), window, f"{card.threshold:g}",
             f"{card.bias:g}", published)
        )  # fmt: skip
    return aligned(rows)


def cards_document() -> list[dict[str, Any]]:
    """Every card with all its keys and published figures."""
    return [
        {**vars(card), "names": card.names, "published": [figure.as_json() for figure in figures(card)]}
        for card in cards().values()
    ]


def _headline_text(document: Mapping[str, Any]) -> str:
    multiclass, classes = document["metric"] == "mIoU", document["classes"]
    metric = "mIoU" if multiclass else f"IoU of {classes[1]['name']}"
    further = "" if multiclass else f", mIoU {_text(document['mIoU'])} %"
    if len(classes) == 2:
        further += f", F1 {_text(classes[1]['F1'])} %"
    return (
        f"{document['title']}: {metric} {_text(document['ours'])} %{further}, pixel accuracy"
        f" {_text(document['accuracy'])} %, on {count_text(document, 'image')}, {document['pixels']:,} pixels"
    )


def _notes(plan: EvaluationPlan, judged: Judged, figure: Figure | None, *, limited: bool) -> list[str]:
    card, main = plan.card, main_figure(plan.card)
    notes = []
    if card.images is not None and judged.images != card.images:
        notes.append(f"the published figure is of {card.images:,} images, this one of {judged.images:,}: a sample")
    elif limited:
        notes.append(f"only {judged.images:,} images were judged, as --limit asked: a sample")
    elif card.images is None and main is not None:
        notes.append("how many images the published figure was measured on is not stated; is this the same split?")
    differences = plan.differences()
    if differences:
        notes.append(f"settings differ from the card's: {'; '.join(differences)}")
    if figure is None and main is not None:
        near = comparable(card, {**plan.compared(), "model": card.model}) or main
        difference = "the same with" if near != main else "the card's own with"
        notes.append(
            f"no published figure was made with these settings; {difference} {near.encoder} gave {near.percent:.1f} %"
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
