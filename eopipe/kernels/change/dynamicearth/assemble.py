"""The stages of a combination: found and checked, then loaded and run on a pair, for maps and evaluations alike."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.kernels.change.dynamicearth.by_name import (
    find_detector,
    find_encoder,
    find_identifier,
    find_proposer,
)
from eopipe.kernels.change.dynamicearth.pipelines import identify_mask_compare, mask_compare_identify
from eopipe.kernels.change.masks.proposals import DATES
from eopipe.kernels.change.stages.compare.latent import LatentComparer
from eopipe.kernels.change.stages.compare.spectral import SpectralComparer, ratio_of
from eopipe.kernels.change.stages.embedded import all_foreground
from eopipe.kernels.change.stages.identify.rules import pixel_classes
from eopipe.kernels.change.stages.pair import RGB
from eopipe.kernels.change.stages.preprocess import match_histogram
from eopipe.kernels.change.stages.protocols import ChangeStage, merged
from eopipe.kernels.change.stages.settings import BACKGROUND, NONE, SPECTRAL
from eopipe.models.registry import NINE_BANDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.kernels.change.dynamicearth.combinations import Instantiation
    from eopipe.kernels.change.dynamicearth.options import StageOptions
    from eopipe.kernels.change.dynamicearth.pipelines import Changes
    from eopipe.kernels.change.stages.pair import BandStretch, DatePair
    from eopipe.kernels.change.stages.protocols import Comparer, Detector, Encoder, Identifier, Proposer


KINDS = ("proposer", "encoder", "identifier", "detector")
"""Of stages: M-C-I has the first three, I-M-C an encoder and a detector; where colours are compared no encoder."""


@dataclass(frozen=True, kw_only=True)
class Assembly(ChangeStage["LoadedStages"]):
    """All stages of a combination, as one.

    Args:
        options: The spec's.
        combination: The stages by name, with what the options replace.
        stages: By kind; see `KINDS`.
    """

    options: StageOptions
    combination: Instantiation
    stages: Mapping[str, ChangeStage[Any]]

    @classmethod
    def resolve(cls, options: StageOptions) -> Assembly:
        """Find and check the files of all stages.

        Raises:
            SpecError: A name is of no stage of its kind.
            WeightsError: A file is missing, of another sha256, or unsafe.
        """
        combination = options.combination
        stages: dict[str, ChangeStage[Any]] = {}
        if combination.masks_first:
            stages["proposer"] = find_proposer(options)
        else:
            stages["detector"] = find_detector(options)
        if combination.comparer != SPECTRAL:
            stages["encoder"] = find_encoder(options)
        if combination.masks_first:
            stages["identifier"] = find_identifier(options)
        fields = merged(*(stages[kind] for kind in KINDS if kind in stages))
        needed = {*RGB, *fields["bands"]}
        # in the order of Dynamic World's; red, green and blue always
        fields["bands"] = tuple(band for band in NINE_BANDS if band in needed)
        fields["provenance"] = {"comparer": SPECTRAL, **fields["provenance"]}
        return cls(options=options, combination=combination, stages=stages, **fields)

    @property
    def of_photographs(self) -> bool:
        """Whether they read colours alone, as nets of photographs do."""
        return set(self.bands) == set(RGB)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes from 0: background, then the prompts, as one where the stages do not separate them."""
        names = tuple(name for name, _ in self.options.prompts)
        separate = self.combination.masks_first and self.combination.identifier != NONE
        return (BACKGROUND, *names) if separate else (BACKGROUND, ", ".join(names))

    def memory(self, side: int) -> int:
        """Peak bytes of a picture's work beside the picture: stages run one after another, their results stay."""
        # two dates' classes, and one's sums over objects in double precision
        results = (40 + 36 * (1 + len(self.options.prompts))) * side * side
        return results + max(stage.memory(side) for stage in self.stages.values())

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> LoadedStages:
        """See `ChangeStage.load`."""
        loaded = {kind: stage.load(stretch, device=device, threads=threads) for kind, stage in self.stages.items()}
        return LoadedStages(self, stretch, **loaded)


@dataclass(frozen=True, eq=False)
class PairChanges:
    """The changes of a pair.

    Args:
        changes: Of objects, or of pixels.
        labels: uint8 ``[2, H, W]``: the class of each pixel on both dates, 0 background; codes of the classes.
    """

    changes: Changes
    labels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class LoadedStages:
    """The stages of an `Assembly`, loaded; stateless, and the same for maps and for evaluations."""

    assembly: Assembly
    stretch: BandStretch
    proposer: Proposer | None = None
    encoder: Encoder | None = None
    identifier: Identifier | None = None
    detector: Detector | None = None

    def __call__(self, pair: DatePair, *, ratio: NDArray[np.float32] | None = None) -> PairChanges:
        """Run the stages.

        Args:
            pair: Two dates of one place.
            ratio: For ``spectral``: float32 ``[H, W]`` of scores over the threshold of a wider area; None: over the
                threshold of the pair itself.
        """
        if self.assembly.options.match_histogram:
            second = match_histogram(pair.pixels[1], pair.pixels[0], pair.common).astype(np.float32)
            pair = replace(pair, pixels=np.stack([pair.pixels[0], second]))
        if self.detector is not None:
            return self._identify_first(pair, self.detector)
        return self._masks_first(pair, ratio)

    def _masks_first(self, pair: DatePair, ratio: NDArray[np.float32] | None) -> PairChanges:
        rule = self.assembly.combination.rule
        assert self.proposer is not None
        assert self.identifier is not None
        assert rule is not None
        # a score over a wider area's threshold is weighed by the likelihood already
        identifier = self.identifier if ratio is None else all_foreground
        probabilities = [identifier(pair, date) for date in (0, 1)]
        if self.encoder is not None:
            comparer: Comparer = LatentComparer(self.encoder, self.assembly.combination.beta)
        else:
            comparer = SpectralComparer(self._ratio(pair, probabilities) if ratio is None else ratio)
        changes = mask_compare_identify(pair, self.proposer, comparer, lambda _, date: probabilities[date], rule=rule)
        labels = np.stack([pixel_classes(date, pair.shape) for date in probabilities])
        return PairChanges(changes, labels.astype(np.uint8))

    def _identify_first(self, pair: DatePair, detector: Detector) -> PairChanges:
        assert self.encoder is not None
        combination = self.assembly.combination
        # regions without a counterpart are compared all the same: a map of classes errs more than a detector
        one_sided = combination.detector.one_sided if combination.detector is not None else "compare"
        comparer = LatentComparer(self.encoder, combination.beta)
        changes = identify_mask_compare(pair, detector, comparer, one_sided=one_sided)
        objects = changes.proposals
        assert objects is not None
        labels = np.stack([objects.masks.take(objects.origin == date).union() for date in DATES])
        return PairChanges(changes, labels.astype(np.uint8))

    def _ratio(self, pair: DatePair, probabilities: list[NDArray[Any]]) -> NDArray[np.float32]:
        likelihood = None
        if self.assembly.combination.identifier != NONE:
            likelihood = np.maximum(*(date[1:].max(axis=0) for date in probabilities))
        return ratio_of(pair, self.stretch.index(RGB), likelihood)
