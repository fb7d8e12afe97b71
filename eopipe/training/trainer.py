"""The training of mini: its hyperparameters, its losses, and the student with its steps and checkpoints."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch.nn import functional

from eopipe.errors import OutputError, WeightsError
from eopipe.evaluation.read_images import error_text
from eopipe.models.dynamicworld.net import NORM_EPSILON, DynamicWorld, normalise
from eopipe.models.mini.net import NINE, Mini, fold
from eopipe.models.registry import DYNAMIC_WORLD
from eopipe.models.weights import load_arrays
from eopipe.training.scenes import replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from eopipe.training.patches import Batch
    from eopipe.training.scenes import SceneData

WARM_UP = 100
"""Number of steps in which the learning rate rises."""

FOUR_BANDS = ("blue", "green", "red", "nir")
TRUE_COLOUR = ("blue", "green", "red")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The hyperparameters of a training.

    Args:
        bands: Input bands of the student.
        seed: Seed of all random numbers.
        alone: Steps in which only the imputer learns, to predict the missing bands.
        joint: Steps in which imputer and trunk learn the teacher's answers together.
        size: Patches a step.
        side: Side of a patch, pixels.
        rate: Peak learning rate of the imputer; half of it in the joint steps.
        trunk_rate: Peak learning rate of the trunk, which starts from the teacher's weights.
        decay: Weight decay.
        bands_weight: Weight of the imputed bands' mean square error, beside the divergence from the teacher.
        embedding_weight: Weight of one minus the cosine with the teacher's embeddings; in every second step.
        average: Decay of the weights' running mean, which is what ships.
        precision: Number type of the matrix products.
    """

    bands: tuple[str, ...] = FOUR_BANDS
    seed: int = 0
    alone: int = 1500
    joint: int = 700
    size: int = 8
    side: int = 128
    rate: float = 2e-3
    trunk_rate: float = 2e-4
    decay: float = 1e-3
    bands_weight: float = 20.0
    embedding_weight: float = 1.0
    average: float = 0.995
    precision: Literal["float32", "bfloat16"] = "float32"

    @property
    def steps(self) -> int:
        """Number of all steps."""
        return self.alone + self.joint

    def document(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self) | {"bands": list(self.bands)}


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of ``[n, y, x]`` where valid."""
    return (values * valid).sum() / valid.sum().clamp_min(1)


def divergence(logits: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student's probabilities from the teacher's.

    Args:
        logits: Of the student, ``[n, 9, y, x]``.
        teacher: Probabilities of the teacher, ``[n, 9, y, x]``.
        valid: ``[n, y, x]``.
    """
    log = torch.log_softmax(logits, dim=1)
    return masked_mean((teacher * (teacher.clamp_min(1e-6).log() - log)).sum(dim=1), valid)


def one_in_four(features: Tensor, down: int, right: int) -> Tensor:
    """Every second row and column of features upsampled by two, without computing the others.

    A pixel of the fine grid lies at a quarter of the distance between two of the coarse one. The four fine pixels of
    a coarse one take turns from step to step, so that all are learnt at a quarter of the cost.

    Args:
        features: ``[n, C, y, x]`` at half resolution.
        down: 0 or 1: the upper or the lower rows.
        right: 0 or 1: the left or the right columns.

    Returns:
        ``[n, C, y, x]``, equal to ``interpolate(features, scale_factor=2, mode="bilinear")[..., down::2, right::2]``.
    """
    for dim, offset in ((2, down), (3, right)):
        length = features.shape[dim]
        neighbour = (torch.arange(length) + (2 * offset - 1)).clamp(0, length - 1)
        features = 0.75 * features + 0.25 * features.index_select(dim, neighbour)
    return features


def unit(features: Tensor) -> Tensor:
    """Features of unit length, float32, as the trunk normalises them.

    A product instead of a square, whose gradient takes three times as long on a CPU.
    """
    features = features.float()
    return features * torch.rsqrt((features * features).sum(dim=1, keepdim=True).clamp_min(NORM_EPSILON))


