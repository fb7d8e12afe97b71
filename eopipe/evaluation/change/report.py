"""Results of change evaluations as JSON documents and as lines for people; the list of sets as both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.evaluation import report
from eopipe.evaluation.change.cards import figures, sets
from eopipe.evaluation.change.metrics import ChangeMetrics
from eopipe.kernels.change.dynamicearth.published_settings import all_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.table import Table

    from eopipe.evaluation.change.cards import ChangeCard
    from eopipe.evaluation.change.methods import Method
    from eopipe.evaluation.change.mosaics import MapCounts
    from eopipe.evaluation.metrics import Confusion
    from eopipe.evaluation.run import Judged

COLUMNS = ("F1", "IoU", "precision", "recall", "mIoU", "OA")

SETTINGS = ("category", "beta", "rule", "points", "resize", "side", "background", "foreground")
"""Published settings in the list of sets."""


def result(
    card: ChangeCard, category: str, outcomes: Sequence[tuple[Method, Judged]], *, limited: bool
) -> dict[str, Any]:
    """The result on a set of pairs as plain JSON, in percent.

    Args:
        card: The set.
        category: The category of change.
        outcomes: Methods with their counts; the first one gives the result's own figures.
        limited: Whether the user asked for some of the set's pairs only.
    """
    method, judged = outcomes[0]
    figure = method.plan.published
    rows = [method_row(evaluated.name, outcome.confusion) for evaluated, outcome in outcomes]
    return {
        "set": card.name,
        "title": card.title,
        "category": category,
        **{key: rows[0][key] for key in ("method", *COLUMNS)},
        "published": None if figure is None else figure.as_json(),
        "methods": rows,
        "images": judged.images,
        "resumed": judged.resumed,
        "skipped": list(judged.skipped.values()),
        "pixels": judged.confusion.pixels,
        "ignored": judged.confusion.ignored,
        "seconds": round(sum(outcome.seconds for _, outcome in outcomes), 2),
        "settings": dict(method.identity),
        "model": dict(method.provenance),
        "also_published": [row.as_json() for row in figures(card, category) if row != figure],
        "notes": [*_notes(card, method, judged, limited=limited), *method.notes],
    }


def map_result(run: str, labels: str, counts: MapCounts, *, files: int, outside: Sequence[str]) -> dict[str, Any]:
    """The result on a finished run as plain JSON, in percent.

    Args:
        run: The run's folder.
        labels: Address of the labels.
        counts: The counts.
        files: Number of label rasters that overlap the mosaic.
        outside: Those that do not.
    """
    return {
        "map": run,
        "labels": labels,
        **method_row("change", counts.confusion),
        "files": files,
        "files_beside": list(outside),
        "pixels": counts.confusion.pixels,
        "ignored": counts.confusion.ignored,
        "missed": {"outside": counts.outside, "not_produced": counts.not_produced, "unseen": counts.unseen},
        "notes": map_notes(counts, outside),
    }


def map_notes(counts: MapCounts, outside: Sequence[str] = ()) -> list[str]:
    """Labelled pixels without a prediction, and label files outside the mosaic."""
    missed = (
        (counts.outside, "lie outside the mosaic"),
        (counts.not_produced, "lie where no tile was produced, or outside the run's area"),
        (counts.unseen, "were not seen in one of the epochs"),
    )
    notes = [f"{pixels:,} labelled pixels {reason}: counted as missed" for pixels, reason in missed if pixels]
    if outside:
        notes.append(f"{len(outside):,} label files lie outside the mosaic, and were left out, such as {outside[0]}")
    return notes


def method_row(method: str, counts: Confusion) -> dict[str, Any]:
    """A method's metrics in percent and its pixels of change."""
    return {
        "method": method,
        **ChangeMetrics.of(counts).percent(),
        "truth": int(counts.truth[1]),
        "predicted": int(counts.predicted[1]),
        "missed_pixels": int(counts.missed.sum()),
    }


