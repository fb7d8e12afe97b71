"""Stages with the weights inside the package: Dynamic World and mini, as encoders and as identifiers.

Both were made for 10 m pixels and see reflectance, not photographs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
import torch

from eopipe.kernels.change.stages.unloaded import Part, asking
from eopipe.kernels.land_cover import BANDS
from eopipe.kernels.ovss.class_scores import class_scores
from eopipe.kernels.ovss.mini_kernel import MixtureCosines
from eopipe.kernels.ovss.options import DenseOptions
from eopipe.kernels.ovss.taught_vocabulary import TaughtVocabulary
from eopipe.models.dynamicworld.net import TorchDynamicWorld, load_dynamic_world, normalise
from eopipe.models.mini import words
from eopipe.models.mini.runner import load_mini
from eopipe.models.registry import DYNAMIC_WORLD, MINI
from eopipe.models.weights import load_arrays, locate, sha256_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.prompt_classes import Meaning
    from eopipe.kernels.change.stages.protocols import Encoder, Identifier, Pair
    from eopipe.kernels.change.stages.rgb import Sight
    from eopipe.kernels.ovss.options import Prompts
    from eopipe.models.dynamicworld.net import DynamicWorldRunner
    from eopipe.models.mini.runner import MiniRunner
    from eopipe.models.registry_entry import ModelEntry


def dynamic_world_encoder() -> Part[Encoder]:
    """Dynamic World's 144 channels, at half the pixels' resolution."""
    return Part(BANDS, _load_dynamic_world_encoder, partial(_times, _PLAIN_BYTES), _weights(DYNAMIC_WORLD),
                {"comparer": DYNAMIC_WORLD.name})  # fmt: skip


def mini_encoder() -> Part[Encoder]:
    """Mini's pixel vectors."""
    return Part(MINI.bands, _load_mini_encoder, partial(_times, _MINI_BYTES), _weights(MINI), {"comparer": MINI.name})


def dynamic_world_identifier(meaning: Meaning) -> Part[Identifier]:
    """Dynamic World's classes, summed to what each prompt stands for; what is none of them is background."""
    provenance = {"identifier": DYNAMIC_WORLD.name, "teacher_classes": meaning.told}
    return Part(BANDS, partial(_load_dynamic_world, meaning), partial(_times, _FUSED_BYTES),
                {**_weights(DYNAMIC_WORLD), **meaning.weights}, provenance, words=meaning.notes)  # fmt: skip


def mini_identifier(prompts: Prompts) -> Part[Identifier]:
    """mini, asked for the prompts; what answers to none of them is background."""
    with asking("mini"):
        options = DenseOptions(model=MINI.name, prompts=prompts)
    found = TaughtVocabulary.read(options)
    return Part(MINI.bands, partial(_load_mini, found), partial(_times, _MINI_BYTES),
                {**_weights(MINI), **found.weights}, {"identifier": MINI.name, "queries": list(found.queries)},
                tuple(found.alike()), words=found.notes)  # fmt: skip


@dataclass(frozen=True, eq=False)
class DynamicWorldEncoder:
    """See `dynamic_world_encoder`. The half pixels' middles are taken for corners: a quarter of a pixel beside."""

    net: TorchDynamicWorld
    bands: tuple[int, ...]

    def __call__(self, pair: Pair, date: int) -> NDArray[np.float32]:
        """``[144, H / 2, W / 2]``."""
        with torch.inference_mode():
            x = normalise(torch.from_numpy(pair.pixels[date][list(self.bands)]))
            seen = torch.from_numpy(pair.valid[date])
            x = torch.where(seen, x, torch.zeros(()))[None].to(self.net.device, memory_format=torch.channels_last)
            found: NDArray[np.float32] = self.net.module.half_features(x)[0].float().cpu().numpy()
        return found


@dataclass(frozen=True, eq=False)
class MiniEncoder:
    """See `mini_encoder`. A vector of 384 numbers is a mixture of nine; nine numbers have the same angles."""

    net: MiniRunner
    bands: tuple[int, ...]
    root: NDArray[np.float32]
    sharpness: float

    def __call__(self, pair: Pair, date: int) -> NDArray[np.float32]:
        """``[9, H, W]``."""
        weights = concepts(self.net, pair, date, self.bands)
        found: NDArray[np.float32] = np.einsum("kc,kyx->cyx", self.root, weights**self.sharpness)
        return found


