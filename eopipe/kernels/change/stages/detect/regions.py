"""A detector that needs no boxes: regions of the class map that an identifier makes of a date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.masks.proposals import DATES, Proposals
from eopipe.kernels.change.masks.regions import regions
from eopipe.kernels.change.stages.identify.rules import pixel_classes
from eopipe.kernels.change.stages.protocols import ChangeStage, Detector
from eopipe.kernels.change.stages.settings import REGIONS

if TYPE_CHECKING:
    from eopipe.kernels.change.stages.pair import BandStretch, DatePair
    from eopipe.kernels.change.stages.protocols import Identifier


@dataclass(frozen=True, kw_only=True)
class RegionDetector(ChangeStage[Detector]):
    """Pixels of the prompts' classes that touch, by sides or corners; several prompts are one kind of object.

    Args:
        identifier: Makes the class maps.
    """

    identifier: ChangeStage[Identifier]

    @classmethod
    def resolve(cls, identifier: ChangeStage[Identifier]) -> RegionDetector:
        """Take over what the identifier needs.

        Args:
            identifier: Its files were checked.
        """
        return cls(
            identifier=identifier,
            bands=identifier.bands,
            weights=identifier.weights,
            provenance={"proposer": REGIONS, **identifier.provenance},
            notes=identifier.notes,
            path_options=identifier.path_options,
            words=identifier.words,
        )

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Detector:
        """See `ChangeStage.load`."""
        identify = self.identifier.load(stretch, device=device, threads=threads)

        def detect(pair: DatePair, date: int) -> Proposals:
            """Objects of score 1; pixels that one date lacks belong to none."""
            foreground = (pixel_classes(identify(pair, date), pair.shape) > 0) & pair.common
            return Proposals.of(regions(foreground.astype(np.uint8)), DATES[date])

        return detect

    def memory(self, side: int) -> int:
        """Of the identifier."""
        return self.identifier.memory(side)
