"""What a spec may say under ``kernel`` beside ``name: ovss``: what all models share, a CLIP's options, and mini's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, PlainSerializer, model_validator

from eopipe.kernels.ovss.prompts import MOST_CLASSES, Vocabulary, parse_prompts

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Scale = Annotated[float, Field(gt=0, le=1000)]
"""Beyond a thousand a cosine's last digit decides, and at last no number is left."""

Prompts = Annotated[
    tuple[tuple[str, tuple[str, ...]], ...],
    BeforeValidator(parse_prompts),
    PlainSerializer(lambda pairs: [[name, list(phrases)] for name, phrases in pairs]),  # JSON keeps a list's order
]

OTHER = "other"
"""The class of concepts that no prompt names."""


class PromptOptions(BaseModel, extra="forbid", frozen=True):
    """What every open-vocabulary model takes: the prompts, and the size of its pixels.

    Args:
        model: A name that ``eopipe models`` lists.
        prompts: Class names with their synonyms; codes follow the order, from 1.
        threshold: Pixels whose best class probability is below become background.
        gsd: Ground sample distance the model sees: ``grid``, or metres that divide the grid's resolution.
    """

    model: str
    prompts: Prompts
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    gsd: Literal["grid"] | Positive = "grid"

    @property
    def vocabulary(self) -> Vocabulary:
        """The prompts as classes and queries."""
        names, synonyms = zip(*self.prompts, strict=True)
        return Vocabulary(names, synonyms)

    def complete(self) -> dict[str, Any]:
        """All options as plain JSON values: part of the tile recipe."""
        return self.model_dump(mode="json")

    def _refuse_background(self, background: str, *, auto: bool) -> None:
        """Refuse a background that no prompt has, and a threshold without a background.

        Raises:
            ValueError: It is so.
        """
        names = self.vocabulary.names
        special, choices = (("auto", "none"), "or auto, or none") if auto else (("none",), "or none")
        if background not in {*special, *names}:
            raise ValueError(f"background: {background!r} is no prompt; name one of {', '.join(names)}, {choices}")
        if self.threshold > 0 and background == "none":
            remedy = (
                f"set background: auto, or to one of the prompts ({', '.join(names)})"
                if auto
                else f"name one of the prompts ({', '.join(names)}) as background"
            )
            raise ValueError(
                f"threshold: {self.threshold:g} sends pixels to the background, and there is none; {remedy}"
            )


class ReducedFeatures(BaseModel, extra="forbid", frozen=True):
    """Window features reduced to their first principal components.

    Args:
        pca: How many.
    """

    pca: Annotated[int, Field(ge=1)]


class OvssOptions(PromptOptions, frozen=True):
    """Options of a CLIP beside :class:`PromptOptions`'; None stands for the model's own.

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
        features: Whether window features are stored, so that other prompts need no image tower: ``none``, ``keep``,
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
    features: Literal["none", "keep"] | ReducedFeatures = "none"

    @property
    def background_class(self) -> int | None:
        """The background's class, from 0; None where there is none."""
        return None if self.background == "none" else self.vocabulary.names.index(self.background)

    @model_validator(mode="after")
    def _background_is_a_prompt(self) -> OvssOptions:
        if self.background == "auto":
            raise ValueError(
                f"background: 'auto' needs a model with a taught vocabulary, and {self.model} has none; "
                f"name one of the prompts ({', '.join(self.vocabulary.names)}) or none"
            )
        self._refuse_background(self.background, auto=False)
        return self

    @model_validator(mode="after")
    def _values_make_sense(self) -> OvssOptions:
        if isinstance(self.templates, tuple):
            bad = next((text for text in self.templates if "{}" not in text), None)
            if not self.templates:
                raise ValueError("templates: there is none; write sentences such as 'a photo of a {}.', or imagenet")
            if bad is not None:
                raise ValueError(f"templates: {bad!r} has no place for the phrase; write it as 'a photo of a {{}}.'")
        if not isinstance(self.stretch, str) and not self.stretch[0] < self.stretch[1]:
            raise ValueError(f"stretch: {list(self.stretch)} must rise from black to white, such as [0, 0.3]")
        return self


class DenseOptions(PromptOptions, frozen=True):
    """Options of a model that looks at pixels (``mini``); only ``gsd`` changes what its net sees.

    Args:
        background: The class of what no prompt names. ``auto``: a class of its own, ``other``, of every taught
            concept that no prompt names, and of pixels below ``threshold``. ``none``: each pixel gets the nearest
            prompt. Else one of the prompts' names, which takes pixels below ``threshold``.
        scale: What cosines are multiplied by before the softmax; mini's own makes the winner's probability about as
            high as it is often right.
    """

    background: str = "auto"
    scale: Scale = 3.0

    @model_validator(mode="after")
    def _background_can_be(self) -> DenseOptions:
        names = self.vocabulary.names
        same = next((name for name in names if name.casefold() == OTHER), None)
        if self.background == "auto" and same is not None:
            raise ValueError(
                f"background: 'auto' adds a class {OTHER!r}, and a prompt has that name; rename the prompt, or set "
                f"background: {same}"
            )
        if self.background == "auto" and len(names) >= MOST_CLASSES:  # its code would be that of no data
            raise ValueError(
                f"background: 'auto' adds {OTHER!r} to {len(names)} prompts, and a label holds {MOST_CLASSES} "
                f"classes; drop a prompt, or set background: none"
            )
        self._refuse_background(self.background, auto=True)
        return self
