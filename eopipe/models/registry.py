"""Every model that a spec can name, with all that must travel with its weights."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from eopipe.errors import WeightsError
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

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        "water",
        "trees",
        "grass",
        "flooded_vegetation",
        "crops",
        "shrub_and_scrub",
        "built",
        "bare",
        "snow_and_ice",
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
        1.7417268007636313,
        1.7261204997060209,
        1.6798346251414997,
        1.7734969472909623,
        2.289154079164943,
        2.382939712192371,
        2.3828939530384052,
        2.1952484264967844,
        1.554812948247501,
    ),
    std=(
        2.023298706048351,
        2.038905204308012,
        2.179592821212937,
        2.2890068333026603,
        2.6171674549378166,
        2.773418590375327,
        2.7578332604178284,
        2.789092484314204,
        2.4140534947492487,
    ),
    citation="Brown et al. 2022, Dynamic World, near real-time global land cover at 10 m, Sci. Data 9:251",
)

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
    places = [NINE_BANDS.index(band) for band in bands]
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
        mean=tuple(DYNAMIC_WORLD.mean[place] for place in places),
        std=tuple(DYNAMIC_WORLD.std[place] for place in places),
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


MODELS: Mapping[str, ModelEntry] = MappingProxyType(
    {
        entry.name: entry
        for entry in (DYNAMIC_WORLD, MINI, *CLIP_ENTRIES, ANYUP, JBU_STACK, JBU_ONE, *FOUNDATION_ENTRIES)
    }
)
"""Every model by name."""


def get_model(name: str) -> ModelEntry:
    """Return a model's entry.

    Args:
        name: A key of `MODELS`.

    Raises:
        WeightsError: No such model; the message lists those there are.
    """
    try:
        return MODELS[name]
    except KeyError:
        raise WeightsError(f"no model {name!r}; there are: {', '.join(sorted(MODELS))}") from None


def listing() -> list[dict[str, Any]]:
    """Every model for people and ``--json``: what it is, its licence, whether it is here, how to get it."""
    return [_row(entry) for entry in MODELS.values()]


def _row(entry: ModelEntry) -> dict[str, Any]:
    path = find(entry.weights)
    row: dict[str, Any] = {
        "name": entry.name,
        "family": entry.family,
        "title": entry.title,
        "licence": entry.licence,
        "here": path is not None,
        "path": None if path is None else str(path),
        "file": entry.weights.file,
        "sha256": entry.weights.sha256,
        "hub": entry.weights.hub,
        "origin": entry.weights.origin,
        "get": _how_to_get(entry),
        "citation": entry.citation,
    }
    if isinstance(entry, ClassifierEntry):
        row |= {"gsd": entry.gsd, "bands": list(entry.bands), "classes": list(entry.classes)}
    elif isinstance(entry, DenseEntry):
        row |= {"gsd": list(entry.gsd), "bands": list(entry.bands), "concepts": list(entry.concepts)}
        row |= {"text": entry.text, "card": entry.card}
    elif isinstance(entry, ClipEntry):
        attention = entry.attention
        row |= {"modality": entry.modality, "architecture": entry.architecture, "gelu": entry.gelu}
        row |= {"patch": entry.patch, "gsd": list(entry.gsd), "mean": list(entry.mean), "std": list(entry.std)}
        row |= {"attention": attention.kind, "last_layers": attention.last}
    elif isinstance(entry, UpsamplerEntry):
        row |= {"channels": entry.channels, "factor": entry.factor}
    elif isinstance(entry, FoundationEntry):
        row |= {"kinds": list(entry.kinds), "model_type": entry.model_type, "patch": entry.patch}
        row |= {"width": entry.width, "mean": list(entry.mean), "std": list(entry.std)}
    return row


def _how_to_get(entry: ModelEntry) -> str:
    weights = entry.weights
    what = f"the folder {weights.hub}" if isinstance(entry, FoundationEntry) else weights.file
    by_hand = f"put {what} into {where()}; from {weights.origin}"
    return f"fetched at the first use, or {by_hand}" if weights.hub else by_hand


OTHERS = (
    "hub: fetched from huggingface.co at the first use; or put its file, as --json names it, into $EOPIPE_WEIGHTS.",
    "Also: hf-hub:ORG/NAME, local-dir:FOLDER, any ARCHITECTURE/TAG of open_clip, or an ARCHITECTURE of it",
    "with kernel.checkpoint: FILE. What is here is named by --json too, with its sha256 where one is stated.",
)
"""What a listing adds for people: where files go, and what else can be named."""
