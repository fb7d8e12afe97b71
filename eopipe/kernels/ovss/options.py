"""What a spec may say under ``kernel`` beside ``name: ovss``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from eopipe.kernels.ovss.common_options import Asking, Finite, Scale


class KeptFeatures(BaseModel):
    """Window features reduced to their first principal components.

    Args:
        pca: How many.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    pca: Annotated[int, Field(ge=1)]


class Options(Asking):
    """The kernel's options beside :class:`Asking`'s; what is None is the model's own.

    Args:
        model: A name that ``eopipe models`` lists (``ViT-B-16/openai``), ``hf-hub:owner/name``, or an open_clip
            architecture with ``checkpoint``.
        checkpoint: A file of weights for the model.
        sha256: What that file must have.
        background: The class that takes pixels below ``threshold``: ``none``, or one of the prompts' names.
        precision: Arithmetic of the image tower; ``auto`` is measured at plan time and then frozen.
        attention: Of the tower's last blocks.
        last_layers: How many of them.
        ignore_residual: Whether those blocks give their attention's output alone.
        gelu: The tower's activation; a checkpoint does not tell it.
        upsampler: From patches to pixels.
        upsampler_checkpoint: A file of weights for it.
        bias: Lambda of the global bias alleviation; 0 turns it off.
        scale: What cosines are multiplied by before the softmax.
        templates: ``imagenet`` (80 sentences), or sentences with ``{}`` where the phrase goes.
        stretch: Reflectance that becomes black and white; ``auto`` takes the sensor's and is then frozen.
        channels: What a radar picture shows: three channels of VV, VH and their ratio, or VV alone.
        features: Whether window features are kept, so that other prompts need no image tower: ``none``, ``keep``,
            or ``{pca: N}``.
    """

    checkpoint: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    background: str = "none"
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    attention: Literal["vanilla", "MaskCLIP", "SCLIP", "ClearCLIP", "SegEarth"] | None = None
    last_layers: Annotated[int, Field(ge=1)] | None = None
    ignore_residual: bool = True
    gelu: Literal["quick", "exact"] | None = None
    upsampler: Literal["bilinear", "jbu_one", "jbu_stack", "anyup"] = "jbu_one"
    upsampler_checkpoint: str | None = None
    bias: Finite = -0.3
    scale: Scale = 50.0
    templates: Literal["imagenet"] | tuple[str, ...] = "imagenet"
    stretch: Literal["auto"] | tuple[Finite, Finite] = "auto"
    channels: Literal["vv-vh-ratio", "vv"] = "vv-vh-ratio"
    features: Literal["none", "keep"] | KeptFeatures = "none"

    @property
    def background_class(self) -> int | None:
        """The background's class, from 0; None where there is none."""
        return None if self.background == "none" else self.vocabulary.names.index(self.background)

    @model_validator(mode="after")
    def _background_is_a_prompt(self) -> Options:
        names = self.vocabulary.names
        if self.background == "auto":
            raise ValueError(
                f"background: 'auto' needs a model with a taught vocabulary, and {self.model} has none; "
                f"name one of the prompts ({', '.join(names)}) or none"
            )
        if self.background not in {"none", *names}:
            raise ValueError(f"background: {self.background!r} is no prompt; name one of {', '.join(names)}, or none")
        if self.threshold > 0 and self.background == "none":
            raise ValueError(
                f"threshold: {self.threshold:g} sends pixels to the background, and there is none; "
                f"name one of the prompts ({', '.join(names)}) as background"
            )
        return self

    @model_validator(mode="after")
    def _values_make_sense(self) -> Options:
        if isinstance(self.templates, tuple):
            bad = next((text for text in self.templates if "{}" not in text), None)
            if not self.templates:
                raise ValueError("templates: there is none; write sentences such as 'a photo of a {}.', or imagenet")
            if bad is not None:
                raise ValueError(f"templates: {bad!r} has no place for the phrase; write it as 'a photo of a {{}}.'")
        if not isinstance(self.stretch, str) and not self.stretch[0] < self.stretch[1]:
            raise ValueError(f"stretch: {list(self.stretch)} must rise from black to white, such as [0, 0.3]")
        return self
