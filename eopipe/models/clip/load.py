"""From a model's name to its towers.

A name is one of: an entry of the registry (``ViT-B-16/openai``); any other of open_clip's tags for an architecture
(``ViT-B-16/datacomp_l_s1b_b8k``); ``hf-hub:ORG/NAME``, a repository that open_clip can read; ``local-dir:FOLDER``, a
folder with its two files; an architecture of open_clip (``ViT-B-16``), whose weights the user's ``checkpoint``
gives. No tensor is ever left as it was initialised.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eopipe.errors import WeightsError
from eopipe.models.clip.architecture import Architecture, parse
from eopipe.models.clip.entries import OPENAI, PICKLED, SAFE, clip_entry, clip_weights
from eopipe.models.clip.state_dicts import take_tower
from eopipe.models.registry import MODELS
from eopipe.models.registry_entry import NO_LICENCE, ClipEntry
from eopipe.models.weights import FOLDER, HUB, WeightsEntry, check, hub_weights, locate, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import Tensor

    from eopipe.models.clip.architecture import AttentionSettings, Gelu, Precision
    from eopipe.models.clip.vision import DenseEncoder

CONFIG = "open_clip_config.json"


@dataclass(frozen=True, kw_only=True)
class ResolvedModel:
    """A CLIP whose file is on this machine and checked; none of its tensors is read yet.

    Attributes:
        name: As the spec names it.
        entry: What is known of it: mean, std, patch, width, gsd, modality, attention defaults, licence.
        architecture: Of both towers.
        gelu: The activation it is used with.
        path: Of the file.
        sha256: Of the file.
        notes: What its user should know, one line each.
    """

    name: str
    entry: ClipEntry
    architecture: Architecture
    gelu: Gelu
    path: Path
    sha256: str
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> dict[str, str]:
        """File and sha256, for a tile recipe."""
        return {self.path.name: self.sha256}

    @property
    def provenance(self) -> dict[str, Any]:
        """What a run's record says of the model; no path, since workers may keep the file elsewhere."""
        weights = self.entry.weights
        return {
            "model": self.name,
            "architecture": asdict(self.architecture),
            "gelu": self.gelu,
            "mean": list(self.entry.mean),
            "std": list(self.entry.std),
            "file": self.path.name,
            "sha256": self.sha256,
            "licence": self.entry.licence,
            "source": weights.origin,
            "citation": self.entry.citation,
        }


def resolve_model(
    name: str, *, checkpoint: str | None = None, sha256: str | None = None, gelu: str | None = None
) -> ResolvedModel:
    """Find a model's file, fetch it if need be, and check it; no tensor is read.

    Args:
        name: See the module.
        checkpoint: The user's own file of weights in place of the model's.
        sha256: What the file must have, lower-case hexadecimal.
        gelu: ``quick`` or ``exact`` in place of the model's.

    Raises:
        WeightsError: No such model, it cannot be served, its file is not on this machine and cannot be fetched, or
            it is another file.
    """
    entry, architecture = _recognise(name, has_checkpoint=checkpoint is not None)
    path = _user_file(checkpoint) if checkpoint is not None else locate(entry.weights)
    check(path, sha256, f"the ones that kernel.sha256 names for {name}")
    actual = sha256_of(path)
    notes = []
    if sha256 is None and (checkpoint is not None or entry.weights.sha256 is None):
        notes.append(f"{name}: no source states the sha256 of {path.name}; to pin it write sha256: {actual}")
    if gelu not in (None, "quick", "exact"):
        raise WeightsError(f"gelu: {gelu!r}; choose quick or exact")
    return ResolvedModel(
        name=name,
        entry=entry,
        architecture=architecture,
        gelu=gelu or entry.gelu,  # type: ignore[arg-type]  # one of the two, as just checked
        path=path,
        sha256=actual,
        notes=tuple(notes),
    )


def load_encoder(
    model: ResolvedModel, *, attention: AttentionSettings, precision: Precision = "float32", device: str = "cpu"
) -> DenseEncoder:
    """Read the image tower; missing, unknown and misshapen tensors are errors.

    Args:
        model: From `resolve_model`.
        attention: What the last blocks do.
        precision: Of the matrix products.
        device: Where it runs.

    Raises:
        WeightsError: As `eopipe.models.checkpoints.open_checkpoint` and `eopipe.models.clip.state_dicts.take_tower`,
            or ``attention.last`` is not within the tower.
    """
    from eopipe.models.clip.vision import DenseEncoder  # noqa: PLC0415  (torch)

    heads, layers = model.architecture.image.heads, model.architecture.image.layers
    if not 1 <= attention.last <= layers:
        raise WeightsError(f"last_layers: {attention.last}; {model.name} has {layers} blocks: choose 1 to {layers}")
    state = take_tower(open_weights(model), "image", model.architecture, model.path)
    return DenseEncoder(state, heads, attention=attention, gelu=model.gelu, precision=precision, device=device)


def open_weights(model: ResolvedModel) -> Mapping[str, Tensor]:
    """Every tensor of a model's file by name.

    Raises:
        WeightsError: As `eopipe.models.checkpoints.open_checkpoint`.
    """
    from eopipe.models.checkpoints import open_checkpoint  # noqa: PLC0415  (torch, which a plan does not need)

    hub = model.entry.weights.hub
    instead = f"{SAFE} of huggingface.co/{hub}" if hub else f"{SAFE} of the same weights"
    return open_checkpoint(model.path, instead=instead)


