"""What is judged on pairs of pictures: DynamicEarth's stages, with published settings or others, and baselines."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eopipe.evaluation.change.baselines import ChangeVectors
from eopipe.evaluation.change.published import figure_of
from eopipe.kernels.change.dynamicearth.combinations import instantiation
from eopipe.kernels.change.dynamicearth.published_settings import find_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.evaluation.change.cards import ChangeCard
    from eopipe.evaluation.change.published import Figure
    from eopipe.evaluation.run import Predictor

EMBEDDED: Mapping[str, Any] = {"instantiation": "felzenszwalb-spectral", "identifier": "none"}
"""Where no instantiation is named: segments whose colour changed, whatever they are. It needs no weights."""


STAGES = ("proposer", "comparer", "identifier")
"""Options that put something else in a combination's place."""


@dataclass(frozen=True)
class Method:
    """Something that maps a pair.

    Args:
        name: Of its line.
        predict: The map of a pair.
        identity: All that decides a prediction, as plain JSON.
        provenance: What its weights are.
        published: The figure that it may be compared with.
        differences: What is not as published; empty too where nothing was.
        notes: What else its user should know.
        side: Pixels of a picture's side that the published figure is of; None: there is none.
    """

    name: str
    predict: Predictor
    identity: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    published: Figure | None = None
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    side: int | None = None


@dataclass(frozen=True)
class Plan:
    """What is run on a set.

    Args:
        options: Of the kernel's stages, as a spec would give them.
        side: Larger pictures are cut in pieces of this; None: they are not.
        published: The figure that was made with these settings.
        differences: What is not as published.
    """

    options: Mapping[str, Any]
    side: int | None
    published: Figure | None
    differences: tuple[str, ...] = ()


def plan_of(card: ChangeCard, category: str, *, given: Mapping[str, Any], side: int | None) -> Plan:
    """A set's published settings with what a user gives instead.

    Args:
        card: The set.
        category: What is asked for.
        given: Options of the kernel by name; None means the published, or the kernel's own.
        side: Of pieces; None: the published.

    Raises:
        SpecError: There is no such instantiation.
    """
    said = {name: value for name, value in given.items() if value is not None}
    name = said.get("instantiation")
    if name is None:
        return Plan({**EMBEDDED, "prompts": {category: [category]}, **said}, side, None)
    known = instantiation(name)
    theirs, pieces = _published(card, category, name) if known.published else ({}, None)
    options = {"instantiation": name, "prompts": {category: [category]}, **theirs, **said}
    different = [
        f"{key} {_told(said[key])} (published: {_told(theirs[key])})"
        for key in theirs
        if key in said and said[key] != theirs[key]
    ]
    # whatever else is said may change a map too, but for where a file lies
    different += [f"{key} {_told(said[key])}" for key in said if theirs and key not in {*theirs, *_NO_CHANGE}]
    if theirs and side not in {None, pieces}:
        different.append(f"side {side} (published: {pieces})")
    figure = figure_of(card, category, name) if theirs and not different else None
    return Plan(options, side or pieces, figure, tuple(different))


def methods_of(plan: Plan, *, baselines: bool, device: str) -> list[Method]:
    """Ready to predict, what was asked for first; files are found, checked and loaded.

    Raises:
        SpecError: An option has a bad value.
        WeightsError: Weights are not here; the message says which file goes where.
    """
    from eopipe.evaluation.change.stages import stages  # noqa: PLC0415  (torch)

    found = [stages(plan, device=device)]
    if baselines:
        found += [
            Method("change vectors", ChangeVectors()),
            Method("change vectors, levelled", ChangeVectors(levelled=True)),
        ]
    return found


_NO_CHANGE = ("instantiation", "upsampler_checkpoint")


def _published(card: ChangeCard, category: str, name: str) -> tuple[dict[str, Any], int | None]:
    """Options and side of the published settings; none where the paper has none for the set."""
    if card.dataset is None:
        return {}, None
    settings = find_settings(name, card.dataset, category)
    found: dict[str, Any] = {
        "prompts": {category: list(settings.foreground)},
        "beta": settings.beta,
        "rule": settings.rule,
        "points": settings.points,
        "resize": settings.resize,
        "background": list(settings.background) or None,
    }
    return {key: value for key, value in found.items() if value is not None}, settings.side


def _told(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
