"""mini's image side, loaded: reflectance in, concept weights out.

On a CPU the imputer is torch's and the trunk the fast form of `eopipe.models.dynamicworld.net`, which takes a sixth
of the plain module's time; elsewhere the plain module runs whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from eopipe.errors import WeightsError, one_line
from eopipe.models.checkpoints import open_checkpoint
from eopipe.models.dynamicworld.net import FastDynamicWorld, fast_form_runs, normalise, published
from eopipe.models.mini.net import ALIGN, EDGE, HALO, RECEPTIVE_FIELD, TRUNK_HALO, Mini
from eopipe.models.weights import locate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from eopipe.models.registry_entry import DenseEntry

_TRUNK = "trunk."


class MiniRunner:
    """A loaded net, on a CPU or on a GPU.

    Args:
        entry: Bands, and the normalisation of each.
        state: Tensors of `eopipe.models.mini.net.Mini`, float32.
        device: A torch device.
    """

    def __init__(self, entry: DenseEntry, state: Mapping[str, Tensor], *, device: str = "cpu") -> None:
        self.device = torch.device(device)
        module = Mini(entry.bands)
        try:
            module.load_state_dict(dict(state))
        except RuntimeError as error:
            reason = one_line(error, 200)
            raise WeightsError(
                f"weights of {entry.name} do not fit its net ({reason}); take the shipped file"
            ) from None
        self._module = module.eval().to(self.device).requires_grad_(False)  # noqa: FBT003  (torch's own signature)
        self._fast = None
        if self.device.type == "cpu":
            module.imputer.to(memory_format=torch.channels_last)
            self._fast = FastDynamicWorld(trunk_arrays(state)) if fast_form_runs() else None
        self._mean, self._std = entry.mean, entry.std

    def concepts(
        self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], *, crop: int = HALO
    ) -> NDArray[np.float32]:
        """Map one window.

        Args:
            pixels: Reflectance * 10000 ``[bands, h, w]``; values of invalid pixels do not matter.
            valid: ``[h, w]``.
            crop: Pixels to leave out of the result on each side, a multiple of 2: `HALO` gives the core.

        Returns:
            Weights ``[9, h - 2*crop, w - 2*crop]`` float32, sum 1.

        Raises:
            ValueError: Sides that the halved grids cannot hold.
        """
        if valid.shape[0] % ALIGN or valid.shape[1] % ALIGN or pixels.shape[1:] != valid.shape:
            raise ValueError(f"pixels {pixels.shape}, valid {valid.shape}: use [bands, h, w], sides multiples of 8")
        with torch.inference_mode():
            return self._map(pixels, valid, crop)

    def _map(self, pixels: NDArray[np.float32], valid: NDArray[np.bool_], crop: int) -> NDArray[np.float32]:
        x, known = self._normalise(pixels, valid)
        nine = self._module.nine(x.contiguous(memory_format=torch.channels_last), known)
        outside = max(0, crop - TRUNK_HALO)
        inner = crop - outside
        rows, cols = nine.shape[-2:]
        nine = nine[:, :, outside : rows - outside, outside : cols - outside]
        if self._fast is not None:
            return self._fast.normalised(nine[0].numpy(), crop=inner)
        weights = self._module.trunk(nine)[0]
        rows, cols = weights.shape[-2:]
        return np.asarray(weights[:, inner : rows - inner, inner : cols - inner].cpu().numpy())

    def _normalise(self, pixels: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
        """``[1, bands, h, w]`` between 0 and 1, continued, 0 beyond; ``[1, 1, h, w]`` 1 where it is known."""
        dn = torch.from_numpy(np.ascontiguousarray(pixels, np.float32)).to(self.device)
        usable = torch.from_numpy(np.ascontiguousarray(valid)).to(self.device) & torch.isfinite(dn).all(dim=0)
        known = usable[None, None]
        x = torch.where(known, normalise(dn, self._mean, self._std)[None], torch.zeros((), device=self.device))
        return continued(x, known.to(torch.float32))


def continued(x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Valid pixels, grown by `EDGE` pixels over invalid ones: each new pixel is the mean of its known neighbours.

    Args:
        x: ``[1, bands, h, w]``, 0 where invalid.
        known: ``[1, 1, h, w]`` 1 where valid, else 0.

    Returns:
        Both, grown. A pixel's value depends on the pixels within `EDGE` of it, so not on the window.
    """
    if bool(known.all()):
        return x, known
    for _ in range(EDGE):
        beside = functional.avg_pool2d(known, 3, stride=1, padding=1)
        new = (known == 0) & (beside > 0)
        x = torch.where(new, functional.avg_pool2d(x, 3, stride=1, padding=1) / beside.clamp_min(0.1), x)
        known = torch.where(new, torch.ones((), device=known.device), known)
    return x, known


def load_mini(entry: DenseEntry, *, device: str = "cpu") -> MiniRunner:
    """Load a shipped net.

    Args:
        entry: Its registry entry.
        device: ``cpu`` or a torch device such as ``cuda:0``.

    Raises:
        WeightsError: The weights are missing or have another sha256.
    """
    tensors = open_checkpoint(locate(entry.weights))
    return MiniRunner(entry, {name: tensor.float() for name, tensor in tensors.items()}, device=device)


def trunk_arrays(state: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """The trunk's tensors under the names that `FastDynamicWorld` knows."""
    return {
        published(name.removeprefix(_TRUNK)): np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
        for name, tensor in state.items()
        if name.startswith(_TRUNK)
    }


assert RECEPTIVE_FIELD + EDGE <= HALO
