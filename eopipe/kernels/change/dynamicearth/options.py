"""What a spec may say under ``kernel`` beside ``name: change`` where it names a combination of stages."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, model_validator

from eopipe.kernels.change.dynamicearth.combinations import Instantiation, instantiation
from eopipe.kernels.change.dynamicearth.fitting import refuse_misfits
from eopipe.kernels.change.prompt_classes import TeacherClasses, refuse_unknown_prompts
from eopipe.kernels.change.stages.settings import BACKGROUND, NONE, SEGEARTH_OV, SPECTRAL
from eopipe.kernels.ovss.options import Finite, Prompts  # noqa: TC001  (pydantic reads annotations)

Phrases = Annotated[tuple[str, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str) else value)]

BETA = 145.0
"""Degrees, where neither a spec nor its combination states them: LEVIR-CD's."""


class Segments(BaseModel, extra="forbid", frozen=True):
    """How finely ``felzenszwalb`` divides pictures.

    Args:
        scale: Larger makes larger segments; of colours in 0-1, times 255.
        sigma: Pixels of the Gauss filter before.
        smallest: Pixels that a segment must have.
    """

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 30.0
    sigma: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.8
    smallest: Annotated[int, Field(ge=1)] = 10


class StageOptions(BaseModel, extra="forbid", frozen=True, validate_default=True):
    """The kernel's options where objects, or pixels, go through stages; None means the combination's own.

    Args:
        instantiation: The combination of stages.
        prompts: What may have changed: names with their phrases. An object changed if it did for any of them.
        background: Phrases of what is none of them, for an identifier of words.
        proposer: ``pixels``, ``felzenszwalb``, (I-M-C) ``regions``, or a model that ``eopipe models`` lists.
        comparer: ``spectral``, ``dynamic-world``, ``mini``, or a model of features.
        identifier: ``dynamic-world``, ``mini``, ``none``, a model of words, or (I-M-C) a detector.
        rule: ``instance``, ``stuff``, or (with ``spectral``) ``likely``.
        beta: Degrees of the comparer's confidence threshold, or ``otsu`` for each picture's own.
        points: Points a side of SAM's grid.
        segments: How finely ``felzenszwalb`` divides pictures.
        resize: Side of the square that an identifier of words sees.
        upsampler: Of such an identifier.
        upsampler_checkpoint: A file of weights for it.
        window: Side of the pictures that objects are found in; an object of half of it is never cut.
        match_histogram: Whether the second date is given the first one's colours, band by band, in each picture.
        registration: Whether the second date is moved onto the first by the shift that the area shows.
        stretch: Reflectance that becomes black and white; ``auto`` takes the sensor's and is then frozen.
        teacher_classes: Land-cover classes that a prompt stands for where the identifier is ``dynamic-world``.
    """

    instantiation: str
    prompts: Prompts
    background: Phrases = (BACKGROUND,)
    proposer: str | None = None
    comparer: str | None = None
    identifier: str | None = None
    rule: Literal["instance", "stuff", "likely"] | None = None
    beta: Annotated[float, Field(ge=0, lt=180)] | Literal["otsu"] | None = None
    points: Annotated[int, Field(ge=1, le=256)] = 32
    segments: Segments = Segments()
    resize: Annotated[int, Field(ge=224)] = SEGEARTH_OV.resize
    upsampler: Literal["bilinear", "jbu_one", "jbu_stack", "anyup"] = SEGEARTH_OV.upsampler
    upsampler_checkpoint: str | None = None
    window: Literal[256, 512, 1024] | None = None
    match_histogram: bool = False
    registration: bool = True
    stretch: Literal["auto"] | tuple[Finite, Finite] = "auto"
    teacher_classes: TeacherClasses = {}

    @property
    def combination(self) -> Instantiation:
        """The instantiation with the stages and settings that this spec names instead."""
        base = instantiation(self.instantiation)
        comparer, identifier = self.comparer or base.comparer, self.identifier or base.identifier
        likely = comparer == SPECTRAL or identifier == NONE
        rule = self.rule or base.rule
        if self.rule is None and base.masks_first and likely != (base.rule == "likely"):
            rule = "likely" if likely else "instance"
        return replace(
            base,
            proposer=self.proposer or base.proposer,
            comparer=comparer,
            identifier=identifier,
            rule=rule,
            beta=self._beta(base, comparer),
            window=self.window or base.window,
            published=False,
        )

    @model_validator(mode="after")
    def _stages_go_together(self) -> StageOptions:
        fields = type(self).model_fields
        given = {name for name, field in fields.items() if getattr(self, name) != field.get_default()}
        refuse_misfits(self.combination, given, prompts=self.prompts, background=self.background)
        refuse_unknown_prompts(self.teacher_classes, self.prompts)
        if not isinstance(self.stretch, str) and not self.stretch[0] < self.stretch[1]:
            raise ValueError(f"stretch: {list(self.stretch)} must rise from black to white, such as [0, 0.3]")
        return self

    def complete(self) -> dict[str, Any]:
        """All options as plain JSON values: part of the tile recipe."""
        stages = self.combination
        named = {name: getattr(stages, name) for name in ("proposer", "comparer", "identifier", "rule", "window")}
        return {**self.model_dump(mode="json"), **named, "beta": self.beta if self.beta == "otsu" else stages.beta}

    def _beta(self, base: Instantiation, comparer: str) -> float | None:
        """None: Otsu's threshold, or spectral's."""
        if self.beta == "otsu" or comparer == SPECTRAL:
            return None
        return next((beta for beta in (self.beta, base.beta) if beta is not None), BETA)
