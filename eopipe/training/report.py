"""The figures of a training: kept beside its weights, and told in a few lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eopipe.models.checkpoints import open_checkpoint
from eopipe.models.mini.phrases import CONCEPTS
from eopipe.models.mini.runner import MiniRunner
from eopipe.models.registry import mini_entry
from eopipe.training.evaluate import Space, Student, judge, teacher_weights
from eopipe.training.heldout import CLOSE
from eopipe.training.scenes import load_scenes, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.training.mini import Training


AIRLESS = 200.0
"""What the darkest pixels keep in blue in the second figure, reflectance * 10000: as in surface reflectance."""


def wordings() -> dict[str, Sequence[str]]:
    """Nine phrases each: the taught names, and as many rounds of words never taught as there are."""
    rounds = min(len(words) for words in CLOSE.values())
    unseen = {f"unseen {n + 1}": [CLOSE[concept.key][n] for concept in CONCEPTS] for n in range(rounds)}
    return {"names": [concept.name for concept in CONCEPTS], **unseen}


def report(asked: Training) -> dict[str, Any]:
    """Judge what was trained on the scenes that were left out, beside the baseline that needs no training.

    Returns:
        ``mini``, the same with the air taken off, and ``baseline``, each as `eopipe.training.evaluate.judge`; also
        written as ``figures.json``.
    """
    entry = mini_entry(asked.recipe.bands)
    scenes = load_scenes(asked.source, asked.out / "scenes", asked.told)
    _, out = split(scenes, asked.leave_out)
    state = {name: tensor.float() for name, tensor in open_checkpoint(asked.weights).items()}
    runner, space = MiniRunner(entry, state), Space.shipped(entry.sharpness)
    figures = {
        "mini": judge(out, Student(runner, entry.bands), wordings=wordings(), space=space),
        "mini, air taken off": judge(out, Student(runner, entry.bands, AIRLESS), wordings=wordings(), space=space),
        "baseline": judge(out, teacher_weights, wordings=wordings(), space=Space.plain()),
    }
    part = asked.out / "figures.part"
    part.write_text(json.dumps(figures, indent=1))
    part.replace(asked.out / "figures.json")
    return figures


def lines(figures: dict[str, Any]) -> list[str]:
    """For people."""
    told = []
    for who, found in figures.items():
        unseen = [value for name, value in found.items() if name.startswith("unseen")]
        names = found["names"]
        told.append(f"{who}: accuracy {names['accuracy']:.3f}, mIoU {names['miou']:.3f} by name")
        accuracy, miou = (sum(one[key] for one in unseen) / len(unseen) for key in ("accuracy", "miou"))
        told.append(f"{who}: accuracy {accuracy:.3f}, mIoU {miou:.3f} in words never taught, {len(unseen)} rounds")
        told.append("  ".join(f"{key} {value:.2f}" for key, value in names["iou"].items()))
    return told
