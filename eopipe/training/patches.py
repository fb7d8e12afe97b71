"""Training patches: cut at random, augmented as scenes differ, and labelled by the teacher after augmentation.

Scenes differ in haze, sun and season more than classes do, so each patch gets another gain, tilt and haze. The
teacher labels the augmented patch, not the original (Beyer et al. 2022, "Knowledge distillation: a good teacher is
patient and consistent", arXiv:2106.05237). In some patches the student sees less than the teacher: one side of a line
only, as at a scene's edge; or reflectance less path radiance, as in surface reflectance (Level-2A), for which the
teacher was not trained. Random numbers depend on the seed and the step alone, so an interrupted training resumes with
the same patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from eopipe.models.dynamicworld.net import load_dynamic_world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from eopipe.training.scenes import SceneData

HAZE = (1.0, 0.75, 0.5, 0.42, 0.36, 0.32, 0.3, 0.1, 0.05)
"""Path radiance of the nine bands, relative to blue: it falls with the wavelength."""
HAZE_DN = (-210.0, 390.0)
"""Least and most haze that is added in blue, reflectance * 10000."""
GAIN, TILT = 0.2, 0.05
"""Log of the largest gain of all bands together, and of each by itself, which is less: it changes classes."""
ZOOM = 0.3
"""Log of the largest change of scale."""
HIDDEN = 0.3
"""Share of patches of which one side of a line is hidden from the student, as at a scene's edge."""
MARGIN = 4
"""Pixels from an edge at which the teacher's answer does not count: it takes what lies outside for dark water."""
AIRLESS = 0.35
"""Share of patches that the student sees as surface reflectance, by dark-object subtraction (Chavez 1988)."""
LEFT_DN = (50.0, 350.0)
"""Least and most blue reflectance * 10000 that this subtraction leaves in the darkest pixels."""
DARK_PERCENT = 1.0
"""Percentile of a scene's darkest pixels."""
LEAST_VALID = 0.6
"""Least share of valid pixels in a patch; after twenty attempts any patch is accepted."""


@dataclass(frozen=True)
class Batch:
    """Patches and the teacher's answers.

    Args:
        dn: ``[n, 9, y, x]`` float32, augmented reflectance * 10000, as the teacher sees it.
        student: The same as the student sees it.
        valid: ``[n, 1, y, x]`` float32, 1 where the teacher sees the patch, else 0.
        shown: The same for the student.
        judged: The same where the student's answer counts.
        teacher: ``[n, 9, y, x]`` class probabilities, or None where bands alone are learnt.
    """

    dn: Tensor
    student: Tensor
    valid: Tensor
    shown: Tensor
    judged: Tensor
    teacher: Tensor | None


