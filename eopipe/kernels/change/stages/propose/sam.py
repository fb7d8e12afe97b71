"""SAM's automatic masks: which of its answers to a grid of points are objects.

Source: DynamicEarth (arXiv 2501.12931), M-C-I, mask proposal; the generator as in SAM's own library.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.kernels.change.masks.proposals import DATES, Proposals, both_dates
from eopipe.kernels.change.masks.runs import Masks
from eopipe.kernels.change.stages.protocols import ChangeStage, Proposer, of_models
from eopipe.kernels.change.stages.settings import SAM, SAM2
from eopipe.models.foundation.memory import work
from eopipe.models.foundation.resolve import resolve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from eopipe.kernels.change.stages.pair import BandStretch, DatePair
    from eopipe.kernels.change.stages.settings import GeneratorSettings
    from eopipe.models.foundation.resolve import Resolved

GENERATORS = {"sam": SAM, "sam2": SAM2}
"""By the type of the net."""


@dataclass(frozen=True, kw_only=True)
class SamProposer(ChangeStage[Proposer]):
    """Automatic masks of both dates, without doubles.

    Args:
        net: A model of masks of points.
        settings: How its masks are made and selected.
    """

    net: Resolved
    settings: GeneratorSettings

    @classmethod
    def resolve(cls, name: str, *, points: int) -> SamProposer:
        """Find and check a model's files.

        Args:
            name: As a spec gives it.
            points: Points a side of the grid.

        Raises:
            WeightsError: There is no such model, it makes no masks of points, or its files are not on this machine.
        """
        net = resolve(name, "point-masks")
        settings = replace(GENERATORS[net.entry.model_type], points=points)
        return cls(net=net, settings=settings, **of_models(proposer=net))

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Proposer:
        """See `ChangeStage.load`."""
        from eopipe.models.foundation.masks import PointMaskModel  # noqa: PLC0415  (a worker's, once)

        model = PointMaskModel.load(self.net, device=device, threads=threads)

        def masks_of(pair: DatePair, date: int) -> Proposals:
            points = point_grid(self.settings.points, pair.shape)
            answers = model(stretch.picture(pair, date), points, batch=self.settings.batch)
            return generate(answers, pair.shape, settings=self.settings, origin=DATES[date])

        def propose(pair: DatePair) -> Proposals:
            """Objects of the first date, then of the second; pixels that one date lacks belong to none."""
            return both_dates(masks_of(pair, 0), masks_of(pair, 1)).within(pair.common)

        return propose

    def memory(self, side: int) -> int:
        """Of the net."""
        return work(self.net, "point-masks", side)


def point_grid(points: int, shape: tuple[int, int]) -> NDArray[np.float64]:
    """The prompts of the net: the middles of a grid's fields.

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
        settings: How masks are selected.
        origin: The picture's date, `BEFORE` or `AFTER`.

    Returns:
        Those with a good predicted IoU and stability, without doubles, in the order of the answers.

    Raises:
        ValueError: Logits are not on the picture.
    """
    selected = [_selected(logits, predicted, shape, settings, origin) for logits, predicted in batches]
    if not selected:
        return Proposals.of(Masks.empty(shape), origin)
    return Proposals.concatenate(selected).without_doubles(settings.double)


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
    return np.asarray(np.divide(sure, possible, out=np.full(len(sure), np.nan), where=possible > 0))


def _selected(
    logits: NDArray[Any], predicted: NDArray[Any], shape: tuple[int, int], settings: GeneratorSettings, origin: int
) -> Proposals:
    trusted = np.flatnonzero(predicted > settings.predicted_iou)
    stable = trusted[stability(logits[trusted], settings.offset) >= settings.stability]
    return Proposals.of(Masks.from_dense(logits[stable] > 0, shape), origin, predicted[stable])
