"""From an upsampler's name to its weights, and to the form that suits the device."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.errors import WeightsError
from eopipe.models.checkpoints import misfits, open_checkpoint
from eopipe.models.clip.entries import OPENAI
from eopipe.models.registry import MODELS
from eopipe.models.weights import find, locate, sha256_of

if TYPE_CHECKING:
    from torch import Tensor

    from eopipe.models.upsample.jbu import JBU
    from eopipe.models.upsample.protocol import Upsampler

WEIGHTLESS = "bilinear"
"""The upsampler that has no weights: the published path without one."""

_LIGHTNING = "upsampler."

Colour = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class ResolvedUpsampler:
    """An upsampler whose file is on this machine and checked; none of its tensors is read yet.

    Attributes:
        name: ``bilinear``, ``jbu_one``, ``jbu_stack`` or ``anyup``.
        checkpoint: The user's file, as the spec has it; None for the registered one, or none at all.
        sha256: Of the file; empty where there is none.
        notes: What its user should know, one line each.
    """

    name: str
    checkpoint: str | None = None
    sha256: str = ""
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> dict[str, str]:
        """Role and sha256, for a tile recipe."""
        return {f"upsampler {self.name}": self.sha256} if self.sha256 else {}

    @property
    def provenance(self) -> dict[str, Any]:
        """What a run's record says of it."""
        if self.name == WEIGHTLESS:
            return {"name": self.name}
        entry = MODELS[self.name]
        source = "the user's checkpoint" if self.checkpoint else entry.weights.origin
        return {"name": self.name, "sha256": self.sha256, "licence": entry.licence, "source": source}


def resolve_upsampler(name: str, *, checkpoint: str | None = None) -> ResolvedUpsampler:
    """Find an upsampler's file and check it; no tensor is read.

    Args:
        name: ``bilinear``, ``jbu_one``, ``jbu_stack`` or ``anyup``.
        checkpoint: The user's file in place of the registered one.

    Raises:
        WeightsError: No such upsampler; its file is missing and cannot be fetched; or ``bilinear`` has a file.
    """
    if name == WEIGHTLESS:
        if checkpoint is not None:
            raise WeightsError(
                f"upsampler_checkpoint: {checkpoint!r}, and upsampler {name} has no weights; remove it"
            )
        return ResolvedUpsampler(name=name)
    path = _path(name, checkpoint)
    actual = sha256_of(path)
    unknown = checkpoint is not None or MODELS[name].weights.sha256 is None
    notes = (f"upsampler {name}: no source states the sha256 of {path.name}; it is {actual}",) if unknown else ()
    return ResolvedUpsampler(name=name, checkpoint=checkpoint, sha256=actual, notes=notes)


def load_upsampler(
    resolved: ResolvedUpsampler,
    *,
    device: str,
    threads: int,
    channels: int,
    colours: tuple[Colour, Colour] = OPENAI,
) -> Upsampler:
    """Read the tensors; on a CPU the fused forms, elsewhere torch.

    Args:
        resolved: From `resolve_upsampler`; its file is searched again, on this machine.
        device: Where it runs.
        threads: For the fused forms.
        channels: Of the encoder's features.
        colours: Mean and standard deviation that the guidance is normalised with, of pixels from 0 to 1.

    Raises:
        WeightsError: The file is missing, is another than the one resolved, is unsafe, holds other tensors, or was
            made for features of other channels.
    """
    if resolved.name == WEIGHTLESS:
        from eopipe.models.upsample.protocol import Bilinear  # noqa: PLC0415  (torch, which a plan does not need)

        return Bilinear()
    path = _path(resolved.name, resolved.checkpoint)
    if sha256_of(path) != resolved.sha256:
        raise WeightsError(
            f"upsampler {resolved.name}: {path} has sha256 {sha256_of(path)}, and the run began with "
            f"{resolved.sha256}; put the same file here"
        )
    state = open_checkpoint(path)
    if resolved.name == "anyup":
        from eopipe.models.upsample.anyup import AnyUp  # noqa: PLC0415  (torch)

        return AnyUp(state, device=device, threads=threads, mean=colours[0], std=colours[1])
    tensors = {name.removeprefix(_LIGHTNING): tensor for name, tensor in state.items()}
    return jbu_upsampler(_jbu(resolved.name, channels, tensors, path), device=device, threads=threads)


def jbu_upsampler(module: JBU, *, device: str, threads: int) -> Upsampler:
    """The fast form of a JBU for a device.

    Args:
        module: With its weights.
        device: Where it runs.
        threads: For the fused form of the CPU.
    """
    if device == "cpu":
        from eopipe.models.upsample.jbu_cpu import JBUCpu  # noqa: PLC0415  (numba)

        return JBUCpu(module.state_dict(), threads=threads)
    from eopipe.models.upsample.jbu_torch import JBUTorch  # noqa: PLC0415  (torch)

    return JBUTorch(module.to(device))


def _path(name: str, checkpoint: str | None) -> Path:
    if checkpoint is None:
        if name not in MODELS or MODELS[name].family != "upsampler":
            raise WeightsError(f"upsampler: there is no {name!r}; choose bilinear, jbu_one, jbu_stack or anyup")
        return _registered(name)
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise WeightsError(f"upsampler_checkpoint: there is no file {str(path)!r}; give the path of one")
    return path


def _registered(name: str) -> Path:
    weights = MODELS[name].weights
    try:
        return locate(weights)
    except WeightsError as error:
        if find(weights) is not None:
            raise
        raise WeightsError(f"{error}, or name a file of yours as upsampler_checkpoint") from None


def _jbu(name: str, channels: int, tensors: dict[str, Tensor], path: Path) -> JBU:
    from eopipe.models.upsample.jbu import JBU  # noqa: PLC0415  (torch)

    last = tensors.get("fixup_proj.1.weight")
    if last is not None and len(last) != channels:
        raise WeightsError(
            f"upsampler {name}: {path.name} is for features of {len(last)} channels, and the encoder gives"
            f" {channels}; take an upsampler trained for this encoder, or bilinear or anyup"
        )
    module = JBU(name, channels)
    fault = misfits({key: value.shape for key, value in module.state_dict().items()}, tensors)
    if fault:
        raise WeightsError(f"upsampler {name}: {path} holds other tensors: {fault}; give a {name} checkpoint")
    module.load_state_dict(tensors)
    return module
