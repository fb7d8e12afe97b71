"""The settings of DynamicEarth's figures, by combination, data set and class.

Source: arXiv 2501.12931 and the scripts of its released code (likyoo/DynamicEarth, `eval/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eopipe.errors import SpecError
from eopipe.kernels.change.dynamicearth.combinations import Instantiation, instantiation
from eopipe.kernels.change.stages.settings import MMGD, SAM, SEGEARTH_OV

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eopipe.kernels.change.stages.identify.rules import Rule

BUILDINGS = ("LEVIR-CD", "WHU-CD", "S2Looking", "BANDON")
"""Data sets of changed buildings; the SECOND data set has six classes, `SECOND_CLASSES`."""
SECOND = "SECOND"


@dataclass(frozen=True, kw_only=True)
class PublishedSettings:
    """What a published figure was made with.

    Attributes:
        instantiation: The combination of stages.
        dataset: The data set.
        category: The class whose changes were mapped: ``building``, or one of SECOND's.
        beta: Degrees of the comparer's confidence threshold.
        rule: What makes a change of a change of class; None in I-M-C, which identifies first.
        points: Points a side of SAM's grid; None where there is no grid.
        resize: Side of the picture that the identifier sees; None in I-M-C.
        background: Names of class 0; none in I-M-C.
        foreground: Names of the class.
        side: Pixels of a picture's side.
    """

    instantiation: Instantiation
    dataset: str
    category: str
    beta: float
    rule: Rule | None
    points: int | None
    resize: int | None
    background: tuple[str, ...]
    foreground: tuple[str, ...]
    side: int


@dataclass(frozen=True)
class SecondClass:
    """A class of SECOND.

    Args:
        number: In the labels.
        background: Names of everything else, for SegEarth-OV.
        foreground: Names of the class, for SegEarth-OV.
        detected: Names of the class, for a detector; empty: those of buildings.
        beta: Degrees, in the order of the methods; APE's two have one.
    """

    number: int
    background: str
    foreground: str
    detected: str
    beta: tuple[int, int, int, int, int]


_BUILDING_BETA = {
    "SAM-DINO-SegEarth-OV": (145, 135, 135, 135),
    "SAM-DINOv2-SegEarth-OV": (145, 125, 145, 145),
    "SAM2-DINOv2-SegEarth-OV": (145, 110, 145, 145),
    "MMGD-SAM2-DINO": (130, 135, 130, 135),
    "APE-DINO": (135, 135, 135, 135),
    "APE-DINOv2": (135, 135, 135, 135),
}
"""Degrees, in the order of `BUILDINGS`."""

_METHODS = tuple(_BUILDING_BETA)

_MMGD_BUILDING = ("roof", "rooftop", "building", "house", "apartment", "residential", "factory")
_APE_BUILDING = ("building", "house")
_WATER = "water, river, pond, sea"

SECOND_CLASSES = {
    "building": SecondClass(5, "background", "building", "", (135, 135, 135, 145, 145)),
    "playground": SecondClass(
        6, "background, ground", "sports field", "sports field, football field, basketball court, baseball field",
        (135, 135, 135, 145, 145),
    ),
    "water": SecondClass(
        1, "background, cropland, ground, tree, forest, bareland, barren, pavement, road, parking lot, soil, "
        "building, sports field, non-vegetated ground surface", _WATER, _WATER, (135, 135, 145, 145, 145),
    ),
    "tree": SecondClass(
        4, "background, ground, bareland, water, cropland, building, sports field, grass", "tree, forest", "tree",
        (145, 145, 145, 145, 155),
    ),
    "low vegetation": SecondClass(
        3, "background, tree, forest", "low vegetation", "low vegetation, grass", (145, 145, 145, 145, 145)
    ),
    "non-veg. ground": SecondClass(
        2, "background, cropland, grass, tree, forest, building, sports field, water", "ground", "ground, bareland",
        (135, 145, 145, 145, 145),
    ),
}  # fmt: skip
"""SECOND's classes by name; ``number`` is the label's code, 0 being unchanged."""


def find_settings(name: str, dataset: str, category: str = "building") -> PublishedSettings:
    """The published settings of a combination on a data set.

    Args:
        name: Of the combination.
        dataset: One of `BUILDINGS`, or `SECOND`.
        category: ``building``, or one of `SECOND_CLASSES`.

    Raises:
        SpecError: There is none.
    """
    method = instantiation(name)
    known = (category == "building" and dataset in BUILDINGS) or (dataset == SECOND and category in SECOND_CLASSES)
    if not known or not method.published:
        sets, classes = ", ".join(BUILDINGS), ", ".join(SECOND_CLASSES)
        raise SpecError(
            f"no settings of {name} for {category} on {dataset} were published; there are those of "
            f"{', '.join(_METHODS)} for building on {sets}, and for {classes} on {SECOND}"
        )
    return _second(method, category) if dataset == SECOND else _buildings(method, dataset)


def all_settings() -> Iterator[PublishedSettings]:
    """All published settings, method by method."""
    for name in _METHODS:
        for dataset in BUILDINGS:
            yield find_settings(name, dataset)
        for category in SECOND_CLASSES:
            yield find_settings(name, SECOND, category)


def _buildings(method: Instantiation, dataset: str) -> PublishedSettings:
    small = dataset == "WHU-CD"  # tiles of 256, with a coarse grid for SAM and one window for the identifier
    coarse = small and method.generator is SAM
    return _settings(
        method, ("background", "building", ""), "instance", 8 if coarse else 32,
        224 if coarse else SEGEARTH_OV.resize,
        dataset=dataset, category="building", beta=_BUILDING_BETA[method.name][BUILDINGS.index(dataset)],
        side=256 if small or not method.masks_first else 1024,
    )  # fmt: skip


def _second(method: Instantiation, category: str) -> PublishedSettings:
    row = SECOND_CLASSES[category]
    # the scripts with SAM take the stuff rule for every class, building too; those with SAM2 the instance rule
    rule: Rule = "stuff" if method.generator is SAM else "instance"
    return _settings(
        method, (row.background, row.foreground, row.detected), rule, 16 if category == "water" else 32,
        SEGEARTH_OV.resize,
        dataset=SECOND, category=category, beta=row.beta[min(_METHODS.index(method.name), 4)], side=512,
    )  # fmt: skip


def _settings(
    method: Instantiation, names: tuple[str, str, str], rule: Rule, points: int, resize: int, **fields: Any
) -> PublishedSettings:
    """Names are of the background and the class for SegEarth-OV, and of the class for a detector."""
    background, foreground, detected = (tuple(text.split(", ")) if text else () for text in names)
    if method.masks_first:
        return PublishedSettings(
            instantiation=method, rule=rule, points=points, resize=resize, background=background,
            foreground=foreground, **fields,
        )  # fmt: skip
    # for SECOND no names of buildings were published; they are taken to be the same
    buildings = _MMGD_BUILDING if method.detector is MMGD else _APE_BUILDING
    return PublishedSettings(
        instantiation=method, rule=None, points=None, resize=None, background=(), foreground=detected or buildings,
        **fields,
    )  # fmt: skip
