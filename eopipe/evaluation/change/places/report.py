"""What a trial says: a JSON document, and a table for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from eopipe.evaluation.change.metrics import Figures
from eopipe.evaluation.change.report import map_notes, row, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.evaluation.change.cards import ChangeCard
    from eopipe.evaluation.change.places.run import PlaceJudged

OWN = "change"
"""The kernel's line; others are baselines."""


def trial_result(card: ChangeCard, found: Sequence[PlaceJudged], kernel: Mapping[str, Any]) -> dict[str, Any]:
    """Everything found, in percent, as plain JSON.

    Args:
        card: The set.
        found: The places; a last one that did not end well has no figures.
        kernel: Options of the change kernel.
    """
    rows = [
        {"place": each.place.name, **row(method, judged.confusion)}
        for each in found
        for method, judged in each.judged.items()
    ]
    status = next((each.status for each in found if each.status), 0)
    return {
        "exit_status": status,
        "set": card.name,
        "title": card.title,
        "kernel": dict(kernel),
        "places": [
            {"place": each.place.name, "output": each.output, "before": each.place.before, "after": each.place.after,
             "exit_status": each.status, "notes": map_notes(each.judged[OWN]) if each.judged else []}
            for each in found
        ],
        "methods": rows,
        "mean": _means(found),
        "notes": _notes(card, found),
    }  # fmt: skip


def trial_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """A line a place and method, then the means over places."""
    means = Table("mean of places", "F1 %", "least F1 %", "at", box=None, pad_edge=False)
    for column in means.columns[1:3]:
        column.justify = "right"
    for each in document["mean"]:
        means.add_row(each["method"], f"{each['F1']:.2f}", f"{each['least_F1']:.2f}", each["least_place"])
    lines: list[str | Table] = [table(document["methods"], ("place",)), means]
    return [*lines, *(f"note: {note}" for note in document["notes"])]


def _means(found: Sequence[PlaceJudged]) -> list[dict[str, Any]]:
    """F1 of each method: its mean over places, and where it is least."""
    scores: dict[str, dict[str, float]] = {}
    for each in found:
        for method, judged in each.judged.items():
            scores.setdefault(method, {})[each.place.name] = Figures.of(judged.confusion).f1
    return [
        {
            "method": method,
            "F1": round(100 * sum(of.values()) / len(of), 2),
            "least_F1": round(100 * min(of.values()), 2),
            "least_place": min(of, key=of.__getitem__),
            "places": len(of),
        }
        for method, of in scores.items()
    ]


def _notes(card: ChangeCard, found: Sequence[PlaceJudged]) -> list[str]:
    notes = [card.note] if card.note else []
    notes += [f"{each.place.name}: {note}" for each in found if each.judged for note in map_notes(each.judged[OWN])]
    for each in found:
        if each.status:
            notes.append(
                f"{each.place.name}: the run ended with {each.status}, see eopipe status {each.output}; the same "
                f"command resumes"
            )
        own = each.judged.get(OWN)
        better = [
            method
            for method, judged in each.judged.items()
            if own is not None and Figures.of(judged.confusion).f1 > Figures.of(own.confusion).f1
        ]
        if better:
            notes.append(f"{each.place.name}: {', '.join(better)} did better than the kernel")
    return notes
