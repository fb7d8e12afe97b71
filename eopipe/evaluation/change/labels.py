"""Label files of change as 0 unchanged, 1 changed, 255 not judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
from rasterio.features import rasterize

from eopipe.errors import SpecError
from eopipe.evaluation.labels import LabelRule
from eopipe.evaluation.metrics import IGNORE
from eopipe.evaluation.read_images import error_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from eopipe.evaluation.read_images import LabelImage

CHANGE_RULES = {"binary": LabelRule(classes=2, binarise=128), "classes": LabelRule(classes=2)}
"""Rules by a card's ``labels``; 128 is the first whole number above 127.5."""

SECOND_RULE = LabelRule(
    classes=7,
    colours={
        (255, 255, 255): 0, (0, 0, 255): 1, (128, 128, 128): 2, (0, 128, 0): 3, (0, 255, 0): 4, (128, 0, 0): 5,
        (255, 0, 0): 6,
    },
)  # fmt: skip
"""SECOND's codes and colours: unchanged, water, ground, low vegetation, tree, building, playground."""

CHANGED_BY_DAMAGE = ("major-damage", "destroyed")
"""xBD's classes of buildings that changed."""

UNJUDGED = "un-classified"
"""xBD's class of buildings whose damage could not be labelled."""


def either(labels: Sequence[LabelImage], paths: Sequence[str], number: int) -> NDArray[np.uint8]:
    """Pixels that are of a category on one of both dates at least (DynamicEarth's use of SECOND, arXiv 2501.12931).

    Args:
        labels: Both label files.
        paths: Their paths, for messages.
        number: The category's code.

    Raises:
        SpecError: A value or colour has no class.
    """
    first, second = (
        SECOND_RULE(label.values, path, label.palette) for label, path in zip(labels, paths, strict=True)
    )
    return np.asarray((first == number) | (second == number), np.uint8)


def damage(path: Path, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels whose centre lies in a building that changed, by xBD's labels after a disaster.

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
        raise SpecError(f"{path} cannot be read as xBD's labels ({error_text(error)}); replace the file") from None
    truth = np.zeros(shape, np.uint8)
    for code, polygons in shapes.items():
        if polygons:
            rasterize(((polygon, code) for polygon in polygons), out=truth)
    return truth


def _polygons(features: Sequence[Any], subtypes: Sequence[str]) -> Iterator[Any]:
    for feature in features:
        if feature["properties"].get("subtype") in subtypes:
            yield shapely.from_wkt(feature["wkt"])
