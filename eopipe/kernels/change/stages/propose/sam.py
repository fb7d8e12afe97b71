"""SAM's automatic masks, after the net: which of its answers to a grid of points are objects (spec 03 §1.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.kernels.change.masks.proposals import DOUBLE, Proposals, joined
from eopipe.kernels.change.masks.runs import Masks

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class GeneratorSettings:
    """How masks are made and judged.

    Attributes:
        weights: The published net.
        points: Points a side of the grid.
        batch: Points at once.
        encoder_side: Long side of the picture that the encoder sees.
        masks_per_point: All of them are judged.
        predicted_iou: A mask's own estimate must be greater.
        stability: A mask's stability must be as great.
        offset: Logits about 0 between which the stability is measured.
        double: Greatest intersection over union of two boxes.
        crop_layers: Rounds on parts of the picture; 0: the whole alone, so that no mask lies at a crop's edge.
        smallest: Pixels below which regions and holes are filled; 0: off.
    """

    weights: str
    points: int = 32
    batch: int = 64
    encoder_side: int = 1024
    masks_per_point: int = 3
    predicted_iou: float = 0.5
    stability: float
    offset: float
    double: float = DOUBLE
    crop_layers: int = 0
    smallest: int = 0


SAM = GeneratorSettings(weights="sam_vit_h_4b8939", stability=0.95, offset=0.9)
SAM2 = GeneratorSettings(weights="sam2.1_hiera_large", stability=0.9, offset=0.7)
"""Built without its post-processing."""

GENERATORS = {"sam": SAM, "sam2": SAM2}
"""By the kind of net."""


def point_grid(points: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Where the net is asked: the middles of a grid's fields.

    Args:
        points: Points a side.
        shape: Rows and columns of the picture.

    Returns:
        ``[points^2, 2]``: x, y in pixels, row by row.
    """
    middles = (np.arange(points) + 0.5) / points
    x, y = np.meshgrid(middles * shape[1], middles * shape[0])
    return np.stack([x.ravel(), y.ravel()], axis=1)


def generate(
    batches: Iterable[tuple[NDArray[Any], NDArray[Any]]],
    shape: tuple[int, int],
    *,
    settings: GeneratorSettings,
    origin: int,
) -> Proposals:
    """Objects of a picture from the net's answers.

    Args:
        batches: Of some points each: logits ``[M, H, W]`` on the picture, ``[M]`` predicted intersections over union;
            points in the grid's order, a point's masks after one another.
        shape: Rows and columns of the picture.
        settings: What is asked of a mask.
        origin: The picture's date, `identifier.BEFORE` or `identifier.AFTER`.

    Returns:
        Those that are trusted and stable, without doubles, in the order of the answers.

    Raises:
        ValueError: Logits are not on the picture.
    """
    parts = [_trusted(logits, predicted, shape, settings, origin) for logits, predicted in batches]
    if not parts:
        return Proposals.of(Masks.empty(shape), origin)
    return joined(parts).without_doubles(settings.double)


def stability(logits: NDArray[Any], offset: float) -> NDArray[np.float64]:
    """How little a mask depends on its threshold: pixels above ``offset`` over pixels above ``-offset``.

    Args:
        logits: ``[M, H, W]``.
        offset: Above 0.

    Returns:
        ``[M]``; nan for a mask without a pixel above ``-offset``.
    """
    sure = (logits > offset).sum(axis=(1, 2))
    possible = (logits > -offset).sum(axis=(1, 2))
    found: NDArray[np.float64] = np.divide(sure, possible, out=np.full(len(sure), np.nan), where=possible > 0)
    return found


def _trusted(
    logits: NDArray[Any], predicted: NDArray[Any], shape: tuple[int, int], settings: GeneratorSettings, origin: int
) -> Proposals:
    trusted = np.flatnonzero(predicted > settings.predicted_iou)
    stable = trusted[stability(logits[trusted], settings.offset) >= settings.stability]
    return Proposals.of(Masks.from_dense(logits[stable] > 0, shape), origin, predicted[stable])