def result_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """A result on pairs for people: the metrics and the published figure, a table of methods, notes."""
    first = f"{document['title']}, {document['category']}: {_f1_and_iou(document)} by {document['method']}"
    pictures = report.count_text(document, "pair")
    lines: list[str | Table] = [f"{first}, on {pictures}, {document['pixels']:,} pixels"]
    figure = document["published"]
    if figure is not None:
        numbers = ", ".join(f"{name} {figure[name]:.1f} %" for name in ("F1", "IoU") if figure[name] is not None)
        lines.append(f"published {numbers} by {figure['method']} ({figure['table']})")
    return [*lines, methods_table(document["methods"]), *report.note_lines(document)]


def map_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """A result on a finished run for people."""
    line = f"{document['map']}: {_f1_and_iou(document)} on {document['pixels']:,} pixels"
    return [line, methods_table([document]), *report.note_lines(document)]


def methods_table(rows: Iterable[Mapping[str, Any]], *leading: str) -> Table:
    """A table of methods.

    Args:
        rows: As `method_row`.
        leading: Keys of the columns before the method.
    """
    texts = [(key, key, "") for key in (*leading, "method")]
    shares = [(f"{key} %", key, ".2f") for key in COLUMNS]
    return report.table([*texts, *shares, *report.PIXEL_COLUMNS], rows)


def sets_lines() -> list[str]:
    """Every set in a line."""
    rows = [("set", "data set", "asked for", "pictures", "published, best of one training-free method")]
    for card in sets().values():
        category = card.categories[0]
        known = [(row.f1, row.method) for row in figures(card, category) if row.instantiation and row.f1 is not None]
        f1, method = max(known, key=lambda row: row[0], default=(None, None))
        side = "scenes" if card.labels == "scenes" else "any size" if card.side is None else str(card.side)
        best = "-" if f1 is None else f"{category}: F1 {f1:.1f} ({method})"
        rows.append((card.name, card.title, ", ".join(card.categories), side, best))
    return report.aligned(rows)


def sets_document() -> list[dict[str, Any]]:
    """Every set with all its keys, the published settings and the published figures."""
    return [
        {
            **vars(card),
            "settings": [
                {"instantiation": row.instantiation.name, **{name: getattr(row, name) for name in SETTINGS}}
                for row in all_settings()
                if row.dataset == card.dataset
            ],
            "published": [
                {"category": category, **row.as_json()}
                for category in card.categories
                for row in figures(card, category)
            ],
        }
        for card in sets().values()
    ]


def _notes(card: ChangeCard, method: Method, judged: Judged, *, limited: bool) -> list[str]:
    notes = [card.note] if card.note else []
    if judged.skipped:
        notes.append(f"{len(judged.skipped):,} pairs were left out, such as: {next(iter(judged.skipped.values()))}")
    if limited:
        notes.append(f"only {judged.images:,} pictures were judged, as --limit asked: a sample")
    elif card.pairs is not None and judged.images < card.pairs:
        notes.append(f"the set has {card.pairs:,} pairs, of which these are {judged.images:,} pictures: a sample")
    plan, pixels = method.plan, judged.confusion.pixels + judged.confusion.ignored
    if plan.differences:
        notes.append(f"settings differ from the published: {'; '.join(plan.differences)}; no figure stands beside")
    if plan.published is not None:
        notes += [plan.published.note] if plan.published.note else []
        if plan.side and pixels != judged.images * plan.side**2:
            notes.append(
                f"the published figure is of pictures of {plan.side} pixels a side, and not all of these are"
            )
    if not judged.confusion.truth[1]:
        notes.append("no pixel is labelled as changed; are the labels this set's?")
    return notes


def _f1_and_iou(document: Mapping[str, Any]) -> str:
    return f"F1 {document['F1']:.2f} %, IoU {document['IoU']:.2f} %"
