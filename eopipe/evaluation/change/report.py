"""What an evaluation of change says: a JSON document, and the same for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from eopipe.evaluation.change.cards import sets
from eopipe.evaluation.change.metrics import Figures
from eopipe.evaluation.change.published import figures
from eopipe.kernels.change.dynamicearth.published_settings import all_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from eopipe.evaluation.change.cards import ChangeCard
    from eopipe.evaluation.change.methods import Method
    from eopipe.evaluation.change.mosaics import MapJudged
    from eopipe.evaluation.metrics import Confusion
    from eopipe.evaluation.run import Judged

COLUMNS = ("F1", "IoU", "precision", "recall", "mIoU", "OA")


def result(
    card: ChangeCard, category: str, found: Sequence[tuple[Method, Judged]], *, limited: bool
) -> dict[str, Any]:
    """Everything found, in percent, as plain JSON.

    Args:
        card: The set.
        category: What was asked for.
        found: Methods with their counts, the one that was asked for first.
        limited: Whether the user asked for some of the set's pairs only.
    """
    method, judged = found[0]
    figure = method.published
    own = row(method.name, judged.confusion)
    return {
        "set": card.name,
        "title": card.title,
        "category": category,
        **{key: own[key] for key in ("method", *COLUMNS)},
        "published": None if figure is None else figure.as_json(),
        "methods": [row(each.name, counted.confusion) for each, counted in found],
        "images": judged.images,
        "resumed": judged.resumed,
        "skipped": list(judged.skipped.values()),
        "pixels": judged.confusion.pixels,
        "ignored": judged.confusion.ignored,
        "seconds": round(sum(counted.seconds for _, counted in found), 2),
        "settings": dict(method.identity),
        "model": dict(method.provenance),
        "also_published": [each.as_json() for each in figures(card, category) if each != figure],
        "notes": [*_notes(card, method, judged, limited=limited), *method.notes],
    }


def map_result(out: str, labels: str, found: MapJudged, *, files: int, beside: Sequence[str]) -> dict[str, Any]:
    """Of a judged mosaic, likewise.

    Args:
        out: The run's folder.
        labels: Where the labels came from.
        found: Counts.
        files: Label rasters that the mosaic meets.
        beside: Those that it does not.
    """
    return {
        "map": out,
        "labels": labels,
        **row("change", found.confusion),
        "files": files,
        "files_beside": list(beside),
        "pixels": found.confusion.pixels,
        "ignored": found.confusion.ignored,
        "missed": {"outside": found.outside, "not_produced": found.not_produced, "unseen": found.unseen},
        "notes": map_notes(found, beside),
    }


def map_notes(found: MapJudged, beside: Sequence[str] = ()) -> list[str]:
    """What the reader of a mosaic's figures must know."""
    told = (
        (found.outside, "lie outside the mosaic"),
        (found.not_produced, "lie where no tile was produced, or outside the run's area"),
        (found.unseen, "were not seen in one of the epochs"),
    )
    notes = [f"{count:,} labelled pixels {what}: counted as missed" for count, what in told if count]
    if beside:
        notes.append(f"{len(beside):,} label files lie outside the mosaic, and were left out, such as {beside[0]}")
    return notes


def row(method: str, counts: Confusion) -> dict[str, Any]:
    """A method's line: figures in percent and pixels of change."""
    return {
        "method": method,
        **Figures.of(counts).percent(),
        "truth": int(counts.truth[1]),
        "predicted": int(counts.predicted[1]),
        "missed_pixels": int(counts.missed.sum()),
    }


def result_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """For people, the figure and the published one first."""
    many = f"{document['images']:,} pair{'s' * (document['images'] != 1)}"
    again = f", {document['resumed']:,} of them from before" if document["resumed"] else ""
    first = (
        f"{document['title']}, {document['category']}: F1 {document['F1']:.2f} %, IoU {document['IoU']:.2f} % by"
        f" {document['method']}, on {many}{again}, {document['pixels']:,} pixels"
    )
    lines: list[str | Table] = [first]
    if document["published"] is not None:
        lines.append(f"published {_printed(document['published'])}")
    lines.append(table(document["methods"]))
    return [*lines, *(f"note: {note}" for note in document["notes"])]


