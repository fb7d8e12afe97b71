"""Arranges a joint bilateral upsampler's published weights for the kernels: `_jbu_layout.StageWeights`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from eopipe.models.upsample._jbu_layout import KEY_ROWS, StageWeights
from eopipe.models.upsample.jbu import MIXING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

TEMPERATURES = (1e-4, 1e4)


def _tiles(weight: NDArray[np.float64], bias: NDArray[np.float64], rows: int) -> Floats:
    """A 1x1 convolution [out, in, 1, 1] with its bias → flat [out/rows, in + 1, rows]."""
    matrix = np.concatenate([weight.reshape(len(bias), -1), bias[:, None]], axis=1)
    packed = matrix.reshape(-1, rows, matrix.shape[1]).transpose(0, 2, 1)
    return np.ascontiguousarray(packed, np.float32).reshape(-1)


def pack(arrays: Mapping[str, Floats], prefix: str) -> StageWeights:
    """Arrange one stage.

    Args:
        arrays: By state-dict name.
        prefix: The stage's, such as ``up1``.

    Returns:
        The stage, with the range's temperature and the mixing factor in its weights.
    """

    def layer(name: str, rows: int, factor: float = 1.0) -> Floats:
        weight, bias = (arrays[f"{prefix}.{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        return _tiles(factor * weight, factor * bias, rows)

    side = round(arrays[f"{prefix}.fixup_proj.3.weight"].shape[0] ** 0.5)
    temperature = float(np.clip(np.exp(float(arrays[f"{prefix}.range_temp"])), *TEMPERATURES))
    sigma = float(arrays[f"{prefix}.sigma_spatial"])
    line = np.linspace(-1, 1, side)
    spatial = np.exp(-(line[:, None] ** 2 + line**2) / (2 * sigma**2))
    return StageWeights(
        (side - 1) // 2,
        layer("range_proj.0", KEY_ROWS),
        layer("range_proj.3", KEY_ROWS, temperature**0.5),
        spatial.astype(np.float32).reshape(-1),
        layer("fixup_proj.0", side),
        layer("fixup_proj.3", side, MIXING),
    )
