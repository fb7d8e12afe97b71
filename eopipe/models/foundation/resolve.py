"""From a foundation model's name to the folder that holds it.

A name is one of: an entry of the registry (``sam-vit-h``); ``hf-hub:OWNER/NAME``, a repository that holds a model of
one of the known types; ``local-dir:FOLDER``, a folder that does. Nothing here imports ``transformers``, which takes
seconds: a plan needs none of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.errors import PlanError, WeightsError
from eopipe.models.foundation.entries import KINDS, SAFE, foundation_entry, hub_folder
from eopipe.models.foundation.weights_folder import Folder, fetch_repository, find_repository, open_folder
from eopipe.models.registry import MODELS
from eopipe.models.registry_entry import NO_LICENCE, FoundationEntry
from eopipe.models.weights import FOLDER, HUB, WeightsEntry, check, sha256_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.models.registry_entry import FoundationTask

SIDES = (800, 1333)
"""Of a detector's picture where its folder does not state them: the short side, and the longest long one."""

_SAME_TYPE = {"sam2_video": "sam2"}


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A model whose folder is on this machine and whole; none of its tensors is read yet.

    Attributes:
        name: As the spec names it.
        entry: What is known of it; mean and standard deviation are the folder's own where it states them.
        folder: Where it is on this machine.
        sha256: Of every file that decides the result, by file name.
        sides: Of a detector's picture, `SIDES`.
        notes: What its user should know, one line each.
    """

    name: str
    entry: FoundationEntry
    folder: Folder
    sha256: Mapping[str, str]
    sides: tuple[int, int] = SIDES
    notes: tuple[str, ...] = ()

    @property
    def config(self) -> Mapping[str, Any]:
        """Its ``config.json``."""
        return self.folder.config

    @property
    def size(self) -> int:
        """Bytes of its tensors as float32."""
        return 4 * self.folder.numbers

    @property
    def weights(self) -> dict[str, str]:
        """Model and file to sha256, for a tile recipe."""
        label = self.entry.model_type if self.name.startswith(FOLDER) else self.name.removeprefix(HUB)
        return {f"{label}/{file}": sha256 for file, sha256 in self.sha256.items()}

    @property
    def places(self) -> tuple[str, ...]:
        """The name, where it is only the path of a folder: no part of a recipe, since `weights` is."""
        return (self.name,) if self.name.startswith(FOLDER) else ()

    @property
    def provenance(self) -> dict[str, Any]:
        """What a run's record says of the model; no path, since workers may keep the folder elsewhere."""
        return {
            "model": self.entry.model_type if self.places else self.name,
            "model_type": self.entry.model_type,
            "mean": list(self.entry.mean),
            "std": list(self.entry.std),
            "files": dict(self.sha256),
            "revision": self.folder.revision,
            "licence": self.entry.licence,
            "source": self.entry.weights.origin,
            "citation": self.entry.citation,
        }

    def must_be(self, kind: FoundationTask) -> None:
        """Refuse a model that cannot give this.

        Raises:
            WeightsError: It cannot; which models can.
        """
        _must_give(self.name, self.entry, kind)


def resolve(name: str, kind: FoundationTask | None = None) -> Resolved:
    """Find a model's folder, fetch it if need be, and hash what decides the result; no tensor is read.

    Args:
        name: See the module.
        kind: What it has to give; None: anything.

    Raises:
        PlanError: The ``transformers`` library is not installed.
        WeightsError: No such model, its folder is missing or not whole, holds a model of another type, or cannot give
            this.
    """
    if find_spec("transformers") is None:
        raise PlanError(f"model {name!r} needs the transformers library: pip install 'eopipe[change]'")
    if kind is not None and isinstance(known := MODELS.get(name), FoundationEntry):
        _must_give(name, known, kind)  # before anything is fetched
    entry, folder = _known(name)
    model = _described(name, entry, folder)
    if kind is not None:
        model.must_be(kind)
    return model


def _must_give(name: str, entry: FoundationEntry, kind: FoundationTask) -> None:
    if kind not in entry.kinds:
        raise WeightsError(f"model {name!r} gives {', '.join(entry.kinds)}, no {kind}: {_choice(kind)}")


def is_foundation(name: str) -> bool:
    """Whether a name is one of the registry's foundation models; hub repositories and folders are not."""
    return isinstance(MODELS.get(name), FoundationEntry)


