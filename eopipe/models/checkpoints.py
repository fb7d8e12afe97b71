"""Reading checkpoints without running what may be in them.

A pickle can run any code when it is read. So: safetensors, or PyTorch files read with ``weights_only=True``. A
TorchScript archive is a program, and is refused by its members before anything in it is read.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from eopipe.errors import WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

_WRAPPED = "state_dict"
_PARALLEL = "module."


def open_checkpoint(path: Path, *, instead: str = "a safetensors file of the same weights") -> Mapping[str, Tensor]:
    """Open a checkpoint's tensors by name.

    The tensors of a safetensors file are read when they are asked for; those of a PyTorch file lie in the file until
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
    found = _read_pickle(path)
    while isinstance(found, dict) and isinstance(found.get(_WRAPPED), Mapping):
        found = found[_WRAPPED]
    if not isinstance(found, Mapping):
        raise WeightsError(f"weights {path} hold a {type(found).__name__}, no tensors by name; use a state dict")
    tensors = {str(name): value for name, value in found.items() if isinstance(value, torch.Tensor)}
    if not tensors:
        keys = ", ".join(map(str, list(found)[:5])) or "nothing"
        raise WeightsError(f"weights {path} hold no tensors by name but {keys}; use a state dict")
    return _without_prefix(tensors)


class _Safetensors(Mapping[str, "Tensor"]):
    """A safetensors file, each tensor read when asked for."""

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
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"a {named[1]}" if named else "objects"
        raise WeightsError(
            f"weights {path} hold {what} beside tensors, or are no PyTorch file; reading such objects can run code, "
            f"so they are refused: use a safetensors file, or save the state dict alone"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, TypeError) as error:
        said = " ".join(str(error).split())[:200]
        raise WeightsError(f"weights {path} are damaged or no PyTorch file ({said}); get the file again") from error


def _without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith(_PARALLEL) for name in tensors):
        return {name.removeprefix(_PARALLEL): tensor for name, tensor in tensors.items()}
    return tensors
