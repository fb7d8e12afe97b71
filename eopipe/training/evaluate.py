"""How well mini answers: against the teacher's labels, in taught words, in words it never saw, and word by word.

The measure is the issue's: over the classes that make up at least a hundredth of a scene's pixels, by the teacher,
the mean of intersection over union; the share of equal labels of all pixels; both averaged over scenes.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from eopipe.kernels.ovss.mini_kernel import MixtureCosines
from eopipe.models.dynamicworld.net import load_dynamic_world
from eopipe.models.mini.net import ALIGN, NINE
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.mini.words import concept_vectors, embed, read
from eopipe.training.patches import air_above, dark_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from eopipe.models.mini.runner import MiniRunner
    from eopipe.training.scenes import SceneData

LEAST_SHARE = 0.01
"""Of a scene's pixels: classes below it are not counted in its mean."""
SIXTEEN = 16
"""Sides of a teacher's window are even, and those of mini's multiples of 8."""

assert SIXTEEN % ALIGN == 0


class Weighs(Protocol):
    """Concept weights ``[9, y, x]`` of a whole scene."""

    def __call__(self, scene: SceneData) -> NDArray[np.float32]:
        """The weights, over `seen` pixels."""
        ...


@dataclass(frozen=True)
class Figures:
    """Of one scene, or the mean over scenes.

    Args:
        accuracy: Share of equal labels.
        miou: Mean of ``ious``.
        ious: By concept key, of those with pixels enough.
    """

    accuracy: float
    miou: float
    ious: Mapping[str, float]


def inside(scene: SceneData) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """The scene cut to sides that both nets can take."""
    rows, cols = (side - side % SIXTEEN for side in scene.valid.shape)
    return scene.dn[:, :rows, :cols], scene.valid[:rows, :cols]


def teacher_weights(scene: SceneData) -> NDArray[np.float32]:
    """Dynamic World's class probabilities, from all nine bands."""
    dn, valid = inside(scene)
    return load_dynamic_world()(dn.astype(np.float32), valid)


@dataclass(frozen=True)
class Student:
    """mini as `Weighs`.

    Args:
        runner: The net.
        bands: What it sees.
        airless: What the darkest pixels keep in blue where the air is taken off first, reflectance * 10000; None
            leaves the scene as it is.
    """

    runner: MiniRunner
    bands: tuple[str, ...]
    airless: float | None = None

    def __call__(self, scene: SceneData) -> NDArray[np.float32]:
        """The net's weights."""
        dn, valid = inside(scene)
        ground = dn.astype(np.float32)
        if self.airless is not None:
            ground -= air_above(dark_of(scene), self.airless)[:, None, None]
        chosen = ground.clip(0)[[NINE.index(band) for band in self.bands]]
        return self.runner.concepts(chosen, valid, crop=0)


@dataclass(frozen=True)
class Space:
    """How concept weights become vectors.

    Args:
        vectors: ``[9, C]``, one a concept.
        sharpness: As `eopipe.kernels.ovss.mini_kernel.MixtureCosines`.
        queries: From phrases to ``[Q, C]``.
    """

    vectors: NDArray[np.float32]
    sharpness: float
    queries: Callable[[Sequence[str]], NDArray[np.float32]]

    @classmethod
    def shipped(cls, sharpness: float) -> Space:
        """mini's: directions fitted to the taught phrases, and phrases read through them."""
        return cls(concept_vectors(), sharpness, read)

    @classmethod
    def plain(cls) -> Space:
        """The baseline's: a concept's vector is its name's, and weights and phrases are taken as they are."""
        return cls(embed([concept.name for concept in CONCEPTS]), 1.0, embed)

    def labels(self, weights: NDArray[np.float32], phrases: Sequence[str]) -> NDArray[np.int64]:
        """The phrase of each pixel, from 0, by the largest cosine."""
        cosines = MixtureCosines(self.vectors, self.queries(phrases), sharpness=self.sharpness).cosines(
            torch.from_numpy(weights)
        )
        found: NDArray[np.int64] = cosines.argmax(dim=-1).numpy()
        return found


def compare(found: NDArray[np.int64], truth: NDArray[np.int64]) -> Figures:
    """Labels against the teacher's, both ``[pixels]`` of concepts from 0."""
    ious = {}
    for number, concept in enumerate(CONCEPTS):
        mine, theirs = found == number, truth == number
        if theirs.mean() >= LEAST_SHARE:
            ious[concept.key] = float((mine & theirs).sum() / (mine | theirs).sum())
    return Figures(float((found == truth).mean()), mean(ious.values()), ious)


def average(figures: Sequence[Figures]) -> Figures:
    """Means over scenes; a class's over the scenes that count it."""
    keys = [concept.key for concept in CONCEPTS if any(concept.key in one.ious for one in figures)]
    ious = {key: mean(one.ious[key] for one in figures if key in one.ious) for key in keys}
    return Figures(mean(one.accuracy for one in figures), mean(one.miou for one in figures), ious)


def judge(
    scenes: Sequence[SceneData], weighs: Weighs, *, wordings: Mapping[str, Sequence[str]], space: Space
) -> dict[str, Any]:
    """Figures of every wording, and of each word asked for by itself.

    Args:
        scenes: That were not learnt from.
        weighs: The net, or the baseline.
        wordings: Nine phrases each, one a concept, in order; the first is by literal names.
        space: What its weights mean.

    Returns:
        By wording: accuracy, mIoU, per class and per scene; and ``single``: precision and recall of each concept's
        name asked alone, where a pixel whose best taught name is another's is ``other``.
    """
    weights = {scene.name: weighs(scene) for scene in scenes}
    truth = {scene.name: teacher_weights(scene).argmax(axis=0) for scene in scenes}
    seen = {scene.name: inside(scene)[1] for scene in scenes}

    truth = {name: labels[seen[name]] for name, labels in truth.items()}

    def labelled(phrases: Sequence[str]) -> dict[str, NDArray[np.int64]]:
        return {name: space.labels(weights[name], phrases)[seen[name]] for name in weights}

    report: dict[str, Any] = {}
    for wording, phrases in wordings.items():
        found = labelled(phrases)
        each = {name: compare(found[name], truth[name]) for name in weights}
        report[wording] = _document(average(list(each.values()))) | {
            "scenes": {name: _document(one) for name, one in each.items()}
        }
    alone = labelled(next(iter(wordings.values())))
    report["single"] = _single(np.concatenate(list(alone.values())), np.concatenate(list(truth.values())))
    return report


def _single(found: NDArray[np.int64], truth: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """Precision and recall of each concept over the pixels of all scenes."""
    report = {}
    for number, concept in enumerate(CONCEPTS):
        mine, theirs = found == number, truth == number
        if theirs.any():
            both = int((mine & theirs).sum())
            report[concept.key] = {
                "precision": round(both / max(1, int(mine.sum())), 4),
                "recall": round(both / int(theirs.sum()), 4),
                "share": round(float(theirs.mean()), 4),
            }
    return report


def _document(figures: Figures) -> dict[str, Any]:
    return {
        "accuracy": round(figures.accuracy, 4),
        "miou": round(figures.miou, 4),
        "iou": {key: round(value, 4) for key, value in figures.ious.items()},
    }
