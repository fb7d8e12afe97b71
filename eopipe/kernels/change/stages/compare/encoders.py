"""Encoders of pictures for the paper's comparer: DINO, DINOv2, and CLIP's image towers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from eopipe.kernels.change.stages.pair import RGB
from eopipe.kernels.change.stages.protocols import ChangeStage, Encoder, of_models
from eopipe.kernels.ovss.picture import normalise
from eopipe.models.clip.load import CONFIG, load_encoder, resolve_model
from eopipe.models.foundation.memory import work
from eopipe.models.foundation.resolve import is_foundation, resolve
from eopipe.models.weights import FOLDER, HUB

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.stages.pair import BandStretch, DatePair
    from eopipe.models.clip.load import ResolvedModel
    from eopipe.models.foundation.resolve import Resolved

TOKEN_COLUMNS = 16
"""Floats a token and channel of a CLIP tower at a block's peak, as `eopipe.kernels.ovss.kernel.TOWER_COLUMNS`."""


def resolve_encoder(name: str) -> ChangeStage[Encoder]:
    """An encoder with files, by the name that a spec gives it.

    Args:
        name: A model of features or of words; a folder is one of words where it has CLIP's configuration.

    Raises:
        WeightsError: There is no such model, it makes no features, or its files are not on this machine.
    """
    if name.startswith(FOLDER):
        features = not (Path(name.removeprefix(FOLDER)).expanduser() / CONFIG).exists()
    else:
        features = name.startswith(HUB) or is_foundation(name)
    return PhotoEncoder.resolve(name) if features else ClipEncoder.resolve(name)


@dataclass(frozen=True, kw_only=True)
class PhotoEncoder(ChangeStage[Encoder]):
    """DINO or DINOv2, which were trained on photographs.

    Args:
        net: A model of features.
    """

    net: Resolved

    @classmethod
    def resolve(cls, name: str) -> PhotoEncoder:
        """Find and check a model's files; errors as `resolve_encoder`."""
        net = resolve(name, "features")
        return cls(net=net, **of_models(comparer=net))

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Encoder:
        """See `ChangeStage.load`; features ``[C, H // patch, W // patch]``."""
        from eopipe.models.foundation.features import FeatureModel  # noqa: PLC0415  (a worker's, once)

        model = FeatureModel.load(self.net, device=device, threads=threads)
        return lambda pair, date: model(stretch.picture(pair, date))

    def memory(self, side: int) -> int:
        """Of the net."""
        return work(self.net, "features", side)


@dataclass(frozen=True, kw_only=True)
class ClipEncoder(ChangeStage[Encoder]):
    """Patch tokens of CLIP's image tower, of the whole picture at once.

    Args:
        net: A model of words.
    """

    net: ResolvedModel

    @classmethod
    def resolve(cls, name: str) -> ClipEncoder:
        """Find and check a model's files; errors as `resolve_encoder`."""
        net = resolve_model(name)
        return cls(
            net=net,
            bands=RGB,
            weights=net.weights,
            provenance={"comparer": net.provenance},
            notes=net.notes,
            path_options=("comparer",) if ":" in name else (),
        )

    def load(self, stretch: BandStretch, *, device: str, threads: int) -> Encoder:  # noqa: ARG002  (a stage's)
        """See `ChangeStage.load`; features ``[C, H // patch, W // patch]``."""
        entry = self.net.entry
        files = resolve_model(self.net.name, sha256=self.net.sha256)  # where this machine has them
        tower = load_encoder(files, attention=entry.attention, device=device)

        def encode(pair: DatePair, date: int) -> NDArray[np.float32]:
            rows, cols = (side // tower.patch * tower.patch for side in pair.shape)
            picture = stretch.picture(pair, date)[:rows, :cols].transpose(2, 0, 1).astype(np.float32)
            valid = pair.valid[date][:rows, :cols]
            normal = normalise(picture / np.float32(255), valid, mean=entry.mean, std=entry.std)
            with torch.inference_mode():
                return np.asarray(tower(torch.from_numpy(normal)[None]).patches[0].cpu().numpy())

        return encode

    def memory(self, side: int) -> int:
        """A block's activations, and an attention matrix over all tokens."""
        tokens = (side // self.net.entry.patch) ** 2 + 1
        image = self.net.architecture.image
        columns = TOKEN_COLUMNS * image.width + image.heads * tokens + 2 * self.net.entry.width
        return int(4 * tokens * columns)