@dataclass(frozen=True, eq=False)
class DynamicWorldIdentifier:
    """See `dynamic_world_identifier`."""

    net: DynamicWorldRunner
    bands: tuple[int, ...]
    meaning: Meaning

    def __call__(self, pair: Pair, date: int) -> NDArray[np.float32]:
        """``[1 + prompts, H, W]``; what several prompts stand for counts for each."""
        likely = self.meaning.likely(self.net(pair.pixels[date][list(self.bands)], pair.valid[date]))
        return with_background(likely)


@dataclass(frozen=True, eq=False)
class MiniIdentifier:
    """See `mini_identifier`."""

    net: MiniRunner
    bands: tuple[int, ...]
    mixing: MixtureCosines
    asked: TaughtVocabulary
    scale: float

    def __call__(self, pair: Pair, date: int) -> NDArray[np.float32]:
        """``[1 + prompts, H, W]``."""
        weights = concepts(self.net, pair, date, self.bands)
        scores = class_scores(self.mixing.cosines(torch.from_numpy(weights)), self.asked.query_class, self.scale)
        other = self.asked.background
        assert other is not None, "background: auto always makes one"
        found = scores.numpy().transpose(2, 0, 1)
        # where the prompts name everything that mini knows, nothing is other
        rest = found[other : other + 1] if other < len(found) else np.zeros_like(found[:1])
        return np.concatenate([rest, np.delete(found, other, axis=0) if other < len(found) else found])


def concepts(net: MiniRunner, pair: Pair, date: int, bands: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights of mini ``[9, H, W]`` of a pair's date: made once where encoder and identifier both ask."""
    known = _CONCEPTS.setdefault(pair, {})
    if date not in known:
        known[date] = net.concepts(pair.pixels[date][list(bands)], pair.valid[date], crop=0)
    return known[date]


_CONCEPTS: WeakKeyDictionary[Pair, dict[int, NDArray[np.float32]]] = WeakKeyDictionary()
"""By pair, as long as somebody holds it; there is one mini, whoever loaded it."""


def with_background(likely: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[prompts, y, x]`` with what is left of 1 before it, as class 0."""
    rest = np.maximum(np.float32(1) - likely.sum(axis=0, dtype=np.float32), np.float32(0))
    return np.concatenate([rest[None], likely])


def _weights(entry: ModelEntry) -> dict[str, str]:
    return {entry.weights.file: sha256_of(locate(entry.weights))}


def _load_dynamic_world_encoder(sight: Sight, *, device: str, threads: int) -> DynamicWorldEncoder:  # noqa: ARG001  (a part's)
    net = TorchDynamicWorld(load_arrays(DYNAMIC_WORLD.weights), device=device)
    return DynamicWorldEncoder(net, sight.places(BANDS))


def _load_mini_encoder(sight: Sight, *, device: str, threads: int) -> MiniEncoder:  # noqa: ARG001  (a part's)
    # V = R' Q', and Q turns: w V and w R' have the same lengths and angles
    _, upper = np.linalg.qr(words.concept_vectors().astype(np.float64).T)
    root = np.ascontiguousarray(upper.T, np.float32)
    return MiniEncoder(load_mini(MINI, device=device), sight.places(MINI.bands), root, MINI.sharpness)


def _load_dynamic_world(meaning: Meaning, sight: Sight, *, device: str, threads: int) -> DynamicWorldIdentifier:  # noqa: ARG001  (a part's)
    return DynamicWorldIdentifier(load_dynamic_world(device=device), sight.places(BANDS), meaning)


def _load_mini(found: TaughtVocabulary, sight: Sight, *, device: str, threads: int) -> MiniIdentifier:  # noqa: ARG001  (a part's)
    mixing = MixtureCosines(words.concept_vectors(), found.text, sharpness=MINI.sharpness)
    scale = float(DenseOptions.model_fields["scale"].default)
    return MiniIdentifier(load_mini(MINI, device=device), sight.places(MINI.bands), mixing, found, scale)


def _times(bytes_a_pixel: int, side: int) -> int:
    return bytes_a_pixel * side * side


# the fast form: 75 to 110 MB of graphs of tiles, which stay, and 43 bytes a pixel (pictures of 256 to 1024)
_PLAIN_BYTES = 1500
_FUSED_BYTES = 400
_MINI_BYTES = 600
"""Peak bytes a pixel of a picture, of activations and of what comes out."""
