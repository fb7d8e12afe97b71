"""Dynamic World v1: land cover of Sentinel-2 scenes at 10 m, nine classes.

Source: Brown et al. 2022 (Sci. Data 9:251) and github.com/google/dynamicworld, ``model/forward``; 25
convolutions, 219,817 values, batch norm folded. Topology::

    stem 3x3 9→64 ─ antialiased 1/2 ─┬─ block 96 ─ block 144 ─┐
                                     └─ pointwise, depthwise 48 ─ concat 192 ─ block 144 ─ twice ─ unit length
    block(x) = skip 1x1(x) + (pointwise, depthwise 3x3) three times;   head 1x1 144→9, softmax

with Mish after every convolution but the head, and zeros around the image.

There are two forms of it with the same weights. `DynamicWorld` is the plain torch module: the reference, and
what runs on a GPU. `FastDynamicWorld` is the CPU's, an OpenVINO graph (`eopipe.models.dynamicworld.graph`).
`load_dynamic_world` picks one.

Receptive field: an output pixel sees 22 pixels to each side (an even row y sees y-22 … y+21, an odd one
y-21 … y+22): per side 1 (stem) + 20 (nine 3x3 layers at half resolution and the upsampling's neighbour, as the
halved grid falls) + 1 (the antialiasing's outer tap). Outside of `HALO` the content cannot matter. The halved
grid is anchored at the window's origin, so origins must be multiples of `ALIGN`.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from eopipe.models.dynamicworld import graph
from eopipe.models.registry import DYNAMIC_WORLD
from eopipe.models.weights import load_arrays

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

LOG = logging.getLogger(__name__)

RECEPTIVE_FIELD = graph.RECEPTIVE_FIELD
"""How far an output pixel sees, pixels at full resolution."""
HALO = 24
"""What to read around a window's core: at least `RECEPTIVE_FIELD`, a multiple of `ALIGN`, 512 + 2*HALO = 35*16."""
ALIGN = 2
"""Window origins and sides are multiples of this."""
MIN_SIDE = 16
"""The smallest side of a window, pixels."""
GFLOP_PER_PIXEL = 2 * (9 * 9 * 64 + 210_480 / 4 + 144 * 9) / 1e9
"""Multiplications and additions of the convolutions, for one pixel at full resolution, in 1e9."""

NORM_EPSILON = graph.NORM_EPSILON


class DynamicWorldRunner(Protocol):
    """A loaded net."""

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], *, crop: int = 0
    ) -> NDArray[np.float32]:
        """Map one window.

        Args:
            pixels: Reflectance * 10000 [9, h, w], bands as in `DYNAMIC_WORLD`; values of invalid pixels do
                not matter.
            valid: [h, w]; where false the normalised input is 0, the value of the padding around the image.
            crop: Pixels to leave out of the result on each side, a multiple of `ALIGN`: `HALO` gives the
                core, byte for byte as cropping would, for less work.

        Returns:
            Probabilities [9, h - 2*crop, w - 2*crop], sum 1.
        """
        ...


def normalise(
    dn: torch.Tensor, mean: Sequence[float] = DYNAMIC_WORLD.mean, std: Sequence[float] = DYNAMIC_WORLD.std
) -> torch.Tensor:
    """Turn digital numbers into the net's input.

    Args:
        dn: Reflectance * 10000, [..., bands, h, w]; negative ones (dark pixels after an offset) count as 0.
        mean: Of each band; the nine's, where not given.
        std: Likewise.

    Returns:
        The same shape, between 0 and 1.
    """
    centre, spread = (torch.tensor(v, dtype=dn.dtype, device=dn.device)[:, None, None] for v in (mean, std))
    x = (torch.log1p(dn.clamp_min(0) * graph.LOG_GAIN) - centre) / spread
    return torch.sigmoid(5 * x - 1)


