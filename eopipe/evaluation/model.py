"""Open-vocabulary segmentation of 8-bit pictures, with the settings of a card or with options of the user."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from pydantic import ValidationError

from eopipe.errors import SpecError
from eopipe.evaluation.cards import COMPARED, parse_classes
from eopipe.evaluation.preprocess import benchmark_input, demo_input
from eopipe.kernels.ovss.class_scores import classify
from eopipe.kernels.ovss.model import OvssModel
from eopipe.kernels.ovss.options import OvssOptions
from eopipe.kernels.ovss.segmentor import segment_image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from eopipe.evaluation.cards import DatasetCard

ROWS = 512
"""Rows of a large picture that are classified at once."""

DECIDING = (
    "name", "classes", "background", "crop", "stride", "reduce_zero", "binarise", "colours", "patch", "patch_stride",
    "patch_pad",
)  # fmt: skip
"""Fields of a card that decide how an image is judged and that the options do not hold."""

SHARED = ("model", "attention", "last_layers", "upsampler", "bias", "threshold")
"""Options of the kernel that a card sets."""


@dataclass(frozen=True)
class EvaluationPlan:
    """The settings of an evaluation on a card's data set.

    Args:
        card: The data set.
        options: OvssOptions of the ``ovss`` kernel.
        resize: Long side of the picture that the model sees, pixels.
        preprocess: See `eopipe.evaluation.preprocess`.
    """

    card: DatasetCard
    options: OvssOptions
    resize: int
    preprocess: Literal["benchmark", "demo"]

    def compared(self) -> dict[str, Any]:
        """The settings by which published figures differ."""
        return {name: self.resize if name == "resize" else getattr(self.options, name) for name in COMPARED}

    def differences(self) -> list[str]:
        """Settings that are not the card's, such as ``attention ClearCLIP (card: SegEarth)``."""
        settings = [(name, getattr(self.options, name), getattr(self.card, name)) for name in SHARED]
        settings += [
            ("resize", self.resize, self.card.resize),
            ("preprocess", self.preprocess, "benchmark"),
            ("scale", self.options.scale, OvssOptions.model_fields["scale"].default),
            ("templates", self.options.templates, "imagenet"),
            ("ignore-residual", self.options.ignore_residual, True),
        ]
        texts = [
            f"{name.replace('_', '-')} {value} (card: {default})"
            for name, value, default in settings
            if value != default
        ]
        if self.options.vocabulary.synonyms != self.card.synonyms:
            texts.append("prompts of your own")
        return texts

    def identity(self) -> dict[str, Any]:
        """Everything that decides a prediction and how it is judged, as plain JSON."""
        return {
            "card": {name: value for name, value in asdict(self.card).items() if name in DECIDING},
            "options": self.options.complete(),
            "resize": self.resize,
            "preprocess": self.preprocess,
        }


def make_plan(
    card: DatasetCard, overrides: Mapping[str, Any], *, prompts: Path | None, resize: int | None, demo: bool
) -> EvaluationPlan:
    """A card's settings, with options of the user in their place.

    Args:
        card: The data set.
        overrides: Kernel options by name; None means the card's.
        prompts: A class file: a line a class, synonyms between commas; None: the card's words.
        resize: Long side; None: the card's.
        demo: Whether pictures are prepared as in the authors' demonstration.

    Raises:
        SpecError: An option has a bad value, or the class file does not fit the card.
    """
    words = _words(card, prompts)
    options = {name: getattr(card, name) for name in SHARED}
    options |= {name: value for name, value in overrides.items() if value is not None}
    named = tuple((group[0], group) for group in words)
    if options.get("precision") == "auto":
        raise SpecError("--precision auto is measured for runs on a cluster; choose float32 or bfloat16")
    try:
        validated = OvssOptions(**options, prompts=named, background=named[card.background][0])
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + ".".join(map(str, first["loc"])).replace("_", "-")
        problem = str(first["msg"]).removeprefix("Value error, ")
        raise SpecError(f"{option}: {first.get('input')!r} is not valid: {problem}") from None
    return EvaluationPlan(card, validated, resize or card.resize, "demo" if demo else "benchmark")


class OvssPredictor:
    """Open-vocabulary segmentation by the published protocol (arXiv 2410.01768, 2508.18067).

    Weights are looked up, checked and loaded when it is created.

    Args:
        plan: The settings.
        device: ``cpu`` or ``cuda``.
        threads: Threads of the upsampler on a CPU.

    Raises:
        WeightsError: Weights are missing, wrong or unsafe; the message says which file goes where.
    """

    def __init__(self, plan: EvaluationPlan, *, device: str, threads: int) -> None:
        assert plan.options.precision != "auto", "refused by make_plan"
        model = OvssModel.resolve(plan.options)
        self._plan, self._device = plan, device
        self._segmentor = model.load(device=device, threads=threads)
        self._mean, self._std = model.clip.entry.mean, model.clip.entry.std
        self.weights = model.weights
        self.provenance = model.provenance
        self.notes = list(model.notes)

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Classes ``[H, W]`` of a picture ``[H, W, 3]``, red first."""
        plan, card = self._plan, self._plan.card
        if plan.preprocess == "demo":
            image = demo_input(picture, side=plan.resize, mean=self._mean, std=self._std)
        else:
            image = benchmark_input(picture, long_side=plan.resize, mean=self._mean, std=self._std)
        logits = segment_image(
            self._segmentor, image.to(self._device), crop=card.crop, stride=card.stride, size=picture.shape[:2]
        )
        labels = [
            classify(
                logits[:, top : top + ROWS],
                plan.options.vocabulary.query_class,
                scale=plan.options.scale,
                threshold=plan.options.threshold,
                background=card.background,
            )[0]
            for top in range(0, picture.shape[0], ROWS)
        ]
        return np.asarray(torch.cat(labels).to("cpu", torch.uint8))


def _words(card: DatasetCard, prompts: Path | None) -> tuple[tuple[str, ...], ...]:
    if prompts is None:
        return card.synonyms
    try:
        words = parse_classes(prompts.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"--prompts {prompts} cannot be read ({error}); give a text file, one class a line") from None
    if len(words) != len(card.names) or not all(word for group in words for word in group):
        raise SpecError(
            f"--prompts {prompts} has {len(words)} classes, and {card.name} has {len(card.names)}"
            f" ({', '.join(card.names)}); write one line for each, in this order, synonyms between commas"
        )
    return words
