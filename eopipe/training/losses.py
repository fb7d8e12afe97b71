"""What the student is told of its mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from eopipe.models.dynamicworld.net import NORM_EPSILON

if TYPE_CHECKING:
    from torch import Tensor


def masked_mean(values: Tensor, valid: Tensor) -> Tensor:
    """Mean of ``[n, y, x]`` where valid."""
    return (values * valid).sum() / valid.sum().clamp_min(1)


def divergence(logits: Tensor, teacher: Tensor, valid: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the student's probabilities from the teacher's.

    Args:
        logits: ``[n, 9, y, x]``.
        teacher: Probabilities, likewise.
        valid: ``[n, y, x]``.
    """
    log = torch.log_softmax(logits, dim=1)
    return masked_mean((teacher * (teacher.clamp_min(1e-6).log() - log)).sum(dim=1), valid)


def one_in_four(features: Tensor, down: int, right: int) -> Tensor:
    """Every second row and column of features upsampled by two, without making the others.

    A pixel of the fine grid lies at a quarter of the way between two of the coarse one; which of the four pixels of
    a coarse one is asked for changes from step to step, so that all are learnt at a quarter of the work.

    Args:
        features: ``[n, C, y, x]`` at half resolution.
        down: 0 or 1: the upper or the lower rows.
        right: Likewise.

    Returns:
        ``[n, C, y, x]``, equal to ``interpolate(features, scale_factor=2, mode="bilinear")[..., down::2, right::2]``.
    """
    for dim, way in ((2, down), (3, right)):
        length = features.shape[dim]
        beside = (torch.arange(length) + (2 * way - 1)).clamp(0, length - 1)
        features = 0.75 * features + 0.25 * features.index_select(dim, beside)
    return features


def unit(features: Tensor) -> Tensor:
    """Features of unit length, float32.

    As the trunk makes them; a product, since the gradient of a square takes three times as long on a CPU.
    """
    features = features.float()
    return features * torch.rsqrt((features * features).sum(dim=1, keepdim=True).clamp_min(NORM_EPSILON))
