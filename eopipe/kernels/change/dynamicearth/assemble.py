"""An instantiation's stages, found and checked; then loaded, and run on a pair: one form for maps and evaluations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from eopipe.kernels.change.dynamicearth.combinations import NONE, REGIONS, SPECTRAL
from eopipe.kernels.change.dynamicearth.fitting import BACKGROUND
from eopipe.kernels.change.dynamicearth.pipelines import Objects, identify_mask_compare, mask_compare_identify
from eopipe.kernels.change.stages.compare.encoders import encoder_part
from eopipe.kernels.change.stages.compare.spectral import SpectralComparer, ratio_of
from eopipe.kernels.change.stages.detect.by_name import detector_part, region_part
from eopipe.kernels.change.stages.identify.by_name import Everything, identifier_part
from eopipe.kernels.change.stages.identify.rules import AFTER, BEFORE, pixel_classes
from eopipe.kernels.change.stages.preprocess import match_histogram
from eopipe.kernels.change.stages.propose.by_name import proposer_part
from eopipe.kernels.change.stages.protocols import LatentComparer
from eopipe.kernels.change.stages.rgb import RGB, Sight
from eopipe.models.registry import NINE_BANDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.dynamicearth.combinations import Instantiation
    from eopipe.kernels.change.dynamicearth.options import StageOptions
    from eopipe.kernels.change.dynamicearth.pipelines import Pixels
    from eopipe.kernels.change.stages.protocols import Detector, Encoder, Identifier, Pair, Proposer
    from eopipe.kernels.change.stages.unloaded import Part
    from eopipe.kernels.known_words import WordNote


@dataclass(frozen=True)
class Assembly:
    """Stages whose files are here; small, and picklable.

    Args:
        options: What was asked for.
        stages: The combination, with what the options say instead.
        proposer: M-C-I's first stage; None in I-M-C.
        encoder: The comparer's; None: colours are compared.
        identifier: M-C-I's last stage; None in I-M-C.
        detector: I-M-C's first two stages; None in M-C-I.
    """

    options: StageOptions
    stages: Instantiation
    proposer: Part[Proposer] | None
    encoder: Part[Encoder] | None
    identifier: Part[Identifier] | None
    detector: Part[Detector] | None

    @classmethod
    def resolve(cls, options: StageOptions) -> Assembly:
        """Find and check the files of all stages.

        Raises:
            SpecError: A name is of no stage of its kind.
            WeightsError: A file is missing, of another sha256, or unsafe.
        """
        stages = options.combination
        masks_first = stages.order == "M-C-I"
        detector: Part[Detector] | None = None
        if not masks_first and stages.proposer == REGIONS:
            detector = region_part(identifier_part(stages.identifier, options))
        elif not masks_first:
            detector = detector_part(stages.identifier, stages.proposer, options.prompts, stages.detector)
        return cls(
            options,
            stages,
            proposer_part(stages.proposer, options) if masks_first else None,
            None if stages.comparer == SPECTRAL else encoder_part(stages.comparer),
            identifier_part(stages.identifier, options) if masks_first else None,
            detector,
        )  # fmt: skip

    @property
    def parts(self) -> tuple[Part[Any], ...]:
        """All that are there."""
        return tuple(
            part for part in (self.proposer, self.encoder, self.identifier, self.detector) if part is not None
        )

    @property
    def bands(self) -> tuple[str, ...]:
        """What they need to see, in the order of Dynamic World's; red, green and blue always."""
        wanted = {*RGB, *(band for part in self.parts for band in part.bands)}
        return tuple(band for band in NINE_BANDS if band in wanted)

    @property
    def photographs(self) -> bool:
        """Whether they see colours alone, as nets of photographs do."""
        return set(self.bands) == set(RGB)

    @property
    def weights(self) -> dict[str, str]:
        """File and sha256 of everything."""
        return {file: found for part in self.parts for file, found in part.weights.items()}

    @property
    def provenance(self) -> dict[str, Any]:
        """Stage by stage."""
        found = {name: value for part in self.parts for name, value in part.provenance.items()}
        return {"comparer": SPECTRAL, **found}

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know, one line each."""
        return tuple(dict.fromkeys(note for part in self.parts for note in part.notes))

    @property
    def words(self) -> tuple[WordNote, ...]:
        """How near each phrase is to what was taught, where a stage reads it so."""
        return tuple(note for part in self.parts for note in part.words)

    @property
    def places(self) -> tuple[str, ...]:
        """Options that only say where a file lies."""
        return tuple(dict.fromkeys(place for part in self.parts for place in part.places))

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes from 0: background, then what was asked for."""
        names = tuple(name for name, _ in self.options.prompts)
        apart = self.identifier is not None and self.stages.identifier != NONE
        return (BACKGROUND, *names) if apart else (BACKGROUND, ", ".join(names))

    def memory(self, side: int) -> int:
        """Peak bytes of a picture's work beside the picture: stages come after one another, what they made stays."""
        # two dates' classes, and one's sums over objects in double precision
        kept = (40 + 36 * (1 + len(self.options.prompts))) * side * side
        return kept + max((part.memory(side) for part in self.parts), default=0)

    def load(self, sight: Sight, *, device: str, threads: int) -> Detection:
        """Read the tensors.

        Args:
            sight: The bands of the pairs to come, and what is black and white.
            device: Where it runs.
            threads: On a CPU.

        Raises:
            WeightsError: A file is missing here, or is another than the one that was found.
        """

        def made(part: Part[Any] | None) -> Any:
            return None if part is None else part.load(sight, device=device, threads=threads)

        return Detection(
            self.options, self.stages, sight, proposer=made(self.proposer), encoder=made(self.encoder),
            identifier=made(self.identifier), detector=made(self.detector),
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Detected:
    """What was found in a pair.

    Args:
        found: Objects, or pixels.
        labels: uint8 ``[2, H, W]``: the class of each pixel on both dates, 0 background; codes of the classes.
    """

    found: Objects | Pixels
    labels: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Detection:
    """The stages, loaded; stateless, and the same for maps and for evaluations."""

    options: StageOptions
    stages: Instantiation
    sight: Sight
    proposer: Proposer | None
    encoder: Encoder | None
    identifier: Identifier | None
    detector: Detector | None

    def __call__(self, pair: Pair, *, ratio: NDArray[np.float32] | None = None) -> Detected:
        """Run the stages.

        Args:
            pair: Two dates of one place.
            ratio: For ``spectral``: float32 ``[H, W]`` of scores over the threshold that a wider area has; None: the
                pair stands for itself.
        """
        if self.options.match_histogram:
            pair = _matched(pair)
        if self.detector is not None:
            return self._identify_first(pair, self.detector)
        assert self.proposer is not None
        assert self.identifier is not None
        # a score over a wider area's threshold holds what is likely already
        identifier = self.identifier if ratio is None else Everything()
        said = [identifier(pair, date) for date in (0, 1)]
        comparer = self._latent() if self.encoder is not None else self._spectral(pair, said, ratio)
        assert self.stages.rule is not None
        found = mask_compare_identify(
            pair, self.proposer, comparer, lambda _, date: said[date], rule=self.stages.rule
        )
        return Detected(found, np.stack([pixel_classes(each, pair.shape) for each in said]).astype(np.uint8))

    def _identify_first(self, pair: Pair, detector: Detector) -> Detected:
        # regions without a counterpart are compared all the same: a map of classes errs more than a detector
        one_sided = self.stages.detector.one_sided if self.stages.detector is not None else "compare"
        found = identify_mask_compare(pair, detector, self._latent(), one_sided=one_sided)
        origin, masks = found.proposals.origin, found.proposals.masks
        there = [masks.take(origin == date).union() for date in (BEFORE, AFTER)]
        return Detected(found, np.stack(there).astype(np.uint8))

    def _latent(self) -> LatentComparer:
        assert self.encoder is not None
        return LatentComparer(self.encoder, self.stages.beta)

    def _spectral(self, pair: Pair, said: list[NDArray[Any]], ratio: NDArray[np.float32] | None) -> SpectralComparer:
        if ratio is None:
            likely = None
            if not isinstance(self.identifier, Everything):
                likely = np.maximum(*(each[1:].max(axis=0) for each in said))
            ratio = ratio_of(pair, self.sight.places(RGB), likely)
        return SpectralComparer(ratio)


def _matched(pair: Pair) -> Pair:
    """The second date in the first one's colours."""
    second = match_histogram(pair.pixels[1], pair.pixels[0], pair.seen).astype(np.float32)
    return replace(pair, pixels=np.stack([pair.pixels[0], second]))
