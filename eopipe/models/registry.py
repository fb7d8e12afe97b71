"""Every model that a spec can name, of eopipe and of other packages, with all that must travel with its weights."""

from __future__ import annotations

from typing import Any

from eopipe.errors import PluginError, WeightsError
from eopipe.models.clip.entries import CLIP_ENTRIES
from eopipe.models.foundation.entries import FOUNDATION_ENTRIES
from eopipe.models.registry_entry import (
    NO_LICENCE,
    ClassifierEntry,
    ClipEntry,
    DenseEntry,
    FoundationEntry,
    ModelEntry,
    UpsamplerEntry,
)
from eopipe.models.weights import WeightsEntry, find, where
from eopipe.plugins import Table

NINE_BANDS = ("blue", "green", "red", "rededge1", "rededge2", "rededge3", "nir", "swir16", "swir22")
"""Canonical names of Dynamic World's bands, in its order."""

DYNAMIC_WORLD = ClassifierEntry(
    name="dynamic-world",
    version="1",
    family="land-cover",
    sensor="Sentinel-2 MSI L1C, top-of-atmosphere reflectance",
    bands=("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B11", "B12"),
    gsd=10.0,
    classes=(
        "water", "trees", "grass", "flooded_vegetation", "crops", "shrub_and_scrub", "built", "bare", "snow_and_ice",
    ),
    licence="Apache-2.0",
    weights=WeightsEntry(
        name="dynamic-world v1 forward",
        file="dynamicworld/dynamicworld_forward_fused.npz",
        sha256="3b1726946bda77768b66fb50cc5995e7499aea9ab28f2cf7597cdba53f4293b0",
        size=892094,
        licence="Apache-2.0",
        origin="github.com/google/dynamicworld, model/forward, batch norm folded",
    ),
    normalisation="x = ln(0.005*DN + 1); x = (x - mean)/std; x = 1/(1 + exp(1 - 5*x)); DN = reflectance*10000",
    mean=(
        1.7417268007636313, 1.7261204997060209, 1.6798346251414997, 1.7734969472909623, 2.289154079164943,
        2.382939712192371, 2.3828939530384052, 2.1952484264967844, 1.554812948247501,
    ),
    std=(
        2.023298706048351, 2.038905204308012, 2.179592821212937, 2.2890068333026603, 2.6171674549378166,
        2.773418590375327, 2.7578332604178284, 2.789092484314204, 2.4140534947492487,
    ),
    citation="Brown et al. 2022, Dynamic World, near real-time global land cover at 10 m, Sci. Data 9:251",
)  # fmt: skip


ANYUP = UpsamplerEntry(
    name="anyup",
    family="upsampler",
    version="multi_backbone",
    licence="CC-BY-4.0",
    weights=WeightsEntry(
        name="AnyUp multi_backbone",
        file="anyup/anyup_multi_backbone.pth",
        sha256="b6cc407da8986c7e5c9098e61f7531767a9aca8fff20a1bc6c99d488e61aac59",
        size=3541624,
        licence="CC-BY-4.0",
        origin="github.com/wimmerth/anyup, release checkpoint_v2",
    ),
    citation="Wimmer et al. 2025, AnyUp: universal feature upsampling, arXiv:2510.12764",
    made_for="features of any encoder",
    channels=None,
    factor=None,
)

JBU_STACK = UpsamplerEntry(
    name="jbu_stack",
    family="upsampler",
    version="clip, COCO-Stuff",
    licence="MIT",
    weights=WeightsEntry(
        name="FeatUp jbu_stack for CLIP",
        file="featup_jbu/clip_jbu_stack_cocostuff.ckpt",
        sha256="38ce7487c648d01cf37beb005f464410c498008fea03e6a68a269d79e4e29622",
        size=3513883,
        licence="MIT",
        origin="github.com/likyoo/SegEarth-OV, simfeatup_dev/weights; by FeatUp, github.com/mhamilton723/FeatUp",
    ),
    citation="Fu et al. 2024, FeatUp: a model-agnostic framework for features at any resolution, ICLR",
    made_for="CLIP ViT-B/16",
    channels=512,
    factor=16,
)

JBU_ONE = UpsamplerEntry(
    name="jbu_one",
    family="upsampler",
    version="xclip, Million-AID",
    licence=NO_LICENCE,
    weights=WeightsEntry(
        name="SimFeatUp jbu_one for CLIP",
        file="simfeatup/xclip_jbu_one_million_aid.ckpt",
        licence=NO_LICENCE,
        origin="github.com/likyoo/SegEarth-OV, simfeatup_dev/weights",
    ),
    citation="Li et al. 2025, SegEarth-OV, CVPR, arXiv:2410.01768",
    made_for="CLIP ViT-B/16",
    channels=512,
    factor=16,
)


