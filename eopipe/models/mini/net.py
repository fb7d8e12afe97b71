"""mini's net: the Sentinel-2 bands that a picture lacks, imputed, and a trunk of Dynamic World's shape on all nine.

A picture of four bands (or three) does not hold the red edge and the shortwave infrared that tell crops from grass
and soil from roofs, but its texture and surroundings tell much about them. So the first part, a small U-Net, computes
the missing bands: a linear guess from the pixel, plus a correction from its surroundings. The second is Dynamic
World's net (Brown et al. 2022), fine-tuned to the output of the first; its outputs are nine concepts.

Everything happens in Dynamic World's normalised reflectance (`eopipe.models.dynamicworld.net.normalise`), in 0-1.

Receptive field: `RECEPTIVE_FIELD` pixels to each side, the U-Net's 58 and the trunk's 22. The U-Net halves three
times, so windows begin at multiples of `ALIGN`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from eopipe.models.dynamicworld import net
from eopipe.models.dynamicworld.net import DynamicWorld
from eopipe.models.registry import NINE_BANDS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

NINE = NINE_BANDS
"""The trunk's bands, in its order."""

GSD = 10.0
"""Of the scenes that it learns from, metres."""

CONCEPTS = 9
"""Dynamic World's classes, in its order."""

WIDTHS = (16, 32, 64, 96)
"""Channels of the U-Net at full, half, quarter and eighth resolution."""

ALIGN = 8
"""Window origins and sides are multiples of this."""
RECEPTIVE_FIELD = 80
"""How far an output pixel sees; tests/models/mini/test_net.py measures it."""
EDGE = 8
"""Pixels by which valid ones are continued: the trunk takes a void for something dark, and would map the rim of every
scene and cloud mask as water."""
HALO = 88
"""Pixels to read around a window's core: `RECEPTIVE_FIELD` and `EDGE`, a multiple of `ALIGN`."""
TRUNK_HALO = net.HALO
"""The part of it that the trunk is run on; the rest is for the U-Net only."""


class _Layer(nn.Sequential):
    """A 3x3 convolution and ReLU; with batch norm between them while it is trained, folded in when it ships."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, norm: bool) -> None:
        conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=not norm)
        middle = (nn.BatchNorm2d(outputs, momentum=0.03),) if norm else ()
        super().__init__(conv, *middle, nn.ReLU(inplace=True))


def _layers(*channels: int, stride: int = 1, norm: bool) -> nn.Sequential:
    """Layers from each number of channels to the next; the first one strides."""
    strides = (stride, *[1] * (len(channels) - 2))
    return nn.Sequential(
        *(_Layer(a, b, stride=step, norm=norm) for (a, b), step in zip(pairwise(channels), strides, strict=True))
    )


class Imputer(nn.Module):
    """The missing bands from the given ones.

    Args:
        bands: Number of given bands.
        norm: With batch norms, for training; without, as it ships.
        widths: As `WIDTHS`.
    """

    def __init__(self, bands: int, *, norm: bool = False, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        full, half, quarter, eighth = widths
        missing = len(NINE) - bands

        self.linear = nn.Conv2d(bands, missing, 1)
        self.down0 = _layers(bands, full, norm=norm)
        self.down1 = _layers(full, half, half, stride=2, norm=norm)
        self.down2 = _layers(half, quarter, quarter, stride=2, norm=norm)
        self.down3 = _layers(quarter, eighth, eighth, eighth, stride=2, norm=norm)
        self.up2 = _layers(eighth + quarter, quarter, quarter, norm=norm)
        self.up1 = _layers(quarter + half, half, half, norm=norm)
        self.up0 = _layers(half + full, full, norm=norm)
        self.last = nn.Conv2d(full, missing, 3, 1, 1)
        nn.init.zeros_(self.last.weight)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The missing bands.

        Args:
            x: ``[n, bands, h, w]`` normalised; 0 where invalid; sides multiples of `ALIGN`.

        Returns:
            ``[n, 9 - bands, h, w]``, normalised too.
        """
        centred = x - 0.5
        full = self.down0(4 * centred)
        half = self.down1(full)
        quarter = self.down2(half)
        y = self.up2(_beside(self.down3(quarter), quarter))
        y = self.up1(_beside(y, half))
        y = self.up0(_beside(y, full))
        corrected: Tensor = self.linear(centred) + self.last(y)
        return corrected


def _beside(coarse: Tensor, fine: Tensor) -> Tensor:
    """Coarse features made as fine as others, and both side by side."""
    size = fine.shape[-2], fine.shape[-1]  # stated, for a scale factor would let each backend round its own
    return torch.cat([functional.interpolate(coarse, size=size, mode="bilinear"), fine], dim=1)


class Mini(nn.Module):
    """Imputer and trunk.

    Args:
        bands: Names of the given bands, all of them in `NINE`, in its order.
        norm: As `Imputer`.
    """

    def __init__(self, bands: Sequence[str], *, norm: bool = False) -> None:
        super().__init__()
        self.imputer = Imputer(len(bands), norm=norm)
        self.trunk = DynamicWorld()
        self._order = merge_order(bands)

    def nine(self, x: Tensor, valid: Tensor) -> Tensor:
        """All nine bands.

        Args:
            x: ``[n, bands, h, w]`` normalised, 0 where invalid.
            valid: ``[n, 1, h, w]`` 1 where valid, else 0.

        Returns:
            ``[n, 9, h, w]``, 0 where invalid, as around a picture.
        """
        both = torch.cat([x, self.imputer(x).to(x.dtype)], dim=1)
        return both[:, list(self._order)] * valid

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Concept weights ``[n, 9, h, w]`` float32, sum 1; arguments as `nine`."""
        weights: Tensor = self.trunk(self.nine(x, valid))
        return weights


def merge_order(bands: Sequence[str]) -> tuple[int, ...]:
    """The position of each of `NINE` among the given bands followed by the imputed ones."""
    missing = [band for band in NINE if band not in bands]
    together = [*bands, *missing]
    return tuple(together.index(band) for band in NINE)


def fold(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A trained state with its batch norms folded into the convolutions before them, as it ships.

    Args:
        state: Of `Mini` with ``norm``.

    Returns:
        The state of `Mini` without.
    """
    folded: dict[str, Tensor] = {}
    norms = {name.removesuffix("1.running_var") for name in state if name.endswith(".1.running_var")}
    for name, value in state.items():
        layer = next((norm for norm in norms if name.startswith(norm)), None)
        if layer is None:
            folded[name] = value.clone()
        elif name == f"{layer}0.weight":
            gain = state[f"{layer}1.weight"] * torch.rsqrt(state[f"{layer}1.running_var"] + _NORM_EPSILON)
            folded[name] = value * gain[:, None, None, None]
            folded[f"{layer}0.bias"] = state[f"{layer}1.bias"] - state[f"{layer}1.running_mean"] * gain
    return folded


_NORM_EPSILON = 1e-5
