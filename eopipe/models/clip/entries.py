"""The CLIP towers that are known by name.

Those that open_clip distributes are listed as its table of pretrained weights has them (3.3.0: hub repository,
QuickGELU, mean and standard deviation); any other of its tags works too, see :mod:`eopipe.models.clip.load`. No hub
states a sha256 beside its files' names, so the entries have none: the first use prints it, and a spec can pin it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from eopipe.models.clip.architecture import AttentionSettings
from eopipe.models.registry_entry import NO_LICENCE, ClipEntry
from eopipe.models.weights import WeightsEntry, hub_weights

if TYPE_CHECKING:
    from eopipe.models.clip.architecture import Gelu

SAFE, PICKLED = "open_clip_model.safetensors", "open_clip_pytorch_model.bin"
"""The names that open_clip gives to weights in a hub repository."""

OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
INCEPTION = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

OPTICAL_GSD = (0.05, 10.0)
"""From the aerial 5 cm of Potsdam to the Sentinel-2 pixels of the water bodies, both in SegEarth-OV's tables."""
SAR_GSD = (0.15, 10.0)
"""From the airborne and Umbra scenes of OpenEarthMap-SAR to 10 m GaoFen-3 pixels, as AlignEarth was tested."""

SEGEARTH = AttentionSettings("SegEarth")
"""What SegEarth-OV publishes for optical pictures."""
ALIGNEARTH = AttentionSettings("SCLIP", last=2)
"""What SegEarth-OV-2 publishes for SAR."""

SIZES = {"ViT-B-32": (32, 512), "ViT-B-16": (16, 512), "ViT-L-14": (14, 768), "ViT-L-14-336": (14, 768), "ViT-H-14": (14, 1024)}  # fmt: skip  # noqa: E501
"""Patch and joint width of open_clip's plain towers."""

RADFORD = "Radford et al. 2021, Learning transferable visual models from natural language supervision, ICML"
CHERTI = "Cherti et al. 2023, Reproducible scaling laws for contrastive language-image learning, CVPR"
GADRE = "Gadre et al. 2023, DataComp: in search of the next generation of multimodal datasets, NeurIPS"
XU = "Xu et al. 2024, Demystifying CLIP data, ICLR"
FANG = "Fang et al. 2024, Data filtering networks, ICLR"


class _Release(NamedTuple):
    """A checkpoint of its authors, whose name ends with its architecture; from ``hub`` where ``origin`` is empty."""

    name: str
    file: str
    licence: str
    citation: str
    gelu: Gelu = "exact"
    origin: str = ""
    hub: str | None = None
    sar: bool = False
    others: tuple[str, ...] = ()


_NC, _APPLE = "CC-BY-NC-4.0", "Apple's own"

LIU = "Liu et al. 2024, RemoteCLIP: a vision language foundation model for remote sensing, IEEE TGRS"
ZHANG = "Zhang et al. 2024, RS5M and GeoRSCLIP, IEEE TGRS, arXiv:2306.11300"
WANG = "Wang et al. 2024, SkyScript: a large and semantically diverse vision-language dataset, AAAI"
LI = "Li et al. 2025, Annotation-free open-vocabulary segmentation for remote-sensing images, arXiv:2508.18067"

_REMOTE, _GEO, _CODE = "chendelong/RemoteCLIP", "Zilun/GeoRSCLIP", "MIT (code)"
_SKY = "opendatasharing.s3.us-west-2.amazonaws.com/SkyScript/ckpt/SkyCLIP_ViT_{}.zip, the .pt within"
_ALIGN = "AlignEarth-SAR-ViT-B-16"

_RELEASES = (
    # RemoteCLIP's authors load it into open_clip's plain architecture, so with exact GELU
    _Release("RemoteCLIP-ViT-B-32", f"{_REMOTE}/RemoteCLIP-ViT-B-32.pt", NO_LICENCE, LIU, hub=_REMOTE),
    _Release("RemoteCLIP-ViT-L-14", f"{_REMOTE}/RemoteCLIP-ViT-L-14.pt", NO_LICENCE, LIU, hub=_REMOTE),
    # those with QuickGELU start from OpenAI's weights, the others from LAION's
    _Release("GeoRSCLIP-ViT-B-32", f"{_GEO}/ckpt/RS5M_ViT-B-32.pt", _CODE, ZHANG, "quick", hub=_GEO),
    _Release("GeoRSCLIP-ViT-H-14", f"{_GEO}/ckpt/RS5M_ViT-H-14.pt", _CODE, ZHANG, hub=_GEO),
    _Release("SkyCLIP-ViT-B-32", "SkyCLIP/SkyCLIP-ViT-B-32.pt", _CODE, WANG, origin=_SKY.format("B32_top50pct")),
    _Release("SkyCLIP-ViT-L-14", "SkyCLIP/SkyCLIP-ViT-L-14.pt", _CODE, WANG, "quick", _SKY.format("L14_top30pct")),
    # AlignEarth is used with exact GELU, as its authors use it; they state no licence
    _Release(_ALIGN, f"checkpoint/{_ALIGN}.pt", NO_LICENCE, LI, origin=f"huggingface.co/likyoo/{_ALIGN}", sar=True,
             others=(f"checkpoint/{_ALIGN}.safetensors",)),
)  # fmt: skip