def _recognise(name: str, *, has_checkpoint: bool) -> tuple[ClipEntry, Architecture]:
    entry = MODELS.get(name)
    if isinstance(entry, ClipEntry):
        return entry, parse(_config(entry.architecture), name)
    if entry is not None:
        raise WeightsError(f"model {name!r} is no CLIP but {entry.title}: choose one, such as ViT-B-16/openai")
    if name.startswith(HUB):
        return _from_hub(name)
    if name.startswith(FOLDER):
        return _from_folder(name)
    architecture, _, tag = name.partition("/")
    config = _configs().get(architecture)
    if config is None or not (tag or has_checkpoint):
        clips = ", ".join(entry.name for entry in MODELS.loaded() if isinstance(entry, ClipEntry))
        fault = f"model {name!r} has no weights: add checkpoint" if config is not None else f"no model {name!r}"
        raise WeightsError(
            f"{fault}; there are: {clips}; also hf-hub:ORG/NAME, local-dir:FOLDER, or an open_clip tag"
        )
    return _from_tag(name, architecture, tag) if tag else _from_architecture(name, architecture)


def _from_tag(name: str, architecture: str, tag: str) -> tuple[ClipEntry, Architecture]:
    """A row of open_clip's table that is not in the registry."""
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model  # noqa: PLC0415  (heavy)

    row = get_pretrained_cfg(architecture, tag)
    if not row:
        tags = ", ".join(list_pretrained_tags_by_model(architecture))
        raise WeightsError(f"no model {name!r}; for {architecture} open_clip has: {tags}")
    known = parse(_config(architecture), name)
    hub = row.get("hf_hub", "").rstrip("/")
    if not hub or hub.count("/") != 1:
        raise WeightsError(f"model {name!r} has no file on huggingface.co: get it by hand and give it as checkpoint")
    quick = known.quick_gelu or row.get("quick_gelu", False)
    weights = clip_weights(name, hub, "see the hub")
    colours = {"mean": row["mean"], "std": row["std"]}
    gelu = "quick" if quick else "exact"
    return _entry(name, known, weights, architecture=architecture, gelu=gelu, **colours), known


def _from_architecture(name: str, architecture: str) -> tuple[ClipEntry, Architecture]:
    """The user's own weights for one of open_clip's architectures."""
    known = parse(_config(architecture), name)
    weights = WeightsEntry(name=name, file="", licence=NO_LICENCE, origin="the user's checkpoint")
    return _entry(name, known, weights), known


def _from_hub(name: str) -> tuple[ClipEntry, Architecture]:
    hub = name.removeprefix(HUB)
    if hub.count("/") != 1:
        raise WeightsError(f"model {name!r}: expected hf-hub:ORG/NAME")
    config = hub_weights(f"{name}'s {CONFIG}", hub, "see the hub", CONFIG)
    return _configured(name, locate(config), clip_weights(name, hub, "see the hub"))


def _from_folder(name: str) -> tuple[ClipEntry, Architecture]:
    folder = Path(name.removeprefix(FOLDER)).expanduser()
    file = folder / CONFIG
    if not file.is_file():
        raise WeightsError(f"model {name!r}: there is no {file}; give a folder with {CONFIG} and {SAFE}")
    weights = WeightsEntry(
        name=name,
        file=str((folder / SAFE).resolve()),  # an absolute path stays itself below any weights folder
        others=(str((folder / PICKLED).resolve()),),
        licence=NO_LICENCE,
        origin="the user's folder",
    )
    return _configured(name, file, weights)


def _configured(name: str, file: Path, weights: WeightsEntry) -> tuple[ClipEntry, Architecture]:
    """A model that brings open_clip's configuration with it."""
    try:
        config = json.loads(file.read_text("utf-8"))
        known = parse(config["model_cfg"], name)
        colours = config.get("preprocess_cfg", {})
        mean, std = _colours(colours.get("mean", OPENAI[0])), _colours(colours.get("std", OPENAI[1]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"model {name!r}: {file} is no configuration of open_clip ({error!r}); replace it"
        ) from error
    return _entry(name, known, weights, mean=mean, std=std), known


def _colours(values: Iterable[float]) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _entry(name: str, known: Architecture, weights: WeightsEntry, **values: Any) -> ClipEntry:
    gelu = "quick" if known.quick_gelu else "exact"
    sizes = {"architecture": name, "patch": known.patch, "width": known.width}
    return clip_entry(name, weights, **{"gelu": gelu, **sizes, **values})


def _user_file(checkpoint: str) -> Path:
    path = Path(checkpoint).expanduser()
    if not path.is_file():
        raise WeightsError(f"checkpoint: there is no file {str(path)!r}; give the path of one")
    return path


def _config(architecture: str) -> Mapping[str, Any]:
    config = _configs().get(architecture)
    if config is None:
        raise WeightsError(f"open_clip knows no {architecture}: upgrade it (open_clip_torch 3 or later)")
    return config


@lru_cache(maxsize=1)
def _configs() -> Mapping[str, Mapping[str, Any]]:
    """open_clip's model configurations by name, read beside its code: to import it takes seconds."""
    package = find_spec("open_clip")
    assert package is not None, "a dependency"
    assert package.origin is not None, "an ordinary package"
    files = (Path(package.origin).parent / "model_configs").glob("*.json")
    return {file.stem: json.loads(file.read_text("utf-8")) for file in sorted(files)}
