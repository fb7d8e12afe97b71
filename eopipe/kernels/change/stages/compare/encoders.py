"""Encoders for the paper's comparer by name: DINO, DINOv2, CLIP's towers, and those inside the package."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from eopipe.kernels.change.dynamicearth.combinations import DYNAMIC_WORLD, MINI
from eopipe.kernels.change.stages.identify import embedded
from eopipe.kernels.change.stages.rgb import RGB
from eopipe.kernels.change.stages.unloaded import Part
from eopipe.kernels.ovss.picture import normalise
from eopipe.models.clip.load import CONFIG, load_encoder, resolve_model
from eopipe.models.foundation.memory import work
from eopipe.models.foundation.resolve import is_foundation, resolve
from eopipe.models.weights import FOLDER, HUB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.stages.protocols import Encoder, Pair
    from eopipe.kernels.change.stages.rgb import Sight
    from eopipe.models.clip.load import ResolvedModel
    from eopipe.models.clip.vision import DenseEncoder
    from eopipe.models.foundation.features import FeatureModel
    from eopipe.models.foundation.resolve import Resolved


def encoder_part(name: str) -> Part[Encoder]:
    """An encoder by the name that a spec gives it.

    Args:
        name: ``dynamic-world``, ``mini``, or a model of features or of words.

    Raises:
        WeightsError: There is no such model, it makes no features, or its files are not here.
    """
    if name == DYNAMIC_WORLD:
        return embedded.dynamic_world_encoder()
    if name == MINI:
        return embedded.mini_encoder()
    return _photo(name) if _sees_photographs(name) else _clip(name)


def _sees_photographs(name: str) -> bool:
    """Whether a name is of a model of features; a folder of one with words says so by its file."""
    if name.startswith(FOLDER):
        return not (Path(name.removeprefix(FOLDER)).expanduser() / CONFIG).exists()
    return name.startswith(HUB) or is_foundation(name)


@dataclass(frozen=True, eq=False)
class PhotoEncoder:
    """DINO or DINOv2, which see photographs (spec 03 §1.2)."""

    model: FeatureModel
    sight: Sight

    def __call__(self, pair: Pair, date: int) -> NDArray[np.float32]:
        """``[C, H // patch, W // patch]``."""
        return self.model(self.sight.picture(pair, date))


def _photo(name: str) -> Part[Encoder]:
    found = resolve(name, "features")
    return Part(
        RGB, partial(_load_photo, found), partial(work, found, "features"), found.weights,
        {"comparer": found.provenance}, found.notes,
        ("comparer",) if found.places else (),
    )  # fmt: skip


def _load_photo(found: Resolved, sight: Sight, *, device: str, threads: int) -> PhotoEncoder:
    from eopipe.models.foundation.features import FeatureModel  # noqa: PLC0415  (a worker's, once)

    return PhotoEncoder(FeatureModel.load(found, device=device, threads=threads), sight)


@dataclass(frozen=True, eq=False)
class ClipEncoder:
    """Patch tokens of CLIP's image tower, of the whole picture at once."""

    tower: DenseEncoder
    sight: Sight
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pair: Pair, date: int) -> NDArray[np.float32]:
        """``[C, H // patch, W // patch]``."""
        rows, cols = (side // self.tower.patch * self.tower.patch for side in pair.shape)
        picture = self.sight.picture(pair, date)[:rows, :cols].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
        seen = normalise(picture, pair.valid[date][:rows, :cols], mean=self.mean, std=self.std)
        with torch.inference_mode():
            found: NDArray[np.float32] = self.tower(torch.from_numpy(seen)[None]).patches[0].cpu().numpy()
        return found


def _clip(name: str) -> Part[Encoder]:
    found = resolve_model(name)
    return Part(
        RGB, partial(_load_clip, found), partial(_clip_memory, found), found.weights,
        {"comparer": found.provenance}, found.notes, ("comparer",) if ":" in name else (),
    )  # fmt: skip


def _load_clip(found: ResolvedModel, sight: Sight, *, device: str, threads: int) -> ClipEncoder:  # noqa: ARG001  (a part's)
    again = resolve_model(found.name, sha256=found.sha256)
    tower = load_encoder(again, attention=found.entry.attention, device=device)
    return ClipEncoder(tower, sight, found.entry.mean, found.entry.std)


_TOKEN_COLUMNS = 16
"""Floats a token and channel of the tower at a block's peak, as `eopipe.kernels.ovss.kernel.TOWER_COLUMNS`."""


def _clip_memory(found: ResolvedModel, side: int) -> int:
    """A block's activations, and an attention matrix over all tokens."""
    tokens = (side // found.entry.patch) ** 2 + 1
    image = found.architecture.image
    return int(4 * tokens * (_TOKEN_COLUMNS * image.width + image.heads * tokens + 2 * found.entry.width))
