"""A detector that needs no boxes: regions of the class map that an identifier makes of a date.

DynamicEarth's I-M-C begins with a detector of objects. An identifier that maps classes serves as well: the regions of
its map are the objects, and those without a counterpart on the other date go to the comparer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from eopipe.kernels.change.masks.proposals import DATES, Proposals
from eopipe.kernels.change.masks.regions import regions
from eopipe.kernels.change.stages.identify.rules import pixel_classes
from eopipe.kernels.change.stages.protocols import ChangeStage, Detector, merged
from eopipe.kernels.change.stages.settings import REGIONS

if TYPE_CHECKING:
    from eopipe.kernels.change.stages.pair import BandStretch, DatePair
    from eopipe.kernels.change.stages.protocols import Identifier


@dataclass(frozen=True, kw_only=True)
class RegionDetector(ChangeStage[Detector]):
    """Pixels of the prompts' classes that touch, by sides or corners; several prompts are one kind of object.

    The identifier runs once a date; each object has the score 1.

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
        fields = merged(identifier)
        fields["provenance"] = {"proposer": REGIONS, **fields["provenance"]}
        return cls(identifier=identifier, **fields)

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Detector:
        """See `ChangeStage.load`."""
        identify = self.identifier.load(stretch, device=device, threads=threads)

        def detect(pair: DatePair, date: int) -> Proposals:
            """Objects in the order of their first pixels; pixels that one date lacks belong to none."""
            foreground = (pixel_classes(identify(pair, date), pair.shape) > 0) & pair.common
            return Proposals.of(regions(foreground.astype(np.uint8)), DATES[date])

        return detect

    def memory(self, side: int) -> int:
        """Of the identifier."""
        return self.identifier.memory(side)
