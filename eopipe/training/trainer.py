"""One student in training: its steps, its running mean, and what is kept of it between two of them."""

from __future__ import annotations

import copy
import math
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from eopipe.errors import WeightsError
from eopipe.models.dynamicworld.net import DynamicWorld, normalise
from eopipe.models.mini.net import NINE, Mini, fold
from eopipe.models.registry import DYNAMIC_WORLD
from eopipe.models.weights import load_arrays
from eopipe.training.losses import divergence, masked_mean, one_in_four, unit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from eopipe.training.hyperparameters import Recipe
    from eopipe.training.patches import Batch
    from eopipe.training.scenes import SceneData

WARM_UP = 100
"""Steps in which the learning rate rises."""


class Student:
    """A net in training.

    Args:
        recipe: How.
        scenes: The pixels that the imputer's linear part is fitted to.
    """

    def __init__(self, recipe: Recipe, scenes: Sequence[SceneData]) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.step = recipe, 0
        self._there = [NINE.index(band) for band in recipe.bands]
        self._missing = [number for number in range(len(NINE)) if number not in self._there]
        self._teacher = DynamicWorld().eval().requires_grad_(False)  # noqa: FBT003  (torch's own signature)
        self._teacher.load_published(load_arrays(DYNAMIC_WORLD.weights))
        self.net = Mini(recipe.bands, norm=True)
        self.net.trunk.load_state_dict(self._teacher.state_dict())
        fit_linear(self.net, scenes, self._there, self._missing)
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
            What was lost: ``bands``, ``teacher`` and ``embedding``, before their weights; 0 where not asked.
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
        self._follow()
        return {name: loss.item() for name, loss in losses.items()}

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        judged = batch.judged[:, 0]
        x = normalise(batch.student) * batch.shown
        with torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            nine = self.net.nine(x[:, self._there], batch.shown)
            features = None if batch.teacher is None else self.net.trunk.half_features(nine)
        wrong = (nine.float() - x)[:, self._missing].square().mean(dim=1)
        losses = {"bands": masked_mean(wrong, judged)}
        if features is not None and batch.teacher is not None:
            down, right = np.random.default_rng([self.recipe.seed, self.step, 1]).integers(2, size=2)
            counted = judged[:, down::2, right::2]
            found = unit(one_in_four(features, int(down), int(right)))
            head = self.net.trunk.head
            logits = functional.conv2d(found, head.weight.float(), None if head.bias is None else head.bias.float())
            losses["teacher"] = divergence(logits, batch.teacher[:, :, down::2, right::2], counted)
            if self.step % 2 == 0 and self.recipe.embedding_weight:
                taught = self._taught(normalise(batch.dn) * batch.valid)
                meant = unit(one_in_four(taught, int(down), int(right)))
                losses["embedding"] = masked_mean(1 - (found * meant).sum(dim=1), counted)
        return losses

    def _taught(self, x: Tensor) -> Tensor:
        with (
            torch.no_grad(),
            torch.autocast("cpu", torch.bfloat16, enabled=self.recipe.precision == "bfloat16"),
        ):
            return self._teacher.half_features(x)

    def _set_rates(self) -> None:
        recipe, step = self.recipe, self.step
        joint = step >= recipe.alone
        begun, length = (step - recipe.alone, recipe.joint) if joint else (step, recipe.alone)
        wave = 0.5 * (1 + math.cos(math.pi * begun / length))
        # the imputer goes on at half its rate, from a third of its peak: it is not to forget what it learnt alone
        factor = min(1, (begun + 1) / WARM_UP) * (0.5 * (wave + 0.01) if joint else 0.3 + 0.7 * wave)
        for group, peak in zip(self._optimiser.param_groups, (recipe.rate, recipe.trunk_rate), strict=True):
            group["lr"] = peak * factor

    @torch.no_grad()
    def _follow(self) -> None:
        """The running mean: of all steps at first, then of the last two hundred."""
        decay = min(self.recipe.average, self.step / (self.step + 20))
        for kept, now in zip(self.mean.state_dict().values(), self.net.state_dict().values(), strict=True):
            if kept.dtype.is_floating_point:
                kept.lerp_(now, 1 - decay)
            else:
                kept.copy_(now)

    def shipped(self) -> dict[str, Tensor]:
        """The running mean as it ships: batch norms folded, contiguous, float32."""
        return {name: value.detach().contiguous() for name, value in fold(self.mean.state_dict()).items()}

    def save(self, path: Path) -> None:
        """Keep everything that the next step needs; whole or not at all."""
        part = path.with_suffix(".part")
        torch.save(
            {
                "recipe": self.recipe.document(),
                "step": self.step,
                "net": self.net.state_dict(),
                "mean": self.mean.state_dict(),
                "optimiser": self._optimiser.state_dict(),
            },
            part,
        )
        part.replace(path)

    def load(self, path: Path) -> None:
        """Go on where `save` left.

        Raises:
            WeightsError: The file is damaged, or of another recipe.
        """
        try:
            kept: dict[str, Any] = torch.load(path, weights_only=True)
            if kept["recipe"] != self.recipe.document():
                raise WeightsError(f"{path} is of another recipe: {kept['recipe']}; give another --out, or delete it")
            self.step = kept["step"]
            self.net.load_state_dict(kept["net"])
            self.mean.load_state_dict(kept["mean"])
            self._optimiser.load_state_dict(kept["optimiser"])
        except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
            said = " ".join(str(error).split())[:200]
            raise WeightsError(f"{path} is no checkpoint of a training ({said}); delete it to begin anew") from None


def fit_linear(net: Mini, scenes: Sequence[SceneData], there: Sequence[int], missing: Sequence[int]) -> None:
    """Set the imputer's linear part to the least squares over every hundredth pixel of the scenes."""
    pixels = []
    for scene in scenes:
        dn = scene.dn[:, scene.valid][:, ::97].astype(np.float32)
        pixels.append(normalise(torch.from_numpy(dn)[:, :, None])[:, :, 0])
    x = torch.cat(pixels, dim=1).double()
    known = torch.cat([x[there] - 0.5, torch.ones(1, x.shape[1], dtype=x.dtype)])
    solution = torch.linalg.lstsq(known.T, x[missing].T).solution
    linear = net.imputer.linear
    assert linear.bias is not None
    with torch.no_grad():
        linear.weight.copy_(solution[:-1].T[:, :, None, None])
        linear.bias.copy_(solution[-1])