class _Conv(nn.Module):
    """A convolution with zeros around, then Mish."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.mish(self.conv(x))


class _Block(nn.Module):
    """skip + (pointwise, depthwise) three times."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.skip = _Conv(inputs, outputs, 1)
        self.pw1, self.dw1 = _Conv(inputs, outputs, 1), _Conv(outputs, outputs, 3, outputs)
        self.pw2, self.dw2 = _Conv(outputs, outputs, 1), _Conv(outputs, outputs, 3, outputs)
        self.pw3, self.dw3 = _Conv(outputs, outputs, 1), _Conv(outputs, outputs, 3, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.dw1(self.pw1(x))
        y = self.dw2(self.pw2(y))
        y = self.dw3(self.pw3(y))
        return torch.add(self.skip(x), y)


class DynamicWorld(nn.Module):
    """The plain net."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Conv(9, 64, 3)
        self.b1, self.b2, self.b3 = _Block(64, 96), _Block(96, 144), _Block(192, 144)
        self.side_pw, self.side_dw = _Conv(64, 48, 1), _Conv(48, 48, 3, 48)
        self.head = nn.Conv2d(144, 9, 1)

    def half_features(self, x: torch.Tensor) -> torch.Tensor:
        """Features at half resolution, before they are upsampled and made of unit length.

        Args:
            x: Normalised input [n, 9, h, w]; h and w even.

        Returns:
            [n, 144, h / 2, w / 2].
        """
        stem = self.stem(x)
        half = stem.shape[-2] // 2, stem.shape[-1] // 2
        # torch has no antialiasing in bfloat16
        y = functional.interpolate(stem.float(), size=half, mode="bilinear", antialias=True).to(stem.dtype)
        features: torch.Tensor = self.b3(torch.cat([self.b2(self.b1(y)), self.side_dw(self.side_pw(y))], dim=1))
        return features

    def embeddings(self, x: torch.Tensor) -> torch.Tensor:
        """Features of each pixel, of unit length.

        Args:
            x: Normalised input [n, 9, h, w]; h and w even.

        Returns:
            [n, 144, h, w].
        """
        # sizes are stated, for a scale factor would let each backend round its own
        full = x.shape[-2], x.shape[-1]
        y = functional.interpolate(self.half_features(x), size=full, mode="bilinear")
        # of the float32 squares, whatever the precision: half precision would overflow
        square = y.float().square().sum(dim=1, keepdim=True)
        return y * torch.rsqrt(square.clamp_min(NORM_EPSILON)).to(y.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class probabilities.

        Args:
            x: Normalised input [n, 9, h, w]; h and w even.

        Returns:
            [n, 9, h, w] float32, sum 1.
        """
        return torch.softmax(self.head(self.embeddings(x)).float(), dim=1)

    def load_published(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Load the published arrays, ``<layer>.weight`` and ``<layer>.bias`` with ``b1_pw2`` for ``b1.pw2``.

        Args:
            arrays: As `eopipe.models.weights.load_arrays` gives them.
        """
        state = {name: torch.from_numpy(np.array(arrays[published(name)])) for name in self.state_dict()}
        self.load_state_dict(state)


def published(name: str) -> str:
    """The published name of a tensor of `DynamicWorld`: ``b1_pw2.weight`` for ``b1.pw2.conv.weight``."""
    layer, kind = name.replace(".conv", "").rsplit(".", 1)
    return f"{layer if layer.startswith('side') else layer.replace('.', '_')}.{kind}"


class FastDynamicWorld:
    """The CPU form: float32, one thread a call, any number of threads may call it at once; picklable."""

    def __init__(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Take the published arrays; graphs are compiled with the first window."""
        mean, std = np.array(DYNAMIC_WORLD.mean), np.array(DYNAMIC_WORLD.std)
        normalisation = graph.Normalisation((5 / std).astype(np.float32), (-5 * mean / std - 1).astype(np.float32))
        self._numbers, self._values = graph.TiledGraph(arrays, normalisation), graph.TiledGraph(arrays, None)

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], *, crop: int = 0
    ) -> NDArray[np.float32]:
        """Map one window; see `DynamicWorldRunner`."""
        _check(pixels, valid, crop)
        return self._numbers.run(pixels, (valid & np.isfinite(pixels).all(axis=0))[None], crop=crop)

    def normalised(self, x: NDArray[np.float32], *, crop: int = 0) -> NDArray[np.float32]:
        """Map a window that is normalised already.

        Args:
            x: [9, h, w] as `normalise` gives it, 0 where invalid; h and w even.
            crop: As `DynamicWorldRunner`.

        Returns:
            As `DynamicWorldRunner`.
        """
        return self._values.run(x, crop=crop)


