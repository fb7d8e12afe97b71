"""Identifiers by name: SegEarth-OV with any tower of words, Dynamic World, mini, or none (spec 03 §1.3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from eopipe.errors import SpecError
from eopipe.kernels.change.dynamicearth.combinations import DYNAMIC_WORLD, MINI, NONE, SEGEARTH_OV
from eopipe.kernels.change.dynamicearth.fitting import BACKGROUND
from eopipe.kernels.change.prompt_classes import meaning
from eopipe.kernels.change.stages.identify import embedded
from eopipe.kernels.change.stages.preprocess import identifier_picture
from eopipe.kernels.change.stages.rgb import RGB
from eopipe.kernels.change.stages.unloaded import Part, asking
from eopipe.kernels.ovss.class_scores import class_scores
from eopipe.kernels.ovss.model import OvssModel
from eopipe.kernels.ovss.options import OvssOptions
from eopipe.kernels.ovss.segmentor import segment_image
from eopipe.models.foundation.resolve import is_foundation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from eopipe.kernels.change.dynamicearth.options import StageOptions
    from eopipe.kernels.change.stages.protocols import Identifier, Pair
    from eopipe.kernels.change.stages.rgb import Sight
    from eopipe.kernels.ovss.segmentor import Segmentor


def identifier_part(name: str, options: StageOptions) -> Part[Identifier]:
    """An identifier by the name that a spec gives it.

    Args:
        name: ``dynamic-world``, ``mini``, ``none``, or a model of words.
        options: What is asked for.

    Raises:
        SpecError: It names nothing.
        WeightsError: There is no such model, or its files are not here.
    """
    if name == NONE:
        return Part((), _load_none, _no_memory, provenance={"identifier": None})
    if name == DYNAMIC_WORLD:
        return embedded.dynamic_world_identifier(meaning(options.prompts, options.teacher_classes))
    if name == MINI:
        return embedded.mini_identifier(options.prompts)
    if is_foundation(name):
        raise SpecError(f"kernel.identifier: {name} knows no words; name such as ViT-B-16/openai, mini or none")
    return _words(name, options)


@dataclass(frozen=True)
class Everything:
    """No identifier: every place is of the one class that was asked for, so that every change counts."""

    def __call__(self, pair: Pair, date: int) -> NDArray[np.float32]:  # noqa: ARG002  (whatever the date)
        """``[2, H, W]``: nothing is background."""
        found = np.zeros((2, *pair.shape), np.float32)
        found[1] = 1
        return found


@dataclass(frozen=True, eq=False)
class SegEarthIdentifier:
    """SegEarth-OV on the whole picture, brought to a square."""

    segmentor: Segmentor
    sight: Sight
    query_class: tuple[int, ...]
    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, pair: Pair, date: int) -> NDArray[np.float32]:
        """``[1 + prompts, size, size]``."""
        picture = identifier_picture(self.sight.picture(pair, date), size=self.size, mean=self.mean, std=self.std)
        logits = segment_image(
            self.segmentor, picture.to(self.segmentor.text.device), crop=SEGEARTH_OV.crop,
            stride=SEGEARTH_OV.stride, size=(self.size, self.size),
        )  # fmt: skip
        scores = class_scores(logits.permute(1, 2, 0), self.query_class, SEGEARTH_OV.scale)
        return np.ascontiguousarray(scores.permute(2, 0, 1).cpu().numpy())


def _words(name: str, options: StageOptions) -> Part[Identifier]:
    with asking(name):
        asked = OvssOptions(
            model=name,
            prompts=((BACKGROUND, options.background), *options.prompts),
            upsampler=options.upsampler,
            upsampler_checkpoint=options.upsampler_checkpoint,
            bias=SEGEARTH_OV.bias,
            scale=SEGEARTH_OV.scale,
        )
    model = OvssModel.resolve(asked)
    places = tuple({"model": "identifier", "checkpoint": ""}.get(place, place) for place in model.places)
    return Part(
        RGB, partial(_load_words, model, options.resize), partial(_words_memory, model, options.resize),
        model.weights, {"identifier": model.provenance}, model.notes, tuple(place for place in places if place),
    )  # fmt: skip


def _load_words(model: OvssModel, size: int, sight: Sight, *, device: str, threads: int) -> SegEarthIdentifier:
    entry = model.clip.entry
    return SegEarthIdentifier(
        model.load(device=device, threads=threads), sight, tuple(model.options.vocabulary.query_class), size,
        entry.mean, entry.std,
    )  # fmt: skip


def _load_none(sight: Sight, *, device: str, threads: int) -> Everything:  # noqa: ARG001  (a part's)
    return Everything()


def _no_memory(side: int) -> int:
    return 8 * side * side


_TOKEN_COLUMNS = 16


def _words_memory(model: OvssModel, size: int, side: int) -> int:
    """Four windows at once: the tower, the upsampler, and the square's logits, twice."""
    queries, patch = len(model.text), model.clip.entry.patch
    tokens = 4 * ((SEGEARTH_OV.crop // patch) ** 2 + 1)
    tower = 4 * tokens * _TOKEN_COLUMNS * model.clip.architecture.image.width
    upsampling = model.upsampling_memory(4, SEGEARTH_OV.crop)
    return int(tower + upsampling + 4 * 3 * queries * size * size + 16 * side * side)
