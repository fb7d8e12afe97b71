"""Label files of changes as 0 unchanged, 1 changed, 255 not judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from rasterio.features import rasterize

from eopipe.errors import SpecError
from eopipe.evaluation.labels import LabelRule
from eopipe.evaluation.metrics import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eopipe.evaluation.read_images import Stored

CHANGE_RULES = {"binary": LabelRule(classes=2, binarise=128), "classes": LabelRule(classes=2)}
"""By a card's ``labels``; 128 is the first whole number above 127.5."""

SECOND_RULE = LabelRule(
    classes=7,
    colours={
        (255, 255, 255): 0, (0, 0, 255): 1, (128, 128, 128): 2, (0, 128, 0): 3, (0, 255, 0): 4, (128, 0, 0): 5,
        (255, 0, 0): 6,
    },
)  # fmt: skip
"""SECOND's codes, and the colours that its authors write them in: unchanged, water, ground, low vegetation, tree,
building, playground."""

CHANGED_BY_DAMAGE = ("major-damage", "destroyed")
"""Of xBD's classes, those that change a building."""

UNJUDGED = "un-classified"
"""xBD's class of buildings whose damage its labellers could not tell."""


def either(stored: Sequence[Stored], where: Sequence[str], number: int) -> NDArray[np.uint8]:
    """Where one of both dates' labels is a category (spec 03 §4).

    Args:
        stored: Both label files.
        where: Their paths, for messages.
        number: The category's code.

    Raises:
        SpecError: A value or colour means nothing.
    """
    first, second = (
        SECOND_RULE(label.values, path, label.palette) for label, path in zip(stored, where, strict=True)
    )
    found: NDArray[np.uint8] = ((first == number) | (second == number)).astype(np.uint8)
    return found


def damage(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Of xBD's labels after a disaster: pixels whose centre lies in a building that changed.

    Where buildings overlap, the more severe one counts.

    Args:
        path: The JSON file; its ``features.xy`` hold polygons in pixels, from the upper left corner.
        shape: Rows and columns of the picture.

    Raises:
        SpecError: It cannot be read.
    """
    try:
        features = json.loads(path.read_text(encoding="utf-8"))["features"]["xy"]
        shapes = {
            code: list(_polygons(features, subtypes))
            for code, subtypes in ((IGNORE, (UNJUDGED,)), (1, CHANGED_BY_DAMAGE))
        }
    except (OSError, ValueError, KeyError, TypeError, shapely.errors.ShapelyError) as error:
        said = " ".join(str(error).split())[:200]
        raise SpecError(f"{path} cannot be read as xBD's labels ({said}); replace the file") from None
    truth = np.zeros(shape, np.uint8)
    for code, polygons in shapes.items():
        if polygons:
            rasterize(((polygon, code) for polygon in polygons), out=truth)
    return truth


def _polygons(features: Sequence[Any], subtypes: Sequence[str]) -> Iterator[Any]:
    for feature in features:
        if feature["properties"].get("subtype") in subtypes:
            yield shapely.from_wkt(feature["wkt"])