class Patches:
    """Draws batches.

    Args:
        scenes: Scenes to cut from; larger ones more often, by the root of their size.
        seed: Seed of all random numbers.
        size: Patches a batch.
        side: Side of a patch, pixels.
    """

    def __init__(self, scenes: Sequence[SceneData], *, seed: int, size: int, side: int) -> None:
        self._scenes, self._seed, self._size, self._side = scenes, seed, size, side
        weight = np.array([scene.valid.sum() ** 0.5 for scene in scenes])
        self._chance = weight / weight.sum()
        self._dark = [dark_of(scene) for scene in scenes]
        self._teacher = load_dynamic_world()

    def draw(self, step: int, *, answered: bool) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng([self._seed, step])
        cuts = [self._cut(rng) for _ in range(self._size)]
        factor, offset = change(self._size, rng)
        ground = torch.stack([dn for dn, _, _ in cuts])
        air = torch.stack([air for _, _, air in cuts])
        dn, student = ((view * factor + offset).clamp_min(0) for view in (ground, (ground - air).clamp_min(0)))
        valid = torch.stack([valid for _, valid, _ in cuts])
        teacher = None
        if answered:
            pairs = zip(dn.numpy(), valid.numpy(), strict=True)
            teacher = torch.from_numpy(np.stack([self._teacher(patch, mask[0] > 0) for patch, mask in pairs]))
        shown = valid * torch.stack([curtain(self._side, rng) for _ in cuts])
        return Batch(dn, student, valid, shown, shown * _inner(valid), teacher)

    def _cut(self, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        number = int(rng.choice(len(self._scenes), p=self._chance))
        scene = self._scenes[number]
        zoom = float(np.exp(rng.uniform(-ZOOM, ZOOM))) if rng.random() < 0.5 else 1.0
        side = min(round(self._side * zoom), *scene.valid.shape)
        rows, cols = _draw_window(scene.valid, side, rng)
        dn = torch.from_numpy(scene.dn[:, rows, cols].astype(np.float32))
        valid = torch.from_numpy(scene.valid[rows, cols].astype(np.float32))[None]
        if side != self._side:
            size = (self._side, self._side)
            dn = functional.interpolate(dn[None], size=size, mode="bilinear", antialias=True)[0]
            valid = (functional.interpolate(valid[None], size=size, mode="bilinear")[0] > 0.999).float()
        airless, left = rng.random() < AIRLESS, rng.uniform(*LEFT_DN)
        air = air_above(self._dark[number], float(left)) if airless else np.zeros(len(HAZE), np.float32)
        dn, valid = _turned(dn, valid, int(rng.integers(8)))
        return dn, valid, torch.from_numpy(air)[:, None, None]


def dark_of(scene: SceneData) -> NDArray[np.float32]:
    """Reflectance * 10000 of a scene's darkest pixels in each band, ``[9]``."""
    pixels = scene.dn[:, scene.valid][:, ::7]
    return np.percentile(pixels, DARK_PERCENT, axis=1).astype(np.float32)


def air_above(dark: NDArray[np.float32], left: float) -> NDArray[np.float32]:
    """Path radiance to subtract from each band so that the darkest pixels keep ``left`` in blue.

    Args:
        dark: See `dark_of`.
        left: Reflectance * 10000.

    Returns:
        Reflectance * 10000, ``[9]``, at least 0, and at most that of the band's darkest pixels.
    """
    air: NDArray[np.float32] = np.minimum(max(0.0, float(dark[0]) - left) * np.array(HAZE, np.float32), dark)
    return air


def change(patches: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random gains and haze of each patch, as of another sun, sensor and air; one patch in five stays unchanged.

    Args:
        patches: Number of patches.
        rng: Source of random numbers.

    Returns:
        Factor and offset of each band, ``[n, 9, 1, 1]`` each, the offset in reflectance * 10000.
    """
    on = (rng.random((patches, 1)) < 0.8).astype(np.float32)
    gain = np.exp(rng.uniform(-GAIN, GAIN, (patches, 1)) * on)
    tilt = np.exp(rng.uniform(-TILT, TILT, (patches, len(HAZE))) * on)
    haze = rng.uniform(*HAZE_DN, (patches, 1)) * on * np.array(HAZE)
    factor, offset = (torch.from_numpy(v.astype(np.float32))[:, :, None, None] for v in (gain * tilt, haze))
    return factor, offset


def curtain(side: int, rng: np.random.Generator) -> Tensor:
    """Mask ``[1, side, side]`` of the pixels that the student sees: all, or those on one side of a random line."""
    shown = torch.ones(1, side, side)
    angle, distance = rng.uniform(0, 2 * np.pi), rng.uniform(-0.35, 0.35)
    if rng.random() >= HIDDEN:
        return shown
    axis = torch.linspace(-0.5, 0.5, side)
    along = axis[None, :] * float(np.cos(angle)) + axis[:, None] * float(np.sin(angle))
    return shown * (along > distance)


def _inner(valid: Tensor) -> Tensor:
    """Pixels without an invalid one within the margin; pixels outside the patch are invalid."""
    outside = functional.pad(1 - valid, (MARGIN,) * 4, value=1.0)
    return 1 - functional.max_pool2d(outside, 2 * MARGIN + 1, stride=1)


def _draw_window(valid: NDArray[np.bool_], side: int, rng: np.random.Generator) -> tuple[slice, slice]:
    for _ in range(20):
        row, col = (int(rng.integers(0, length - side + 1)) for length in valid.shape)
        rows, cols = slice(row, row + side), slice(col, col + side)
        if valid[rows, cols].mean() >= LEAST_VALID:
            break
    return rows, cols


def _turned(dn: Tensor, valid: Tensor, symmetry: int) -> tuple[Tensor, Tensor]:
    """A patch under one of the eight symmetries of the square."""
    for bit, dim in ((1, 1), (2, 2)):
        if symmetry & bit:
            dn, valid = dn.flip(dim), valid.flip(dim)
    return (dn.transpose(1, 2), valid.transpose(1, 2)) if symmetry & 4 else (dn, valid)
