"""The foundation models that are known by name, and what each kind of them can give.

Licences are as their authors state them. No source at hand states a sha256 of these files, so the entries have none:
the first use prints it, and a run's recipe holds it.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from eopipe.models.registry_entry import FoundationEntry
from eopipe.models.weights import hub_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from eopipe.models.registry_entry import FoundationTask
    from eopipe.models.weights import WeightsEntry

CONFIG, SAFE, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
"""The names that the ``transformers`` library gives to a configuration, its tensors, and the list of their parts."""

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of pictures in 0-1: those of every model here."""

KINDS: Mapping[str, tuple[FoundationTask, ...]] = MappingProxyType(
    {
        "vit": ("features",),
        "dinov2": ("features",),
        "sam": ("point-masks",),
        "sam2": ("point-masks", "box-masks"),
        "sam2_video": ("point-masks", "box-masks"),  # as facebook/sam2.1-… may name itself; its memory is not used
        "grounding-dino": ("boxes",),
        "mm-grounding-dino": ("boxes",),
    }
)
"""What a model can give, by the ``model_type`` of its ``config.json``."""

KIRILLOV = "Kirillov et al. 2023, Segment anything, ICCV, arXiv:2304.02643"
RAVI = "Ravi et al. 2024, SAM 2: segment anything in images and videos, arXiv:2408.00714"
CARON = "Caron et al. 2021, Emerging properties in self-supervised vision transformers, ICCV, arXiv:2104.14294"
OQUAB = "Oquab et al. 2023, DINOv2: learning robust visual features without supervision, arXiv:2304.07193"
LIU = "Liu et al. 2023, Grounding DINO, arXiv:2303.05499"
ZHAO = "Zhao et al. 2024, MM-Grounding-DINO, arXiv:2401.02361"


def foundation_entry(
    name: str,
    model_type: str,
    weights: WeightsEntry,
    *,
    citation: str = "",
    patch: int | None = None,
    width: int | None = None,
) -> FoundationEntry:
    """An entry of a model of a known type.

    Args:
        name: What a spec calls it.
        model_type: A key of `KINDS`.
        weights: Where its tensors are.
        citation: Paper.
        patch: Of a model of features.
        width: Likewise.
    """
    return FoundationEntry(
        name=name,
        family="foundation",
        licence=weights.licence,
        weights=weights,
        citation=citation,
        kinds=KINDS[model_type],
        model_type=model_type,
        patch=patch,
        width=width,
        mean=IMAGENET[0],
        std=IMAGENET[1],
    )


def hub_folder(name: str, hub: str, licence: str) -> WeightsEntry:
    """The tensors of a repository on the hub, whole or in parts."""
    return hub_weights(name, hub, licence, SAFE, INDEX)


def _on_hub(name: str, hub: str, model_type: str, citation: str, *sizes: int) -> FoundationEntry:
    patch, width = sizes or (None, None)
    weights = hub_folder(name, hub, "Apache-2.0")
    return foundation_entry(name, model_type, weights, citation=citation, patch=patch, width=width)


FOUNDATION_ENTRIES: tuple[FoundationEntry, ...] = (
    _on_hub("sam-vit-h", "facebook/sam-vit-huge", "sam", KIRILLOV),
    _on_hub("sam-vit-b", "facebook/sam-vit-base", "sam", KIRILLOV),
    _on_hub("sam2.1-hiera-l", "facebook/sam2.1-hiera-large", "sam2", RAVI),
    _on_hub("sam2.1-hiera-t", "facebook/sam2.1-hiera-tiny", "sam2", RAVI),
    _on_hub("dino-vitb16", "facebook/dino-vitb16", "vit", CARON, 16, 768),
    _on_hub("dinov2-base", "facebook/dinov2-base", "dinov2", OQUAB, 14, 768),
    _on_hub("mm-grounding-dino-l", "openmmlab-community/mm_grounding_dino_large_all", "mm-grounding-dino", ZHAO),
    _on_hub("grounding-dino-base", "IDEA-Research/grounding-dino-base", "grounding-dino", LIU),
)
"""Every foundation model that is known by name."""
