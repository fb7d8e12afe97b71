"""``eopipe train mini``: the weights that ship, from a STAC collection of Sentinel-2 scenes."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from safetensors.torch import save

from eopipe.errors import SpecError, WeightsError
from eopipe.evaluation.results_folder import writing
from eopipe.evaluation.run import ProgressDisplay
from eopipe.training.patches import Batch, Patches
from eopipe.training.scenes import load_scenes, replacing, split
from eopipe.training.trainer import Student

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from eopipe.training.scenes import SceneData
    from eopipe.training.trainer import Recipe

CHECKPOINT_EVERY = 100
"""Steps between checkpoints, about a minute."""
SCENES = "scenes.json"
"""File with the names of the scenes that the checkpoint learns from, and of those that are left out."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """The arguments of a training.

    Args:
        source: ``collection.json`` of nine-band Sentinel-2 scenes.
        out: Folder of scenes, checkpoint and weights; the same folder again resumes.
        recipe: The hyperparameters.
        leave_out: Words; scenes whose name contains one are not learnt from.
        display: Shows scenes, steps and losses.
    """

    source: Path
    out: Path
    recipe: Recipe
    leave_out: tuple[str, ...] = ()
    display: ProgressDisplay = field(default_factory=lambda: ProgressDisplay("steps"))

    @property
    def weights(self) -> Path:
        """Path of the weights."""
        return self.out / "weights.safetensors"


def train(training: Training) -> dict[str, Any]:
    """Train, or resume.

    Returns:
        Steps, seconds of this call, the last losses, and the path of the weights.

    Raises:
        SpecError: The source or the folder cannot be used.
        OutputError: The checkpoint or the weights cannot be written.
        WeightsError: The folder holds a checkpoint of another recipe or of other scenes, or a damaged one.
    """
    out, recipe = training.out, training.recipe
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"--out {out}: {error.strerror}; give a folder that can be written") from None
    scenes, left_out = split(load_scenes(training.source, out / "scenes", training.display.note), training.leave_out)
    names = {"scenes": [scene.name for scene in scenes], "left_out": [scene.name for scene in left_out]}
    student = Student(recipe, scenes)
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        _check_scenes(out / SCENES, checkpoint, names)
        student.load(checkpoint)
        training.display.note(f"resumed at step {student.step} of {recipe.steps}")
    with writing(out / SCENES):
        (out / SCENES).write_text(json.dumps(names, indent=1))
    training.display.start(total=recipe.steps, done=student.step)
    begun, first = time.perf_counter(), student.step
    losses: dict[str, float] = {}
    for batch in _batches(recipe, scenes, student.step):
        losses = student.learn(batch)
        training.display.advance("  ".join(f"{name} {value:.4f}" for name, value in losses.items()))
        if student.step % CHECKPOINT_EVERY == 0 or student.step == recipe.steps:
            student.save(checkpoint)
    metadata = {"recipe": recipe.document(), **names}
    with replacing(training.weights) as partial:
        partial.write_bytes(save(student.shipped(), {key: json.dumps(value) for key, value in metadata.items()}))
    return {
        "weights": str(training.weights),
        "steps": student.step,
        "scenes": len(scenes),
        "left_out": names["left_out"],
        "seconds": round(time.perf_counter() - begun, 1),
        "seconds_a_step": round((time.perf_counter() - begun) / max(1, student.step - first), 3),
        "losses": {name: round(value, 5) for name, value in losses.items()},
    }


def _check_scenes(path: Path, checkpoint: Path, names: dict[str, list[str]]) -> None:
    """Refuse to resume with other scenes: a scene that was learnt from must not be judged.

    Raises:
        WeightsError: The checkpoint learnt from other scenes.
    """
    try:
        before = json.loads(path.read_text())
    except FileNotFoundError:  # of a training before this file was introduced
        return
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}, the scenes of {checkpoint}, cannot be read ({error}); delete both") from None
    if before != names:
        then = ", ".join(before.get("left_out", [])) or "none" if isinstance(before, dict) else "unknown"
        raise WeightsError(
            f"{checkpoint} learnt from other scenes (left out then: {then}; now: "
            f"{', '.join(names['left_out']) or 'none'}); give another --out, or delete it"
        )


def _batches(recipe: Recipe, scenes: Sequence[SceneData], first: int) -> Iterator[Batch]:
    """The batches from a step on; the next one is drawn and answered by the teacher while the last is learnt from."""
    patches = Patches(scenes, seed=recipe.seed, size=recipe.size, side=recipe.side)

    def draw(step: int) -> Batch:
        return patches.draw(step, answered=step >= recipe.alone)

    with ThreadPoolExecutor(1) as ahead:
        upcoming = ahead.submit(draw, first) if first < recipe.steps else None
        for step in range(first, recipe.steps):
            assert upcoming is not None
            batch = upcoming.result()
            upcoming = ahead.submit(draw, step + 1) if step + 1 < recipe.steps else None
            yield batch
