"""Reading checkpoints without running code that may be in them.

A pickle can run any code when it is read. So: safetensors, or PyTorch files read with ``weights_only=True``. A
TorchScript archive is a program, and is refused by its members before anything in it is read.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from eopipe.errors import WeightsError, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_WRAPPED = "state_dict"
_PARALLEL = "module."


def open_checkpoint(path: Path, *, instead: str = "a safetensors file of the same weights") -> Mapping[str, Tensor]:
    """Open a checkpoint's tensors by name.

    The tensors of a safetensors file are read when they are used; those of a PyTorch file lie in the file until
    they are used. A ``state_dict`` within (PyTorch Lightning, open_clip's training) is taken out, and ``module.``
    before every name (data-parallel training) is taken off.

    Args:
        path: The file.
        instead: What to use in place of a TorchScript archive, for that error.

    Returns:
        Tensors by name, on the CPU, in the file's own types.

    Raises:
        WeightsError: The file is a program, holds objects other than tensors and plain values, is damaged, or holds
            no tensors by name.
    """
    if path.suffix == ".safetensors":
        return _open_safetensors(path)
    if _is_torchscript(path):
        raise WeightsError(f"weights {path} are a TorchScript archive, a program and no weights: use {instead}")
    content = _read_pickle(path)
    while isinstance(content, dict) and isinstance(content.get(_WRAPPED), Mapping):
        content = content[_WRAPPED]
    if not isinstance(content, Mapping):
        raise WeightsError(f"weights {path} hold a {type(content).__name__}, no tensors by name; use a state dict")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(content)[:5])) or "nothing"
        raise WeightsError(f"weights {path} hold no tensors by name but {keys}; use a state dict")
    return _without_prefix(tensors)


class _Safetensors(Mapping[str, "Tensor"]):
    """A safetensors file, each tensor read at its use."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        names = list(file.keys())
        prefix = _PARALLEL if names and all(name.startswith(_PARALLEL) for name in names) else ""
        self._names = {name.removeprefix(prefix): name for name in names}

    def __getitem__(self, name: str) -> Tensor:
        tensor: Tensor = self._file.get_tensor(self._names[name])
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _open_safetensors(path: Path) -> Mapping[str, Tensor]:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415  (only who reads such a file needs it)

    try:
        return _Safetensors(path, safe_open(str(path), framework="pt", device="cpu"))
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"weights {path} are damaged or no safetensors file ({error}); get the file again"
        ) from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(re.search(r"(^|/)(constants\.pkl$|code/)", name) for name in archive.namelist())


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a pickle protocol that is refused or read all the same
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        match = re.search(r"GLOBAL (\S+)", str(error))
        kind = f"a {match[1]}" if match else "objects"
        raise WeightsError(
            f"weights {path} hold {kind} beside tensors, or are no PyTorch file; reading such objects can run code, "
            f"so they are refused: use a safetensors file, or save the state dict alone"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
        reason = one_line(error, 200)
        raise WeightsError(f"weights {path} are damaged or no PyTorch file ({reason}); get the file again") from error


def misfits(expected: Mapping[str, Sequence[int]], tensors: Mapping[str, Tensor]) -> str:
    """The first tensor that is missing, misshapen or unknown, and how many more are; empty where all fit.

    Args:
        expected: Shapes by name.
        tensors: By name.
    """
    faults = [
        f"{name} is {tuple(tensors[name].shape) if name in tensors else 'missing'}, not {tuple(shape)}"
        for name, shape in expected.items()
        if name not in tensors or tuple(tensors[name].shape) != tuple(shape)
    ]
    faults += [f"{name} is unknown" for name in tensors if name not in expected]
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    return f"{faults[0]}{more}" if faults else ""


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith(_PARALLEL) for name in tensors):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors
