"""Stages with the weights inside the package, Dynamic World and mini as encoders and as identifiers; and none.

Both nets were made for 10 m pixels and see reflectance, not photographs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
import torch

from eopipe.kernels.change.stages.protocols import ChangeStage, Encoder, Identifier, refused_prompts
from eopipe.kernels.ovss.class_scores import class_scores
from eopipe.kernels.ovss.mini_kernel import MixtureCosines
from eopipe.kernels.ovss.options import DenseOptions
from eopipe.kernels.ovss.taught_vocabulary import TaughtVocabulary
from eopipe.models.dynamicworld.net import TorchDynamicWorld, load_dynamic_world, normalise
from eopipe.models.mini import words
from eopipe.models.mini.runner import load_mini
from eopipe.models.registry import DYNAMIC_WORLD, MINI, NINE_BANDS
from eopipe.models.weights import file_sha256, load_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from eopipe.kernels.change.prompt_classes import PromptClasses
    from eopipe.kernels.change.stages.pair import BandStretch, DatePair
    from eopipe.kernels.ovss.options import Prompts
    from eopipe.models.mini.runner import MiniRunner

MINI_PIXEL_BYTES = 600
"""Of activations and the result."""


@dataclass(frozen=True, kw_only=True)
class DynamicWorldEncoder(ChangeStage[Encoder]):
    """Dynamic World's 144 channels, at half the pixels' resolution.

    The half pixels' middles are taken for corners: a quarter of a pixel off.
    """

    PIXEL_BYTES: ClassVar[int] = 1500  # of the torch form

    @classmethod
    def resolve(cls) -> DynamicWorldEncoder:
        """Check the file."""
        return cls(
            bands=NINE_BANDS, weights=file_sha256(DYNAMIC_WORLD.weights), provenance={"comparer": DYNAMIC_WORLD.name}
        )

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Encoder:  # noqa: ARG002  (a stage's)
        """See `ChangeStage.load`; features ``[144, H / 2, W / 2]``."""
        net = TorchDynamicWorld(load_arrays(DYNAMIC_WORLD.weights), device=device)
        bands = stretch.index(NINE_BANDS)

        def encode(pair: DatePair, date: int) -> NDArray[np.float32]:
            with torch.inference_mode():
                x = normalise(torch.from_numpy(pair.pixels[date][bands]))
                x = torch.where(torch.from_numpy(pair.valid[date]), x, torch.zeros(()))
                x = x[None].to(net.device, memory_format=torch.channels_last)
                return np.asarray(net.module.half_features(x)[0].float().cpu().numpy())

        return encode


@dataclass(frozen=True, kw_only=True)
class MiniEncoder(ChangeStage[Encoder]):
    """Mini's pixel vectors: one of 384 numbers is a mixture of nine, and nine numbers have the same angles."""

    PIXEL_BYTES: ClassVar[int] = MINI_PIXEL_BYTES

    @classmethod
    def resolve(cls) -> MiniEncoder:
        """Check the file."""
        return cls(bands=MINI.bands, weights=file_sha256(MINI.weights), provenance={"comparer": MINI.name})

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Encoder:  # noqa: ARG002  (a stage's)
        """See `ChangeStage.load`; features ``[9, H, W]``."""
        net, bands = load_mini(MINI, device=device), stretch.index(MINI.bands)
        # V = R' Q', and Q turns: w V and w R' have the same lengths and angles
        _, upper = np.linalg.qr(words.concept_vectors().astype(np.float64).T)
        root = np.ascontiguousarray(upper.T, np.float32)

        def encode(pair: DatePair, date: int) -> NDArray[np.float32]:
            weights = concepts(net, pair, date, bands)
            return np.asarray(np.einsum("kc,kyx->cyx", root, weights**MINI.sharpness))

        return encode


@dataclass(frozen=True, kw_only=True)
class DynamicWorldIdentifier(ChangeStage[Identifier]):
    """Dynamic World's classes, summed to what each prompt stands for; the rest is background.

    Args:
        prompts: With their classes.
    """

    PIXEL_BYTES: ClassVar[int] = 400  # of the fused form

    prompts: PromptClasses

    @classmethod
    def resolve(cls, prompts: PromptClasses) -> DynamicWorldIdentifier:
        """Check the file."""
        return cls(
            prompts=prompts,
            bands=NINE_BANDS,
            weights={**file_sha256(DYNAMIC_WORLD.weights), **prompts.weights},
            provenance={"identifier": DYNAMIC_WORLD.name, "teacher_classes": prompts.by_prompt},
            words=prompts.notes,
        )

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Identifier:  # noqa: ARG002  (a stage's)
        """See `ChangeStage.load`; ``[1 + prompts, H, W]``, a class of several prompts counted for each."""
        net, bands = load_dynamic_world(device=device), stretch.index(NINE_BANDS)

        def identify(pair: DatePair, date: int) -> NDArray[np.float32]:
            likelihood = self.prompts.likelihood(net(pair.pixels[date][bands], pair.valid[date]))
            rest = np.maximum(np.float32(1) - likelihood.sum(axis=0, dtype=np.float32), np.float32(0))
            return np.concatenate([rest[None], likelihood])

        return identify


@dataclass(frozen=True, kw_only=True)
class MiniIdentifier(ChangeStage[Identifier]):
    """Mini's classes of the prompts; a pixel like none of them is background.

    Args:
        queries: The prompts among what mini was taught.
    """

    PIXEL_BYTES: ClassVar[int] = MINI_PIXEL_BYTES

    queries: TaughtVocabulary

    @classmethod
    def resolve(cls, prompts: Prompts) -> MiniIdentifier:
        """Check the file, and read the prompts.

        Raises:
            SpecError: mini does not take them.
        """
        with refused_prompts("mini"):
            queries = TaughtVocabulary.read(DenseOptions(model=MINI.name, prompts=prompts))
        return cls(
            queries=queries,
            bands=MINI.bands,
            weights={**file_sha256(MINI.weights), **queries.weights},
            provenance={"identifier": MINI.name, "queries": list(queries.queries)},
            notes=tuple(queries.alike()),
            words=queries.notes,
        )

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Identifier:  # noqa: ARG002  (a stage's)
        """See `ChangeStage.load`; ``[1 + prompts, H, W]``."""
        net, bands = load_mini(MINI, device=device), stretch.index(MINI.bands)
        mixing = MixtureCosines(words.concept_vectors(), self.queries.text, sharpness=MINI.sharpness)
        scale = float(DenseOptions.model_fields["scale"].default)
        background = self.queries.background
        assert background is not None, "background: auto always makes one"

        def identify(pair: DatePair, date: int) -> NDArray[np.float32]:
            cosines = mixing.cosines(torch.from_numpy(concepts(net, pair, date, bands)))
            scores = class_scores(cosines, self.queries.query_class, scale).numpy().transpose(2, 0, 1)
            if background >= len(scores):  # the prompts name everything that mini knows
                return np.concatenate([np.zeros_like(scores[:1]), scores])
            return np.concatenate([scores[background : background + 1], np.delete(scores, background, axis=0)])

        return identify


@dataclass(frozen=True, kw_only=True)
class NoIdentifier(ChangeStage[Identifier]):
    """No identifier: every pixel is of the one class that the prompts name, so that every difference counts."""

    PIXEL_BYTES: ClassVar[int] = 8

    provenance: Mapping[str, Any] = field(default_factory=lambda: {"identifier": None})

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Identifier:  # noqa: ARG002  (a stage's)
        """See `ChangeStage.load`."""
        return all_foreground


def all_foreground(pair: DatePair, date: int) -> NDArray[np.float32]:  # noqa: ARG001  (whatever the date)
    """``[2, H, W]``: nothing is background."""
    return np.stack([np.zeros(pair.shape, np.float32), np.ones(pair.shape, np.float32)])


def concepts(net: MiniRunner, pair: DatePair, date: int, bands: list[int]) -> NDArray[np.float32]:
    """Weights of mini ``[9, H, W]`` of a pair's date: computed once where encoder and identifier both need them."""
    known = _CONCEPTS.setdefault(pair, {})
    if date not in known:
        known[date] = net.concepts(pair.pixels[date][bands], pair.valid[date], crop=0)
    return known[date]


_CONCEPTS: WeakKeyDictionary[DatePair, dict[int, NDArray[np.float32]]] = WeakKeyDictionary()
"""By pair, as long as it is used; there is one mini, whichever stage loaded it."""