def _mini(name: str, bands: tuple[str, ...], *, file: str, sha256: str | None, size: int | None) -> DenseEntry:
    """An entry of the project's own model: normalised as its teacher, band by band."""
    columns = [NINE_BANDS.index(band) for band in bands]
    return DenseEntry(
        name=name,
        family="pixel-text",
        licence="Apache-2.0",
        weights=WeightsEntry(
            name=name,
            file=f"mini/{file}",
            sha256=sha256,
            size=size,
            licence="Apache-2.0",
            origin="`eopipe train mini`: Copernicus Sentinel-2 scenes, taught by Dynamic World (Apache-2.0)",
        ),
        citation="eopipe, docs/MINI.md; teacher: Brown et al. 2022, Dynamic World, Sci. Data 9:251",
        sensor="10 m reflectance",
        bands=bands,
        gsd=(7.0, 14.0),
        concepts=DYNAMIC_WORLD.classes,
        text="all-MiniLM-L6-v2",
        mean=tuple(DYNAMIC_WORLD.mean[column] for column in columns),
        std=tuple(DYNAMIC_WORLD.std[column] for column in columns),
        sharpness=3.0,
        card="mini/README.md",
    )


MINI = _mini(
    "mini",
    ("blue", "green", "red", "nir"),
    file="mini.safetensors",
    sha256="cacc20094dbe98e8df7e6004cc314fbcb423529492619aade53f1e2e169b9070",
    size=2748084,
)


def mini_entry(bands: tuple[str, ...]) -> DenseEntry:
    """The entry that sees these bands: `MINI`, or one in training, which is not offered and has no file."""
    if bands == MINI.bands:
        return MINI
    return _mini(f"mini of {', '.join(bands)}", bands, file="in-training.safetensors", sha256=None, size=None)


def _checked(name: str, offered: object) -> ModelEntry:
    """What an entry point holds, as an entry.

    Raises:
        TypeError: It is no model of that name.
    """
    if not isinstance(offered, ModelEntry):
        raise TypeError(f"is no model: it holds a {type(offered).__name__}, not a ModelEntry")
    if offered.name != name:
        raise TypeError(f"is another model: it calls itself {offered.name!r}")
    return offered


MODELS: Table[ModelEntry] = Table(
    "model",
    "eopipe.models",
    {
        entry.name: entry
        for entry in (DYNAMIC_WORLD, MINI, *CLIP_ENTRIES, ANYUP, JBU_STACK, JBU_ONE, *FOUNDATION_ENTRIES)
    },
    _checked,
)
"""Every model by name."""


def register_model(entry: ModelEntry) -> None:
    """Let specs name a model in this process; a package does it for all of them by an entry point.

    Args:
        entry: The model; the same name again replaces what was registered before.

    Raises:
        PluginError: The name is eopipe's own, or another package's.
        TypeError: It is no entry.
    """
    MODELS.register(_checked(getattr(entry, "name", ""), entry).name, entry)


def get_model(name: str) -> ModelEntry:
    """Return a model's entry.

    Args:
        name: A key of `MODELS`.

    Raises:
        WeightsError: No such model; the message lists those there are.
        PluginError: The package that offers it cannot be used.
    """
    entry = MODELS.get(name)
    if entry is None:
        raise WeightsError(f"no model {name!r}; there are: {', '.join(sorted(MODELS))}")
    return entry


def listing() -> list[dict[str, Any]]:
    """Every model for people and ``--json``: what it is, its licence, whether it is here, how to get it.

    A model whose package cannot be used has ``name``, ``package`` and ``error`` only.
    """
    rows = []
    for name in MODELS:
        try:
            rows.append({**_row(MODELS[name]), "package": MODELS.source(name)})
        except PluginError as error:
            rows.append({"name": name, "package": MODELS.source(name), "error": str(error)})
    return rows


def _row(entry: ModelEntry) -> dict[str, Any]:
    path, weights = find(entry.weights), entry.weights
    row: dict[str, Any] = {
        "name": entry.name,
        "family": entry.family,
        "title": entry.title,
        "licence": entry.licence,
        "here": path is not None,
        "path": None if path is None else str(path),
        **{key: getattr(weights, key) for key in ("file", "sha256", "hub", "origin")},
        "get": _how_to_get(entry),
        "citation": entry.citation,
    }
    for kind, keys in _LISTED.items():
        if isinstance(entry, kind):
            values = {key: getattr(entry, key) for key in keys}
            row |= {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    if isinstance(entry, ClipEntry):
        row |= {"attention": entry.attention.kind, "last_layers": entry.attention.last}
    return row


_LISTED: dict[type[ModelEntry], tuple[str, ...]] = {
    ClassifierEntry: ("gsd", "bands", "classes"),
    DenseEntry: ("gsd", "bands", "concepts", "text", "card"),
    ClipEntry: ("modality", "architecture", "gelu", "patch", "gsd", "mean", "std"),
    UpsamplerEntry: ("channels", "factor"),
    FoundationEntry: ("kinds", "model_type", "patch", "width", "mean", "std"),
}
"""Attributes of each kind of model that a listing has."""


def _how_to_get(entry: ModelEntry) -> str:
    weights = entry.weights
    files = f"the folder {weights.hub}" if isinstance(entry, FoundationEntry) else weights.file
    by_hand = f"put {files} into {where()}; from {weights.origin}"
    return f"fetched at the first use, or {by_hand}" if weights.hub else by_hand


OTHERS = (
    "hub: fetched from huggingface.co at the first use; or put its file, as --json names it, into $EOPIPE_WEIGHTS.",
    "Also: hf-hub:ORG/NAME, local-dir:FOLDER, any ARCHITECTURE/TAG of open_clip, or an ARCHITECTURE of it",
    "with kernel.checkpoint: FILE. --json lists the files of this machine too, with the sha256 that is stated.",
)
"""What a listing adds for people: where files go, and what else can be named."""
