"""The result on labelled places as a JSON document and as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.evaluation.change.mosaics import CHANGE
from eopipe.evaluation.change.report import map_notes, method_row, methods_table
from eopipe.evaluation.report import note_lines, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from eopipe.evaluation.change.cards import ChangeCard
    from eopipe.evaluation.change.places.run import PlaceResult


def places_result(card: ChangeCard, results: Sequence[PlaceResult], kernel: Mapping[str, Any]) -> dict[str, Any]:
    """The result as plain JSON, in percent.

    Args:
        card: The set.
        results: The places; a last one whose run failed has no counts.
        kernel: Options of the change kernel.
    """
    return {
        "exit_status": next((result.status for result in results if result.status), 0),
        "set": card.name,
        "title": card.title,
        "kernel": dict(kernel),
        "places": [
            {
                "place": result.place.name,
                "output": result.output,
                "before": result.place.before,
                "after": result.place.after,
                "exit_status": result.status,
                "notes": _map_notes(result),
            }
            for result in results
        ],
        "methods": [
            {"place": result.place.name, **method_row(method, counts.confusion)}
            for result in results
            for method, counts in result.counts.items()
        ],
        "mean": _means(results),
        "notes": _notes(card, results),
    }


def places_lines(document: Mapping[str, Any]) -> list[str | Table]:
    """A result for people: a row a place and method, the means over places, notes."""
    numbers = (("F1 %", "F1", ".2f"), ("least F1 %", "least_F1", ".2f"))
    means = table([("mean of places", "method", ""), *numbers, ("at", "least_place", "")], document["mean"])
    return [methods_table(document["methods"], "place"), means, *note_lines(document)]


def _means(results: Sequence[PlaceResult]) -> list[dict[str, Any]]:
    """Mean F1 of each method over the places, and the place with its least F1."""
    by_method: dict[str, dict[str, float]] = {}
    for result in results:
        for method, score in result.scores().items():
            by_method.setdefault(method, {})[result.place.name] = score
    return [
        {
            "method": method,
            "F1": round(100 * sum(scores.values()) / len(scores), 2),
            "least_F1": round(100 * min(scores.values()), 2),
            "least_place": min(scores, key=scores.__getitem__),
            "places": len(scores),
        }
        for method, scores in by_method.items()
    ]


def _map_notes(result: PlaceResult) -> list[str]:
    return map_notes(result.counts[CHANGE]) if result.counts else []


def _notes(card: ChangeCard, results: Sequence[PlaceResult]) -> list[str]:
    notes = [card.note] if card.note else []
    notes += [f"{result.place.name}: {note}" for result in results for note in _map_notes(result)]
    for result in results:
        if result.status:
            notes.append(
                f"{result.place.name}: the run ended with {result.status}, see eopipe status {result.output}; the "
                f"same command resumes"
            )
        scores = result.scores()
        better = [method for method, score in scores.items() if score > scores[CHANGE]]
        if better:
            notes.append(f"{result.place.name}: {', '.join(better)} did better than the kernel")
    return notes
