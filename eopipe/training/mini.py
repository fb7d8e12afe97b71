"""``eopipe train mini``: from a STAC collection of Sentinel-2 scenes to the weights that ship."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from safetensors.torch import save

from eopipe.errors import OutputError, SpecError, WeightsError
from eopipe.training.patches import Batch, Patches
from eopipe.training.scenes import load_scenes, split, writing
from eopipe.training.trainer import Student

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from eopipe.training.hyperparameters import Recipe
    from eopipe.training.scenes import SceneData

KEEP_EVERY = 100
"""Steps between checkpoints: a minute of work, at most, is done again."""
SCENES = "scenes.json"
"""Which scenes the checkpoint learns from, and which it does not."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """What was asked for.

    Args:
        source: ``collection.json`` of nine-band Sentinel-2 scenes.
        out: Folder of scenes, checkpoint, log and weights; the same folder again resumes.
        recipe: How.
        leave_out: Words; scenes whose name holds one are not learnt from.
    """

    source: Path
    out: Path
    recipe: Recipe
    leave_out: tuple[str, ...] = ()
    told: Callable[[str], None] = field(default=print)
    stepped: Callable[[int, dict[str, float]], None] = field(default=lambda _step, _losses: None)

    @property
    def weights(self) -> Path:
        """Where the weights go."""
        return self.out / "weights.safetensors"


def train(asked: Training) -> dict[str, Any]:
    """Train, or go on.

    Returns:
        Steps, seconds of this call, the last losses, and where the weights are.

    Raises:
        SpecError: The source or the folder cannot be used.
        OutputError: What was learnt cannot be written.
        WeightsError: The folder holds a checkpoint of another recipe or of other scenes, or a damaged one.
    """
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SpecError(f"--out {asked.out}: {error.strerror}; give a folder that can be written") from None
    scenes, left = split(load_scenes(asked.source, asked.out / "scenes", asked.told), asked.leave_out)
    student = Student(asked.recipe, scenes)
    kept = asked.out / "checkpoint.pt"
    if kept.exists():
        _same_scenes(asked, kept, scenes, left)
        student.load(kept)
        asked.told(f"resumed at step {student.step} of {asked.recipe.steps}")
    with writing(asked.out / SCENES):
        (asked.out / SCENES).write_text(json.dumps(_names(scenes, left), indent=1))
    begun, first = time.perf_counter(), student.step
    losses: dict[str, float] = {}
    for batch in _batches(asked.recipe, scenes, student.step):
        losses = student.learn(batch)
        asked.stepped(student.step, losses)
        if student.step % KEEP_EVERY == 0 or student.step == asked.recipe.steps:
            _keep(student, kept)
    _write(asked, student, scenes, left)
    return {
        "weights": str(asked.weights),
        "steps": student.step,
        "scenes": len(scenes),
        "left_out": [scene.name for scene in left],
        "seconds": round(time.perf_counter() - begun, 1),
        "seconds_a_step": round((time.perf_counter() - begun) / max(1, student.step - first), 3),
        "losses": {name: round(value, 5) for name, value in losses.items()},
    }


def _names(scenes: Sequence[SceneData], left: Sequence[SceneData]) -> dict[str, list[str]]:
    return {"scenes": [scene.name for scene in scenes], "left_out": [scene.name for scene in left]}


def _same_scenes(asked: Training, kept: Path, scenes: Sequence[SceneData], left: Sequence[SceneData]) -> None:
    """What learnt from a scene must not be judged on it: a checkpoint goes on with the scenes it began with.

    Raises:
        WeightsError: They are others.
    """
    try:
        before = json.loads((asked.out / SCENES).read_text())
    except FileNotFoundError:  # an older training, which kept no list
        return
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{asked.out / SCENES}, the scenes of {kept}, cannot be read ({error}); delete both to begin anew"
        ) from None
    if before != _names(scenes, left):
        then = ", ".join(before.get("left_out", [])) or "none" if isinstance(before, dict) else "unknown"
        raise WeightsError(
            f"{kept} learnt from other scenes (left out then: {then}; now: "
            f"{', '.join(scene.name for scene in left) or 'none'}); give another --out, or delete it"
        )


def _keep(student: Student, kept: Path) -> None:
    try:
        with writing(kept):
            student.save(kept)
    except RuntimeError as error:  # torch's, of a full disk
        said = " ".join(str(error).split())[:200]
        raise OutputError(f"{kept} cannot be written ({said}); make room: the same command resumes") from None


def _batches(recipe: Recipe, scenes: Sequence[SceneData], first: int) -> Iterator[Batch]:
    """The batches that are left; the next one is drawn, and the teacher asked, while one is learnt from."""
    patches = Patches(scenes, seed=recipe.seed, size=recipe.size, side=recipe.side)

    def draw(step: int) -> Batch:
        return patches.draw(step, answered=step >= recipe.alone)

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(draw, first) if first < recipe.steps else None
        for step in range(first, recipe.steps):
            assert coming is not None
            batch = coming.result()
            coming = ahead.submit(draw, step + 1) if step + 1 < recipe.steps else None
            yield batch


def _write(asked: Training, student: Student, scenes: Sequence[SceneData], left: Sequence[SceneData]) -> None:
    """The weights, with how they were made in their header; whole or not at all."""
    metadata = {
        "recipe": json.dumps(asked.recipe.document()),
        "scenes": json.dumps([scene.name for scene in scenes]),
        "left_out": json.dumps([scene.name for scene in left]),
    }
    part = asked.weights.with_suffix(".part")
    with writing(asked.weights):
        part.write_bytes(save(student.shipped(), metadata=metadata))
        part.replace(asked.weights)