def _known(name: str) -> tuple[FoundationEntry | None, Folder]:
    """The registry's entry, if it has one, and the folder."""
    entry = MODELS.get(name)
    if isinstance(entry, FoundationEntry):
        hub = entry.weights.hub
        assert hub is not None, "every entry names one"
        return entry, find_repository(hub, name) or fetch_repository(hub, name)
    if entry is not None:
        raise WeightsError(f"model {name!r} is {entry.title}; {_choice(None)}")
    if name.startswith(HUB):
        hub = name.removeprefix(HUB)
        if hub.count("/") != 1 or not all(hub.split("/")):
            raise WeightsError(f"model {name!r}: expected hf-hub:OWNER/NAME")
        return None, find_repository(hub, name) or fetch_repository(hub, name)
    if name.startswith(FOLDER):
        return None, open_folder(Path(name.removeprefix(FOLDER)).expanduser(), name)
    raise WeightsError(f"no model {name!r}; {_choice(None)}, hf-hub:OWNER/NAME or local-dir:FOLDER")


def _described(name: str, entry: FoundationEntry | None, folder: Folder) -> Resolved:
    written = folder.config["model_type"]
    model_type = _SAME_TYPE.get(written, written)
    if model_type not in KINDS or (entry is not None and model_type != entry.model_type):
        expected = entry.model_type if entry is not None else ", ".join(KINDS)
        raise WeightsError(
            f"model {name!r}: {folder.path / 'config.json'} has model_type {written!r}, not {expected}; "
            f"put the right folder there"
        )
    pictures = folder.pictures
    if entry is None:
        entry = _unregistered_entry(name, model_type, folder)
    entry = replace(
        entry,
        mean=_colours(name, pictures, "image_mean", entry.mean),
        std=_colours(name, pictures, "image_std", entry.std),
    )
    for file in folder.files:  # as the hub's cache names them
        check(folder.path / file, None, name)
    sha256 = {file: sha256_of(folder.path / file) for file in folder.files}
    short = ", ".join(f"{file} {sha256[file][:12]}…" for file in folder.tensors)
    notes = (f"{name}: no source states the sha256 of its files; the recipe holds what was found: {short}",)
    sides = _sides(name, pictures.get("size")) if "boxes" in entry.kinds else SIDES
    return Resolved(name=name, entry=entry, folder=folder, sha256=sha256, sides=sides, notes=notes)


def _unregistered_entry(name: str, model_type: str, folder: Folder) -> FoundationEntry:
    """Of a folder or a repository that the registry does not know."""
    if name.startswith(HUB):
        weights = hub_folder(name, name.removeprefix(HUB), "see the hub")
    else:
        weights = WeightsEntry(name=name, file=SAFE, licence=NO_LICENCE, origin="the user's folder")
    patch = width = None
    if "features" in KINDS[model_type]:
        patch, width = folder.config.get("patch_size", 16), folder.config.get("hidden_size", 768)
        if not isinstance(patch, int) or not isinstance(width, int):
            raise WeightsError(
                f"model {name!r}: patch_size {patch!r} and hidden_size {width!r} must be whole numbers"
            )
    return foundation_entry(name, model_type, weights, patch=patch, width=width)


def _colours(
    name: str, pictures: Mapping[str, Any], key: str, otherwise: tuple[float, float, float]
) -> tuple[float, float, float]:
    values = pictures.get(key, otherwise)
    try:
        red, green, blue = map(float, values)
    except (TypeError, ValueError) as error:
        raise WeightsError(f"model {name!r}: {key} {values!r} of its pictures is not three numbers") from error
    return red, green, blue


def _sides(name: str, size: Any) -> tuple[int, int]:
    if size is None:
        return SIDES
    try:
        return int(size["shortest_edge"]), int(size["longest_edge"])
    except (TypeError, KeyError, ValueError) as error:
        raise WeightsError(
            f"model {name!r}: size {size!r} of its pictures has no shortest_edge, longest_edge"
        ) from error


def _choice(kind: FoundationTask | None) -> str:
    names = [
        entry.name
        for entry in MODELS.loaded()
        if isinstance(entry, FoundationEntry) and (kind is None or kind in entry.kinds)
    ]
    return f"choose one of {', '.join(names)}"
