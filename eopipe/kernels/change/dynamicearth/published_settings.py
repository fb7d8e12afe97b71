"""The settings of DynamicEarth's figures, by combination, data set and class.

Source: arXiv 2501.12931 and the scripts of its released code (likyoo/DynamicEarth, `eval/`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    """A class of SECOND: its number in the labels, its names for each kind of model, and beta by instantiation."""

    number: int
    background: tuple[str, ...]
    foreground: tuple[str, ...]
    detected: tuple[str, ...]
    beta: dict[str, float]


_MCI = ("SAM-DINO-SegEarth-OV", "SAM-DINOv2-SegEarth-OV", "SAM2-DINOv2-SegEarth-OV")
_METHODS = (*_MCI, "MMGD-SAM2-DINO", "APE-DINO", "APE-DINOv2")

_BUILDING_BETA = {
    "SAM-DINO-SegEarth-OV": (145, 135, 135, 135),
    "SAM-DINOv2-SegEarth-OV": (145, 125, 145, 145),
    "SAM2-DINOv2-SegEarth-OV": (145, 110, 145, 145),
    "MMGD-SAM2-DINO": (130, 135, 130, 135),
    "APE-DINO": (135, 135, 135, 135),
    "APE-DINOv2": (135, 135, 135, 135),
}
_MMGD_BUILDING = ("roof", "rooftop", "building", "house", "apartment", "residential", "factory")
_APE_BUILDING = ("building", "house")


def _betas(*values: float) -> dict[str, float]:
    """In the order of the methods; APE's two have one."""
    return dict(zip(_METHODS, (*values, values[-1]), strict=True))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


SECOND_CLASSES = {
    "building": SecondClass(5, ("background",), ("building",), (), _betas(135, 135, 135, 145, 145)),
    "playground": SecondClass(
        6,
        _words("background, ground"),
        ("sports field",),
        _words("sports field, football field, basketball court, baseball field"),
        _betas(135, 135, 135, 145, 145),
    ),
    "water": SecondClass(
        1,
        _words(
            "background, cropland, ground, tree, forest, bareland, barren, pavement, road, parking lot, soil, "
            "building, sports field, non-vegetated ground surface"
        ),
        _words("water, river, pond, sea"),
        _words("water, river, pond, sea"),
        _betas(135, 135, 145, 145, 145),
    ),
    "tree": SecondClass(
        4,
        _words("background, ground, bareland, water, cropland, building, sports field, grass"),
        _words("tree, forest"),
        ("tree",),
        _betas(145, 145, 145, 145, 155),
    ),
    "low vegetation": SecondClass(
        3,
        _words("background, tree, forest"),
        ("low vegetation",),
        _words("low vegetation, grass"),
        _betas(145, 145, 145, 145, 145),
    ),
    "non-veg. ground": SecondClass(
        2,
        _words("background, cropland, grass, tree, forest, building, sports field, water"),
        ("ground",),
        _words("ground, bareland"),
        _betas(135, 145, 145, 145, 145),
    ),
}
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
    masks_first = method.masks_first
    small = dataset == "WHU-CD"  # tiles of 256, with a coarse grid for SAM and one window for the identifier
    sam = method.generator is SAM
    return PublishedSettings(
        instantiation=method,
        dataset=dataset,
        category="building",
        beta=_BUILDING_BETA[method.name][BUILDINGS.index(dataset)],
        rule="instance" if masks_first else None,
        points=(8 if small and sam else 32) if masks_first else None,
        resize=(224 if small and sam else SEGEARTH_OV.resize) if masks_first else None,
        background=("background",) if masks_first else (),
        foreground=("building",) if masks_first else _building_names(method),
        side=256 if small or not masks_first else 1024,
    )


def _second(method: Instantiation, category: str) -> PublishedSettings:
    row = SECOND_CLASSES[category]
    masks_first = method.masks_first
    return PublishedSettings(
        instantiation=method,
        dataset=SECOND,
        category=category,
        beta=row.beta[method.name],
        # the scripts with SAM take the stuff rule for every class, building too; those with SAM2 the instance rule
        rule=("stuff" if method.generator is SAM else "instance") if masks_first else None,
        points=(16 if category == "water" else 32) if masks_first else None,
        resize=SEGEARTH_OV.resize if masks_first else None,
        background=row.background if masks_first else (),
        foreground=row.foreground if masks_first else row.detected or _building_names(method),
        side=512,
    )


def _building_names(method: Instantiation) -> tuple[str, ...]:
    """Names of buildings for a detector; for SECOND none were published, and they are taken to be the same."""
    return _MMGD_BUILDING if method.detector is MMGD else _APE_BUILDING