def clip_weights(name: str, hub: str, licence: str) -> WeightsEntry:
    """The weights of a repository that open_clip can read."""
    return hub_weights(name, hub, licence, SAFE, PICKLED)


def clip_entry(name: str, weights: WeightsEntry, *, sar: bool = False, **values: Any) -> ClipEntry:
    """An entry with the licence of its weights, and the defaults of optical (or radar) towers where none is given.

    Args:
        name: What a spec calls it.
        weights: Where its tensors are.
        sar: Whether the image tower was made for radar pictures.
        **values: Further attributes of the entry.
    """
    defaults = {
        "family": "clip",
        "licence": weights.licence,
        "citation": "",
        "modality": "sar" if sar else "optical",
        "mean": OPENAI[0],
        "std": OPENAI[1],
        "gsd": SAR_GSD if sar else OPTICAL_GSD,
        "attention": ALIGNEARTH if sar else SEGEARTH,
    }
    return ClipEntry(name=name, weights=weights, **{**defaults, **values})


def _tagged(
    architecture: str, tag: str, hub: str, licence: str, citation: str, gelu: Gelu = "exact",
    colours: tuple[tuple[float, float, float], tuple[float, float, float]] = OPENAI,
) -> ClipEntry:  # fmt: skip
    name = f"{architecture}/{tag}"
    (patch, width), (mean, std) = SIZES[architecture], colours
    return clip_entry(
        name, clip_weights(name, hub, licence), version=tag, citation=citation, gelu=gelu,
        architecture=architecture, patch=patch, width=width, mean=mean, std=std,
    )  # fmt: skip


def _of_its_authors(release: _Release) -> ClipEntry:
    name, hub = release.name, release.hub
    architecture = name[name.index("ViT") :]
    patch, width = SIZES[architecture]
    origin = release.origin or f"huggingface.co/{hub}"
    weights = WeightsEntry(
        name=name, file=release.file, others=release.others, licence=release.licence, origin=origin, hub=hub
    )
    return clip_entry(
        name, weights, sar=release.sar, citation=release.citation, gelu=release.gelu, architecture=architecture,
        patch=patch, width=width,
    )  # fmt: skip


CLIP_ENTRIES: tuple[ClipEntry, ...] = (
    _tagged("ViT-B-16", "openai", "timm/vit_base_patch16_clip_224.openai", "MIT", RADFORD, "quick"),
    _tagged("ViT-B-32", "openai", "timm/vit_base_patch32_clip_224.openai", "MIT", RADFORD, "quick"),
    _tagged("ViT-L-14", "openai", "timm/vit_large_patch14_clip_224.openai", "MIT", RADFORD, "quick"),
    _tagged("ViT-L-14-336", "openai", "timm/vit_large_patch14_clip_336.openai", "MIT", RADFORD, "quick"),
    _tagged("ViT-B-16", "laion400m_e32", "timm/vit_base_patch16_clip_224.laion400m_e32", "MIT", CHERTI),
    _tagged("ViT-B-32", "laion400m_e32", "timm/vit_base_patch32_clip_224.laion400m_e32", "MIT", CHERTI, "quick"),
    _tagged("ViT-L-14", "laion400m_e32", "timm/vit_large_patch14_clip_224.laion400m_e32", "MIT", CHERTI),
    _tagged("ViT-B-16", "laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "MIT", CHERTI),
    _tagged("ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "MIT", CHERTI),
    _tagged(
        "ViT-L-14", "laion2b_s32b_b82k", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", "MIT", CHERTI, colours=INCEPTION
    ),
    _tagged("ViT-H-14", "laion2b_s32b_b79k", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "MIT", CHERTI),
    _tagged("ViT-B-16", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", "MIT", GADRE),
    _tagged("ViT-B-32", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", "MIT", GADRE),
    _tagged("ViT-L-14", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", "MIT", GADRE),
    _tagged("ViT-B-16", "metaclip_400m", "timm/vit_base_patch16_clip_224.metaclip_400m", _NC, XU, "quick"),
    _tagged("ViT-B-16", "metaclip_fullcc", "timm/vit_base_patch16_clip_224.metaclip_2pt5b", _NC, XU, "quick"),
    _tagged("ViT-B-32", "metaclip_fullcc", "timm/vit_base_patch32_clip_224.metaclip_2pt5b", _NC, XU, "quick"),
    _tagged("ViT-L-14", "metaclip_fullcc", "timm/vit_large_patch14_clip_224.metaclip_2pt5b", _NC, XU, "quick"),
    _tagged("ViT-B-16", "dfn2b", "apple/DFN2B-CLIP-ViT-B-16", _APPLE, FANG, "quick"),
    _tagged("ViT-L-14", "dfn2b", "apple/DFN2B-CLIP-ViT-L-14", _APPLE, FANG, "quick"),
    *map(_of_its_authors, _RELEASES),
)
"""Every CLIP that is known by name."""