class TorchDynamicWorld:
    """The plain net as a runner, on any device and in any precision."""

    def __init__(
        self, arrays: Mapping[str, NDArray[np.float32]], *, device: str = "cpu", precision: str = "float32"
    ) -> None:
        """Load the published arrays onto a device."""
        self.device = torch.device(device)
        self.dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
        module = DynamicWorld()
        module.load_published(arrays)
        self.module: DynamicWorld = module.eval().to(device=self.device, dtype=self.dtype)
        self.module.to(memory_format=torch.channels_last)

    def __call__(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], *, crop: int = 0
    ) -> NDArray[np.float32]:
        """Map one window; see `DynamicWorldRunner`."""
        _check(pixels, valid, crop)
        result: NDArray[np.float32] = self.batch(pixels[None], valid[None], crop=crop)[0]
        return result

    def batch(self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], *, crop: int = 0) -> NDArray[np.float32]:
        """Map windows of one shape at once, which keeps a GPU busy.

        Args:
            pixels: [n, 9, h, w], as in `DynamicWorldRunner`.
            valid: [n, h, w].
            crop: Pixels to leave out on each side.

        Returns:
            Probabilities [n, 9, h - 2*crop, w - 2*crop].
        """
        with torch.inference_mode():
            dn = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).to(self.device)
            usable = torch.from_numpy(np.ascontiguousarray(valid)).to(self.device)[:, None]
            usable = usable & torch.isfinite(dn).all(dim=1, keepdim=True)
            x = torch.where(usable, normalise(dn), torch.zeros((), device=self.device))
            y = self.module(x.to(self.dtype, memory_format=torch.channels_last))
            y = y[:, :, crop : y.shape[2] - crop, crop : y.shape[3] - crop]
            result: NDArray[np.float32] = y.contiguous().cpu().numpy()
            return result


def load_dynamic_world(precision: str = "float32", *, device: str = "cpu") -> DynamicWorldRunner:
    """Load Dynamic World v1.

    Args:
        precision: ``float32`` or ``bfloat16``.
        device: ``cpu`` or a torch device such as ``cuda:0``.

    Returns:
        The runner: the fast form for float32 on the CPU where it can run, else the torch module.

    Raises:
        WeightsError: The weights are missing or have another sha256.
        ValueError: Another precision.
    """
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"precision {precision!r}: use float32 or bfloat16")
    arrays = load_arrays(DYNAMIC_WORLD.weights)
    if device == "cpu" and precision == "float32" and fast_form_runs():
        return FastDynamicWorld(arrays)
    return TorchDynamicWorld(arrays, device=device, precision=precision)


def fast_form_runs() -> bool:
    """Whether `FastDynamicWorld` can run in this process; logs a warning where it cannot."""
    if find_spec("openvino") is not None:
        return True
    LOG.warning(
        "package openvino is not installed (it has no wheel for some platforms): Dynamic World's net runs on torch, "
        "which takes six times as long"
    )
    return False


def _check(pixels: NDArray[np.float32], valid: NDArray[np.bool_], crop: int) -> None:
    """Refuse windows that the halved grid cannot hold."""
    height, width = valid.shape
    if pixels.shape != (9, height, width):
        raise ValueError(f"pixels {pixels.shape} and valid {valid.shape}: use [9, h, w] and [h, w]")
    if height % ALIGN or width % ALIGN or min(height, width) < MIN_SIDE:
        raise ValueError(f"window {height} x {width}: use even sides of at least {MIN_SIDE}")
    if crop % ALIGN or crop < 0 or min(height, width) - 2 * crop < MIN_SIDE:
        raise ValueError(f"crop {crop} of a window {height} x {width}: use an even number that leaves {MIN_SIDE}")