def map_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """Of a judged mosaic, for people."""
    line = (
        f"{document['map']}: F1 {document['F1']:.2f} %, IoU {document['IoU']:.2f} % on {document['pixels']:,} pixels"
    )
    return [line, table([document]), *(f"note: {note}" for note in document["notes"])]


def table(rows: Iterable[Mapping[str, Any]], leading: Sequence[str] = ()) -> Table:
    """A row a method."""
    found = Table(
        *leading, "method", *(f"{name} %" for name in COLUMNS), "truth px", "predicted px", box=None, pad_edge=False
    )
    for column in found.columns[len(leading) + 1 :]:
        column.justify = "right"
    for each in rows:
        shares = (f"{each[name]:.2f}" for name in COLUMNS)
        names = (str(each[name]) for name in (*leading, "method"))
        found.add_row(*names, *shares, f"{each['truth']:,}", f"{each['predicted']:,}")
    return found


def sets_lines() -> list[str]:
    """Every set in a line."""
    rows = [("set", "data set", "asked for", "pictures", "published, best of one training-free method")]
    for card in sets().values():
        best = max(
            (each for each in figures(card, card.categories[0]) if each.instantiation and each.f1 is not None),
            key=lambda each: each.f1 or 0.0,
            default=None,
        )
        side = "scenes" if card.labels == "scenes" else "any size" if card.side is None else str(card.side)
        what = "-" if best is None else f"{card.categories[0]}: F1 {best.f1:.1f} ({best.method})"
        rows.append((card.name, card.title, ", ".join(card.categories), side, what))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, each, widths)).rstrip() for each in rows]


def sets_document() -> list[dict[str, Any]]:
    """Every set with all its keys, the published settings and the published figures, as plain JSON."""
    return [
        {
            **{key: _plain(value) for key, value in vars(card).items()},
            "settings": [
                {
                    "instantiation": each.instantiation.name, "category": each.category, "beta": each.beta,
                    "rule": each.rule, "points": each.points, "resize": each.resize, "side": each.side,
                    "background": list(each.background), "foreground": list(each.foreground),
                }
                for each in all_settings()
                if each.dataset == card.dataset
            ],
            "published": [
                {"category": category, **each.as_json()}
                for category in card.categories
                for each in figures(card, category)
            ],
        }
        for card in sets().values()
    ]  # fmt: skip


def _notes(card: ChangeCard, method: Method, judged: Judged, *, limited: bool) -> list[str]:
    notes = [card.note] if card.note else []
    if judged.skipped:
        notes.append(f"{len(judged.skipped):,} pairs were left out, such as: {next(iter(judged.skipped.values()))}")
    if limited:
        notes.append(f"only {judged.images:,} pictures were judged, as --limit asked: a sample")
    elif card.pairs is not None and judged.images < card.pairs:
        notes.append(f"the set has {card.pairs:,} pairs, of which these are {judged.images:,} pictures: a sample")
    if method.differences:
        notes.append(f"settings differ from the published: {'; '.join(method.differences)}; no figure stands beside")
    if method.published is not None and method.published.note:
        notes.append(method.published.note)
    counted = judged.confusion.pixels + judged.confusion.ignored
    if method.published is not None and method.side and counted != judged.images * method.side**2:
        notes.append(f"the published figure is of pictures of {method.side} pixels a side, and not all of these are")
    if not judged.confusion.truth[1]:
        notes.append("no pixel is labelled as changed; are the labels this set's?")
    return notes


def _printed(figure: Mapping[str, Any]) -> str:
    numbers = ", ".join(f"{name} {figure[name]:.1f} %" for name in ("F1", "IoU") if figure[name] is not None)
    return f"{numbers} by {figure['method']} ({figure['table']})"


def _plain(value: Any) -> Any:
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
