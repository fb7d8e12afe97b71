"""The scores of a training: a file beside its weights, and lines for people."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eopipe.models.checkpoints import open_checkpoint
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.mini.runner import MiniRunner
from eopipe.models.registry import mini_entry
from eopipe.training.evaluate import MiniModel, Space, judge, teacher_weights
from eopipe.training.heldout import CLOSE
from eopipe.training.scenes import load_scenes, replacing, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.training.evaluate import ConceptModel
    from eopipe.training.mini import Training


AIRLESS = 200.0
"""Blue reflectance * 10000 of the darkest pixels in the second score, as in surface reflectance."""


def wordings() -> dict[str, Sequence[str]]:
    """Nine phrases each: the taught names, and all rounds of words that were never taught."""
    rounds = min(len(words) for words in CLOSE.values())
    unseen = {f"unseen {n + 1}": [CLOSE[concept.key][n] for concept in CONCEPTS] for n in range(rounds)}
    return {"names": [concept.name for concept in CONCEPTS], **unseen}


def report(training: Training) -> dict[str, Any]:
    """Judge the trained net on the scenes that were left out, beside the baseline that needs no training.

    Returns:
        ``mini``, the same with path radiance subtracted, and ``baseline``, each as `eopipe.training.evaluate.judge`;
        also written as ``figures.json``.

    Raises:
        OutputError: It cannot be written.
    """
    entry = mini_entry(training.recipe.bands)
    _, scenes = split(
        load_scenes(training.source, training.out / "scenes", training.display.note), training.leave_out
    )
    state = {name: tensor.float() for name, tensor in open_checkpoint(training.weights).items()}
    runner, shipped = MiniRunner(entry, state), Space.shipped(entry.sharpness)
    models: dict[str, tuple[ConceptModel, Space]] = {
        "mini": (MiniModel(runner, entry.bands), shipped),
        "mini, air taken off": (MiniModel(runner, entry.bands, AIRLESS), shipped),
        "baseline": (teacher_weights, Space.plain()),
    }
    scores = {name: judge(scenes, model, wordings=wordings(), space=space) for name, (model, space) in models.items()}
    with replacing(training.out / "figures.json") as partial:
        partial.write_text(json.dumps(scores, indent=1))
    return scores


def lines(scores: dict[str, Any]) -> list[str]:
    """The scores for people."""
    texts = []
    for model, by_wording in scores.items():
        unseen = [score for wording, score in by_wording.items() if wording.startswith("unseen")]
        names = by_wording["names"]
        texts.append(f"{model}: accuracy {names['accuracy']:.3f}, mIoU {names['miou']:.3f} by name")
        accuracy, miou = (sum(score[key] for score in unseen) / len(unseen) for key in ("accuracy", "miou"))
        texts.append(f"{model}: accuracy {accuracy:.3f}, mIoU {miou:.3f} in words never taught, {len(unseen)} rounds")
        texts.append("  ".join(f"{key} {value:.2f}" for key, value in names["iou"].items()))
    return texts
