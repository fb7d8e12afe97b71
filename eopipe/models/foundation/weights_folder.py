"""The folder of a model: where it is, whether it is whole, and the refusal of programs in it.

A model of the ``transformers`` library is a folder: ``config.json``, ``model.safetensors`` (or its parts and their
index), what prepares its pictures, and a detector's ``tokenizer.json``. It is searched in the user's folder
(``EOPIPE_WEIGHTS``, by OWNER/NAME), then in the Hugging Face cache, and only then fetched, file by file at one
revision: safetensors and json, never a pickle and never code.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.errors import WeightsError
from eopipe.models.foundation.entries import CONFIG, INDEX, SAFE
from eopipe.models.weights import fetch_from_hub, users_folder, where

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKENS = "tokenizer.json"
PICTURES = "preprocessor_config.json", "processor_config.json"
"""Files that state how pictures are prepared, first choice first."""

_PICKLED = "pytorch_model.bin"
_HEADER = 100 << 20
"""Bytes that a safetensors file's header may be."""
_CODE = "auto_map", "quantization_config", "use_timm_backbone", "use_pretrained_backbone"
"""Keys of a configuration that would have code or other weights fetched, unless they are empty."""


@dataclass(frozen=True)
class Folder:
    """A folder that holds a whole model; none of its tensors is read yet.

    Args:
        path: Where.
        config: Its ``config.json``.
        tensors: Its safetensors files, in order.
        others: The other files that decide the result.
        numbers: In its tensors.
        revision: The hub's name of this state, where the hub's cache holds it.
    """

    path: Path
    config: Mapping[str, Any]
    tensors: tuple[str, ...]
    others: tuple[str, ...]
    numbers: int
    revision: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Every file that decides the result."""
        return (*self.others, *self.tensors)

    @property
    def pictures(self) -> Mapping[str, Any]:
        """How its pictures are prepared; empty where it does not say.

        Raises:
            WeightsError: The file is no JSON object.
        """
        for name in PICTURES:
            if name in self.others:
                document = read_json(self.path / name)
                return document.get("image_processor", document)  # type: ignore[no-any-return]  # JSON
        return {}


def open_folder(path: Path, name: str, *, revision: str | None = None) -> Folder:
    """Check a folder.

    Args:
        path: The folder.
        name: The model's, for people.
        revision: As the hub calls it.

    Raises:
        WeightsError: A file is missing or damaged, tensors are there as a pickle only, or the configuration names
            code or other weights.
    """
    if not (path / CONFIG).is_file():
        raise WeightsError(f"model {name!r}: there is no {path / CONFIG}; give a folder with {CONFIG} and {SAFE}")
    config = read_json(path / CONFIG)
    if not isinstance(config.get("model_type"), str):
        raise WeightsError(f"model {name!r}: {path / CONFIG} names no model_type; give transformers' configuration")
    key = _code_in(config)
    if key is not None:
        raise WeightsError(f"model {name!r}: {path / CONFIG} has {key}, which names code or other weights; refused")
    tensors, index = _tensors(path, name)
    pictures = next((file for file in PICTURES if (path / file).is_file()), None)
    others = (CONFIG, *index, *([pictures] if pictures else []))
    if "grounding" in config["model_type"]:
        if not (path / TOKENS).is_file():
            raise WeightsError(f"model {name!r}: there is no {path / TOKENS}; a detector reads names with it")
        others = (*others, TOKENS)
    numbers = sum(_numbers(path / file) for file in tensors)
    return Folder(path, config, tensors, others, numbers, revision)


def find_repository(hub: str, name: str) -> Folder | None:
    """A repository of the hub in the user's folder or in the hub's cache; None: in neither, or not whole there.

    Args:
        hub: ``OWNER/NAME``.
        name: The model's, for people.

    Raises:
        WeightsError: It is in the user's folder, and is not whole (`open_folder`).
    """
    folder = users_folder()
    if folder is not None and (folder / hub).is_dir():
        return open_folder(folder / hub, name)
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415  (most runs need no hub)

    cached = try_to_load_from_cache(hub, CONFIG)
    if not isinstance(cached, str):
        return None
    path = Path(cached).parent
    try:
        return open_folder(path, name, revision=path.name)
    except WeightsError:
        return None  # fetched in part only: the rest is fetched, or an error says what is missing


def fetch_repository(hub: str, name: str) -> Folder:
    """Get a repository from the hub, which keeps it in its cache; only safetensors and json.

    Args:
        hub: ``OWNER/NAME``.
        name: The model's, for people.

    Raises:
        WeightsError: It cannot be fetched; which files to put where.
    """
    remedy = f"put {CONFIG}, {SAFE} and what lies beside them into {hub} in {where()} (from huggingface.co/{hub})"
    config = _download(hub, CONFIG, None, name, remedy)
    assert config is not None, "required"
    revision, path = config.parent.name, config.parent
    if _download(hub, SAFE, revision, name, None) is None:
        if _download(hub, INDEX, revision, name, None) is None:
            raise WeightsError(
                f"model {name!r}: huggingface.co/{hub} has no {SAFE}, and pickles are not read: {_converted(remedy)}"
            )
        for file in _listed(path / INDEX, name):
            _download(hub, file, revision, name, remedy)
    for file in (*PICTURES, TOKENS):
        _download(hub, file, revision, name, None)
    return open_folder(path, name, revision=revision)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        WeightsError: It is none.
    """
    try:
        document = json.loads(file.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise WeightsError(f"{file} is no JSON ({error}); get the file again") from error
    if not isinstance(document, dict):
        raise WeightsError(f"{file} holds a {type(document).__name__}, no JSON object; get the file again")
    return document


def _code_in(config: Mapping[str, Any]) -> str | None:
    """The first key, at any depth, that would have more fetched than what is checked."""
    for key, value in config.items():
        if key in _CODE and value:
            return key
        if isinstance(value, dict) and (inner := _code_in(value)) is not None:
            return inner
    return None


def _tensors(path: Path, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Files of tensors, and the index that lists them, if there is one."""
    if (path / SAFE).is_file():
        return (SAFE,), ()
    if (path / INDEX).is_file():
        files = _listed(path / INDEX, name)
        missing = [file for file in files if not (path / file).is_file()]
        if missing:
            raise WeightsError(f"model {name!r}: there is no {path / missing[0]}, which {INDEX} names; get the file")
        return files, (INDEX,)
    if (path / _PICKLED).is_file():
        raise WeightsError(
            f"model {name!r}: {path / _PICKLED} is a pickle, which can run code, and is not read: "
            f"{_converted(f'put {SAFE} beside it')}"
        )
    raise WeightsError(f"model {name!r}: there is no {path / SAFE}; put it there")


def _listed(index: Path, name: str) -> tuple[str, ...]:
    """Files of tensors that an index lists."""
    file_of = read_json(index).get("weight_map")
    if not isinstance(file_of, dict) or not file_of:
        raise WeightsError(f"model {name!r}: {index} has no weight_map; get the file again")
    files = tuple(sorted(set(map(str, file_of.values()))))
    if any(Path(file).name != file or not file.endswith(".safetensors") for file in files):
        raise WeightsError(f"model {name!r}: {index} names files that are no safetensors beside it; refused")
    return files


def _numbers(file: Path) -> int:
    """Numbers in a safetensors file, by its header."""
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            header = json.loads(opened.read(min(length, _HEADER)))
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError, OSError, struct.error) as error:
        raise WeightsError(f"weights {file} are damaged or no safetensors file ({error}); get it again") from error


def _converted(remedy: str) -> str:
    return f"{remedy}; transformers' save_pretrained writes it of weights that you trust"


def _download(hub: str, file: str, revision: str | None, name: str, remedy: str | None) -> Path | None:
    """One file through the hub's cache; None: the hub has no such file, and no remedy is given.

    Raises:
        WeightsError: The file cannot be fetched.
    """
    reason = "no such file there"
    try:
        path = fetch_from_hub(hub, file, revision=revision)
        if path is not None or remedy is None:
            return path
    except ConnectionError as error:
        reason = str(error)
    put = remedy or f"put the folder {hub} into {where()}"
    raise WeightsError(f"model {name!r}: {file} is not here and huggingface.co/{hub} gives none ({reason}): {put}")
