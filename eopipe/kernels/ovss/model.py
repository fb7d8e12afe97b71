"""The model that a kernel's options name: its files checked, its words embedded, then loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from eopipe.errors import PlanError
from eopipe.kernels.ovss.options import ReducedFeatures
from eopipe.kernels.ovss.segmentor import Segmentor
from eopipe.models.clip import text as words
from eopipe.models.clip.architecture import AttentionSettings
from eopipe.models.clip.load import load_encoder, resolve_model
from eopipe.models.registry import MODELS
from eopipe.models.registry_entry import UpsamplerEntry
from eopipe.models.upsample.load import load_upsampler, resolve_upsampler
from eopipe.models.weights import FOLDER

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from eopipe.kernels.ovss.options import OvssOptions
    from eopipe.models.clip.load import ResolvedModel
    from eopipe.models.upsample.load import ResolvedUpsampler
    from eopipe.models.upsample.protocol import Upsampler


@dataclass(frozen=True)
class OvssModel:
    """Everything that turns windows into logits, not loaded yet; small, and picklable.

    Args:
        options: The kernel's.
        clip: The towers' file.
        upsampler: The upsampler's.
        text: ``[Q, C]`` unit vectors of the queries.
    """

    options: OvssOptions
    clip: ResolvedModel
    upsampler: ResolvedUpsampler
    text: NDArray[np.float32]

    @classmethod
    def resolve(cls, options: OvssOptions) -> OvssModel:
        """Find and check the files, and embed the words (cached on disk; else the text tower runs once).

        Raises:
            WeightsError: A file is missing, of another sha256, or unsafe.
            SpecError: A template has no place for the phrase.
            PlanError: Tower, upsampler and options do not go together.
        """
        clip = resolve_model(options.model, checkpoint=options.checkpoint, sha256=options.sha256, gelu=options.gelu)
        _must_go_together(options, clip)
        upsampler = resolve_upsampler(options.upsampler, checkpoint=options.upsampler_checkpoint)
        templates = words.imagenet_templates() if options.templates == "imagenet" else options.templates
        return cls(options, clip, upsampler, words.embed(clip, options.vocabulary.queries, templates))

    @property
    def attention(self) -> AttentionSettings:
        """The options', and the model's where they are not set."""
        default, options = self.clip.entry.attention, self.options
        return AttentionSettings(
            options.attention or default.kind, options.last_layers or default.last, options.ignore_residual
        )

    def load(self, *, device: str, threads: int) -> Segmentor:
        """Read the tensors, from where this machine keeps the files.

        Args:
            device: Where it runs.
            threads: For the upsampler, on a CPU.

        Raises:
            WeightsError: A file is missing on this machine, or is another than the one that was resolved.
        """
        options = self.options
        assert options.precision != "auto", "measured before the model is loaded"
        clip = resolve_model(options.model, checkpoint=options.checkpoint, sha256=self.clip.sha256, gelu=options.gelu)
        encoder = load_encoder(clip, attention=self.attention, precision=options.precision, device=device)
        upsampler = load_upsampler(
            self.upsampler, device=device, threads=threads, channels=encoder.width,
            colours=(clip.entry.mean, clip.entry.std),
        )  # fmt: skip
        return Segmentor(encoder, upsampler, torch.from_numpy(self.text).to(device), bias=self.options.bias)

    def upsampling_memory(self, windows: int, side: int) -> int:
        """Peak bytes of the upsampler's work beside its input and output, on a CPU."""
        queries, channels = self.text.shape
        return _cpu_upsampler(self.upsampler, channels).memory(windows, side, channels, queries)

    @property
    def weights(self) -> dict[str, str]:
        """File and sha256 of everything, and of how the towers are built: part of the tile recipe."""
        built = {name: self.clip.provenance[name] for name in ("architecture", "gelu", "mean", "std")}
        digest = hashlib.sha256(json.dumps(built, sort_keys=True).encode()).hexdigest()
        return {**self.clip.weights, "towers as built": digest, **self.upsampler.weights}

    @property
    def places(self) -> tuple[str, ...]:
        """Options that are only the path of a file or folder."""
        is_path = self.options.model.startswith(FOLDER)
        return ("checkpoint", "upsampler_checkpoint", *(("model",) if is_path else ()))

    @property
    def provenance(self) -> dict[str, Any]:
        """What a run's record says of it."""
        return {
            **self.clip.provenance,
            "upsampler": self.upsampler.provenance,
            "queries": list(self.options.vocabulary.queries),
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What its user should know, one line each."""
        return (*self.clip.notes, *self.upsampler.notes)


def _must_go_together(options: OvssOptions, clip: ResolvedModel) -> None:
    """Refuse what does not fit before a tensor is read: else the first window on a worker would fail."""
    entry, layers = clip.entry, clip.architecture.image.layers
    if options.last_layers is not None and options.last_layers > layers:
        raise PlanError(f"kernel.last_layers: {options.last_layers}, and {options.model} has {layers} blocks")
    upsampler = MODELS.get(options.upsampler)
    if isinstance(upsampler, UpsamplerEntry) and upsampler.factor not in {None, entry.patch}:
        raise PlanError(
            f"kernel.upsampler: {options.upsampler} makes features {upsampler.factor} times finer, and patches of "
            f"{options.model} have {entry.patch} pixels a side; take bilinear or anyup, or a model with "
            f"{upsampler.factor}"
        )
    if isinstance(options.features, ReducedFeatures) and options.features.pca > entry.width:
        raise PlanError(
            f"kernel.features: {options.features.pca} components, and {options.model} has {entry.width} channels; "
            f"ask for fewer, or set features: keep"
        )


@lru_cache(maxsize=4)
def _cpu_upsampler(resolved: ResolvedUpsampler, channels: int) -> Upsampler:
    """For its memory only, which a plan needs for every tile side that it tries."""
    return load_upsampler(resolved, device="cpu", threads=1, channels=channels)
