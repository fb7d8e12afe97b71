"""Proposers by name: none, segments of equal colour, or SAM's masks of both dates (spec 03 §1.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from eopipe.kernels.change.dynamicearth.combinations import FELZENSZWALB, PIXELS
from eopipe.kernels.change.masks.proposals import both_dates
from eopipe.kernels.change.stages.identify.rules import AFTER, BEFORE
from eopipe.kernels.change.stages.propose.felzenszwalb import (
    FelzenszwalbProposer,
    FelzenszwalbSettings,
    PixelProposer,
)
from eopipe.kernels.change.stages.propose.sam import GENERATORS, GeneratorSettings, generate, point_grid
from eopipe.kernels.change.stages.rgb import RGB
from eopipe.kernels.change.stages.unloaded import Part
from eopipe.models.foundation.memory import work
from eopipe.models.foundation.resolve import resolve

if TYPE_CHECKING:
    from eopipe.kernels.change.dynamicearth.options import StageOptions
    from eopipe.kernels.change.masks.proposals import Proposals
    from eopipe.kernels.change.stages.protocols import Pair, Proposer
    from eopipe.kernels.change.stages.rgb import Sight
    from eopipe.models.foundation.masks import PointMaskModel
    from eopipe.models.foundation.resolve import Resolved


def proposer_part(name: str, options: StageOptions) -> Part[Proposer]:
    """A proposer by the name that a spec gives it.

    Args:
        name: ``pixels``, ``felzenszwalb``, or a model of masks.
        options: How finely.

    Raises:
        WeightsError: There is no such model, it makes no masks of points, or its files are not here.
    """
    if name == PIXELS:
        return Part((), _load_pixels, _nothing, provenance={"proposer": PIXELS})
    if name == FELZENSZWALB:
        said = options.segments
        settings = FelzenszwalbSettings(scale=said.scale, sigma=said.sigma, smallest=said.smallest)
        return Part(RGB, partial(_load_felzenszwalb, settings), _segmenting, provenance={"proposer": FELZENSZWALB})
    return _sam(name, options)


def _sam(name: str, options: StageOptions) -> Part[Proposer]:
    found = resolve(name, "point-masks")
    settings = replace(GENERATORS[found.entry.model_type], points=options.points)
    return Part(
        RGB, partial(_load_sam, found, settings), partial(work, found, "point-masks"), found.weights,
        {"proposer": found.provenance}, found.notes, ("proposer",) if found.places else (),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class SamProposer:
    """Automatic masks of both dates, without doubles (spec 03 §1.1)."""

    model: PointMaskModel
    sight: Sight
    settings: GeneratorSettings

    def __call__(self, pair: Pair) -> Proposals:
        """Objects of the first date, then of the second; pixels that one date lacks belong to none."""
        dates = (self._date(pair, date, origin) for date, origin in ((0, BEFORE), (1, AFTER)))
        return both_dates(*dates).within(pair.seen)

    def _date(self, pair: Pair, date: int, origin: int) -> Proposals:
        points = point_grid(self.settings.points, pair.shape)
        answers = self.model(self.sight.picture(pair, date), points, batch=self.settings.batch)
        return generate(answers, pair.shape, settings=self.settings, origin=origin)


def _load_pixels(sight: Sight, *, device: str, threads: int) -> PixelProposer:  # noqa: ARG001  (a part's)
    return PixelProposer()


def _load_felzenszwalb(
    settings: FelzenszwalbSettings, sight: Sight, *, device: str, threads: int  # noqa: ARG001  (a part's)
) -> FelzenszwalbProposer:  # fmt: skip
    return FelzenszwalbProposer(sight.places(RGB), (sight.black, sight.white), settings)


def _load_sam(
    found: Resolved, settings: GeneratorSettings, sight: Sight, *, device: str, threads: int
) -> SamProposer:
    from eopipe.models.foundation.masks import PointMaskModel  # noqa: PLC0415  (a worker's, once)

    return SamProposer(PointMaskModel.load(found, device=device, threads=threads), sight, settings)


def _nothing(side: int) -> int:  # noqa: ARG001  (a part's)
    return 0


def _segmenting(side: int) -> int:
    return _SEGMENT_BYTES * side * side


_SEGMENT_BYTES = 700
"""Peak bytes a pixel of scikit-image's graph: four edges a pixel, with their costs, ends and order."""
