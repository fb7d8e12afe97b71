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
from eopipe.kernels.change.stages.settings import BACKGROUND, NONE, SPECTRAL
from eopipe.models.registry import NINE_BANDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.dynamicearth.combinations import Instantiation
    from eopipe.kernels.change.dynamicearth.options import StageOptions
    from eopipe.kernels.change.dynamicearth.pipelines import Changes
    from eopipe.kernels.change.stages.pair import BandStretch, DatePair
    from eopipe.kernels.change.stages.protocols import (
        ChangeStage,
        Comparer,
        Detector,
        Encoder,
        Identifier,
        Proposer,
    )
    from eopipe.kernels.known_words import WordNote


@dataclass(frozen=True)
class Assembly:
    """Stages whose files were checked; small, and picklable.

    Args:
        options: The spec's.
        combination: The stages by name, with what the options replace.
        proposer: M-C-I's first stage; None in I-M-C.
        encoder: The comparer's; None: colours are compared.
        identifier: M-C-I's last stage; None in I-M-C.
        detector: I-M-C's first two stages; None in M-C-I.
    """

    options: StageOptions
    combination: Instantiation
    proposer: ChangeStage[Proposer] | None
    encoder: ChangeStage[Encoder] | None
    identifier: ChangeStage[Identifier] | None
    detector: ChangeStage[Detector] | None

    @classmethod
    def resolve(cls, options: StageOptions) -> Assembly:
        """Find and check the files of all stages.

        Raises:
            SpecError: A name is of no stage of its kind.
            WeightsError: A file is missing, of another sha256, or unsafe.
        """
        combination = options.combination
        masks_first = combination.masks_first
        detector = None if masks_first else find_detector(options)
        proposer = find_proposer(options) if masks_first else None
        encoder = None if combination.comparer == SPECTRAL else find_encoder(options)
        identifier = find_identifier(options) if masks_first else None
        return cls(options, combination, proposer, encoder, identifier, detector)

    @property
    def stages(self) -> tuple[ChangeStage[Any], ...]:
        """Those that the combination has."""
        stages = (self.proposer, self.encoder, self.identifier, self.detector)
        return tuple(stage for stage in stages if stage is not None)

    @property
    def bands(self) -> tuple[str, ...]:
        """The bands that they read, in the order of Dynamic World's; red, green and blue always."""
        needed = {*RGB, *(band for stage in self.stages for band in stage.bands)}
        return tuple(band for band in NINE_BANDS if band in needed)

    @property
    def of_photographs(self) -> bool:
        """Whether they read colours alone, as nets of photographs do."""
        return set(self.bands) == set(RGB)

    @property
    def weights(self) -> dict[str, str]:
        """File and sha256 of everything."""
        return {file: sha256 for stage in self.stages for file, sha256 in stage.weights.items()}

    @property
    def provenance(self) -> dict[str, Any]:
        """Stage by stage."""
        stages = {name: value for stage in self.stages for name, value in stage.provenance.items()}
        return {"comparer": SPECTRAL, **stages}

    @property
    def notes(self) -> tuple[str, ...]:
        """What their user should know, one line each."""
        return tuple(dict.fromkeys(note for stage in self.stages for note in stage.notes))

    @property
    def words(self) -> tuple[WordNote, ...]:
        """How near each phrase is to what was taught, where a stage compares it with taught phrases."""
        return tuple(note for stage in self.stages for note in stage.words)

    @property
    def path_options(self) -> tuple[str, ...]:
        """Options that only state where a file lies."""
        return tuple(dict.fromkeys(option for stage in self.stages for option in stage.path_options))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes from 0: background, then the prompts, as one where the stages do not separate them."""
        names = tuple(name for name, _ in self.options.prompts)
        separate = self.identifier is not None and self.combination.identifier != NONE
        return (BACKGROUND, *names) if separate else (BACKGROUND, ", ".join(names))

    def memory(self, side: int) -> int:
        """Peak bytes of a picture's work beside the picture: stages run one after another, their results stay."""
        # two dates' classes, and one's sums over objects in double precision
        results = (40 + 36 * (1 + len(self.options.prompts))) * side * side
        return results + max((stage.memory(side) for stage in self.stages), default=0)

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> LoadedStages:
        """Read the tensors.

        Args:
            stretch: The bands of the pairs to come, and what is black and white.
            device: Where it runs.
            threads: On a CPU.

        Raises:
            WeightsError: A file is missing on this machine, or differs from the one that was checked.
        """

        def loaded(stage: ChangeStage[Any] | None) -> Any:
            return None if stage is None else stage.load(stretch, device=device, threads=threads)

        return LoadedStages(
            self, stretch, proposer=loaded(self.proposer), encoder=loaded(self.encoder),
            identifier=loaded(self.identifier), detector=loaded(self.detector),
        )  # fmt: skip


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
    proposer: Proposer | None
    encoder: Encoder | None
    identifier: Identifier | None
    detector: Detector | None

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