class Student:
    """A net in training.

    Args:
        recipe: The hyperparameters.
        scenes: Scenes to whose pixels the imputer's linear layer is fitted.
    """

    def __init__(self, recipe: Recipe, scenes: Sequence[SceneData]) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.step = recipe, 0
        self._present = [NINE.index(band) for band in recipe.bands]
        self._missing = [number for number in range(len(NINE)) if number not in self._present]
        self._teacher = DynamicWorld().eval().requires_grad_(False)  # noqa: FBT003  (torch's own signature)
        self._teacher.load_published(load_arrays(DYNAMIC_WORLD.weights))
        self.net = Mini(recipe.bands, norm=True)
        self.net.trunk.load_state_dict(self._teacher.state_dict())
        fit_linear(self.net, scenes, self._present, self._missing)
        self.mean = copy.deepcopy(self.net)
        self._optimiser = torch.optim.AdamW(
            [
                {"params": list(self.net.imputer.parameters()), "lr": recipe.rate},
                {"params": list(self.net.trunk.parameters()), "lr": recipe.trunk_rate},
            ],
            weight_decay=recipe.decay,
        )

    def learn(self, batch: Batch) -> dict[str, float]:
        """One step.

        Returns:
            The losses ``bands``, ``teacher`` and ``embedding``, before their weights; those of this step only.
        """
        self._set_rates()
        losses = self._losses(batch)
        recipe = self.recipe
        weights = {"bands": recipe.bands_weight, "teacher": 1.0, "embedding": recipe.embedding_weight}
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self._optimiser.step()
        self.step += 1
        self._update_mean()
        return {name: loss.item() for name, loss in losses.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        judged = batch.judged[:, 0]
        x = normalise(batch.student) * batch.shown
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            nine = self.net.nine(x[:, self._present], batch.shown)
            features = None if batch.teacher is None else self.net.trunk.half_features(nine)
        wrong = (nine.float() - x)[:, self._missing].square().mean(dim=1)
        losses = {"bands": masked_mean(wrong, judged)}
        if features is not None and batch.teacher is not None:
            down, right = np.random.default_rng([self.recipe.seed, self.step, 1]).integers(2, size=2)
            counted = judged[:, down::2, right::2]
            learnt = unit(one_in_four(features, int(down), int(right)))
            head = self.net.trunk.head
            logits = functional.conv2d(learnt, head.weight.float(), None if head.bias is None else head.bias.float())
            losses["teacher"] = divergence(logits, batch.teacher[:, :, down::2, right::2], counted)
            if self.step % 2 == 0 and self.recipe.embedding_weight:
                features = self._teacher_features(normalise(batch.dn) * batch.valid)
                target = unit(one_in_four(features, int(down), int(right)))
                losses["embedding"] = masked_mean(1 - (learnt * target).sum(dim=1), counted)
        return losses

    def _teacher_features(self, x: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            return self._teacher.half_features(x)

    def _set_rates(self) -> None:
        recipe, step = self.recipe, self.step
        joint = step >= recipe.alone
        begun, length = (step - recipe.alone, recipe.joint) if joint else (step, recipe.alone)
        wave = 0.5 * (1 + math.cos(math.pi * begun / length))
        # the imputer continues at half its rate, from a third of its peak, lest it forget the missing bands
        factor = min(1, (begun + 1) / WARM_UP) * (0.5 * (wave + 0.01) if joint else 0.3 + 0.7 * wave)
        for group, peak in zip(self._optimiser.param_groups, (recipe.rate, recipe.trunk_rate), strict=True):
            group["lr"] = peak * factor

    @torch.no_grad()
    def _update_mean(self) -> None:
        """The running mean: of all steps at first, then of the last two hundred."""
        decay = min(self.recipe.average, self.step / (self.step + 20))
        for mean, value in zip(self.mean.state_dict().values(), self.net.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)

    def shipped(self) -> dict[str, Tensor]:
        """The running mean as it ships: batch norms folded, contiguous, float32."""
        return {name: value.detach().contiguous() for name, value in fold(self.mean.state_dict()).items()}

    def _stateful(self) -> dict[str, Any]:
        return {"net": self.net, "mean": self.mean, "optimiser": self._optimiser}

    def save(self, path: Path) -> None:
        """Write a checkpoint, whole or not at all.

        Raises:
            OutputError: It cannot be written.
        """
        states = {name: module.state_dict() for name, module in self._stateful().items()}
        checkpoint = {"recipe": self.recipe.document(), "step": self.step, **states}
        try:
            with replacing(path) as partial:
                torch.save(checkpoint, partial)
        except RuntimeError as error:  # torch's, of a full disk
            raise OutputError(f"{path} cannot be written ({error_text(error)}); make room, and run again") from None

    def load(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            WeightsError: The file is damaged, or of another recipe.
        """
        try:
            checkpoint: dict[str, Any] = torch.load(path, weights_only=True)
            recipe = checkpoint["recipe"]
            if recipe != self.recipe.document():
                raise WeightsError(f"{path} is of another recipe: {recipe}; give another --out, or delete it")
            self.step = checkpoint["step"]
            for name, module in self._stateful().items():
                module.load_state_dict(checkpoint[name])
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
            raise WeightsError(f"{path} is no checkpoint of a training ({error_text(error)}); delete it") from None


def fit_linear(net: Mini, scenes: Sequence[SceneData], present: Sequence[int], missing: Sequence[int]) -> None:
    """Set the imputer's linear layer to the least-squares fit over every 97th pixel of the scenes."""
    pixels = []
    for scene in scenes:
        dn = scene.dn[:, scene.valid][:, ::97].astype(np.float32)
        pixels.append(normalise(torch.from_numpy(dn)[:, :, None])[:, :, 0])
    x = torch.cat(pixels, dim=1).double()
    inputs = torch.cat([x[present] - 0.5, torch.ones(1, x.shape[1], dtype=x.dtype)])
    solution = torch.linalg.lstsq(inputs.T, x[missing].T).solution
    linear = net.imputer.linear
    assert linear.bias is not None
    with torch.no_grad():
        linear.weight.copy_(solution[:-1].T[:, :, None, None])
        linear.bias.copy_(solution[-1])
