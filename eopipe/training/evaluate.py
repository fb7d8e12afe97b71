"""How well mini agrees with its teacher: in taught words, in words that were never taught, and word by word.

Two scores, averaged over scenes: the mean intersection over union of the classes that make up at least a hundredth of
the scene's pixels by the teacher, and the share of pixels with equal labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from eopipe.evaluation.metrics import Confusion
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
"""Least share of a scene's pixels of a class that is counted in the scene's mean."""
SIDE_MULTIPLE = 16
"""The teacher's windows have even sides, mini's have multiples of 8."""

assert SIDE_MULTIPLE % ALIGN == 0


class ConceptModel(Protocol):
    """A model of concept weights, over the pixels of `inside`."""

    def __call__(self, scene: SceneData) -> NDArray[np.float32]:
        """Weights ``[9, y, x]``."""


@dataclass(frozen=True)
class Scores:
    """Agreement with the teacher on one scene, or the mean over scenes.

    Args:
        accuracy: Share of equal labels.
        miou: Mean of ``ious``.
        ious: Intersection over union by concept key, of the classes that are counted.
    """

    accuracy: float
    miou: float
    ious: Mapping[str, float]

    def document(self) -> dict[str, Any]:
        """As plain JSON, four digits."""
        iou = {key: round(value, 4) for key, value in self.ious.items()}
        return {"accuracy": round(self.accuracy, 4), "miou": round(self.miou, 4), "iou": iou}


def inside(scene: SceneData) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Reflectance and validity of a scene, cut to sides that both nets accept."""
    rows, cols = (side - side % SIDE_MULTIPLE for side in scene.valid.shape)
    return scene.dn[:, :rows, :cols], scene.valid[:rows, :cols]


def teacher_weights(scene: SceneData) -> NDArray[np.float32]:
    """Dynamic World's class probabilities, from all nine bands."""
    dn, valid = inside(scene)
    return load_dynamic_world()(dn.astype(np.float32), valid)


@dataclass(frozen=True)
class MiniModel:
    """mini as a `ConceptModel`.

    Args:
        runner: The net.
        bands: Its input bands.
        airless: Blue reflectance * 10000 that the darkest pixels keep when path radiance is subtracted first; None:
            nothing is subtracted.
    """

    runner: MiniRunner
    bands: tuple[str, ...]
    airless: float | None = None

    def __call__(self, scene: SceneData) -> NDArray[np.float32]:
        """The concept weights of the net."""
        dn, valid = inside(scene)
        ground = dn.astype(np.float32)
        if self.airless is not None:
            ground -= air_above(dark_of(scene), self.airless)[:, None, None]
        chosen = ground.clip(0)[[NINE.index(band) for band in self.bands]]
        return self.runner.concepts(chosen, valid, crop=0)


@dataclass(frozen=True)
class Space:
    """Vectors of concepts and of phrases, by which concept weights become labels.

    Args:
        vectors: ``[9, C]``, one a concept.
        sharpness: See `eopipe.kernels.ovss.mini_kernel.MixtureCosines`.
        queries: The vectors ``[Q, C]`` of phrases.
    """

    vectors: NDArray[np.float32]
    sharpness: float
    queries: Callable[[Sequence[str]], NDArray[np.float32]]

    @classmethod
    def shipped(cls, sharpness: float) -> Space:
        """The space of mini: directions fitted to the taught phrases, and phrases projected on them."""
        return cls(concept_vectors(), sharpness, read)

    @classmethod
    def plain(cls) -> Space:
        """The space of the baseline: concepts and phrases by their sentence embeddings."""
        return cls(embed([concept.name for concept in CONCEPTS]), 1.0, embed)

    def labels(self, weights: NDArray[np.float32], phrases: Sequence[str]) -> NDArray[np.int64]:
        """The number of the phrase with the largest cosine, ``[y, x]``."""
        mixing = MixtureCosines(self.vectors, self.queries(phrases), sharpness=self.sharpness)
        return mixing.cosines(torch.from_numpy(weights)).argmax(dim=-1).numpy()


def compare(counts: Confusion) -> Scores:
    """Scores of the counts of a scene's labels against the teacher's."""
    shares, iou = counts.truth / counts.pixels, counts.iou
    ious = {concept.key: float(iou[n]) for n, concept in enumerate(CONCEPTS) if shares[n] >= LEAST_SHARE}
    return Scores(counts.accuracy, mean(ious.values()), ious)


def average(scores: Sequence[Scores]) -> Scores:
    """Means over scenes; the IoU of a class over the scenes that count it."""
    keys = [concept.key for concept in CONCEPTS if any(concept.key in scene.ious for scene in scores)]
    ious = {key: mean(scene.ious[key] for scene in scores if key in scene.ious) for key in keys}
    return Scores(mean(scene.accuracy for scene in scores), mean(scene.miou for scene in scores), ious)


def judge(
    scenes: Sequence[SceneData], model: ConceptModel, *, wordings: Mapping[str, Sequence[str]], space: Space
) -> dict[str, Any]:
    """Scores with every wording of the concepts, and of each concept by itself.

    Args:
        scenes: Scenes that were not learnt from.
        model: The net, or the baseline.
        wordings: Nine phrases each, one a concept, in order; the first wording is the concepts' names.
        space: Vectors of the concepts and of phrases.

    Returns:
        By wording: accuracy, mIoU, IoU of each class, and the same of each scene; and ``single``: precision and
        recall of each concept by its name, where pixels with another best name count as ``other``.
    """
    valid = {scene.name: inside(scene)[1] for scene in scenes}
    weights = {scene.name: model(scene) for scene in scenes}
    truth = {scene.name: teacher_weights(scene).argmax(axis=0)[valid[scene.name]] for scene in scenes}
    counts = {
        wording: {
            name: Confusion.of(truth[name], space.labels(weights[name], phrases)[mask], classes=len(CONCEPTS))
            for name, mask in valid.items()
        }
        for wording, phrases in wordings.items()
    }
    report: dict[str, Any] = {}
    for wording, by_scene in counts.items():
        scores = {name: compare(scene) for name, scene in by_scene.items()}
        scenes_report = {"scenes": {name: scene.document() for name, scene in scores.items()}}
        report[wording] = average(list(scores.values())).document() | scenes_report
    by_name = next(iter(counts.values())).values()
    report["single"] = _single(sum(by_name, Confusion.empty(len(CONCEPTS))))
    return report


def _single(counts: Confusion) -> dict[str, dict[str, float]]:
    """Precision and recall of each concept over the pixels of all scenes."""
    hits, true, predicted = counts.hits, counts.truth, counts.predicted
    return {
        concept.key: {
            "precision": round(int(hits[n]) / max(1, int(predicted[n])), 4),
            "recall": round(int(hits[n]) / int(true[n]), 4),
            "share": round(int(true[n]) / counts.pixels, 4),
        }
        for n, concept in enumerate(CONCEPTS)
        if true[n]
    }
