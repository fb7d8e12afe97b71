"""The CLIP towers that are known by name.

What open_clip distributes is told as its table of pretrained weights tells it (3.3.0: hub repository, QuickGELU,
mean and standard deviation); any other of its tags works too, see :mod:`eopipe.models.clip.load`. No hub states a
sha256 beside its files' names, so none is written here: the first use tells the one it found, and a spec can pin it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eopipe.models.clip.architecture import AttentionSettings
from eopipe.models.registry_entry import NO_LICENCE, ClipEntry
from eopipe.models.weights import WeightsEntry

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


class _Tag(NamedTuple):
    """A row of open_clip's table."""

    architecture: str
    tag: str
    hub: str
    licence: str
    citation: str
    gelu: Gelu = "exact"
    colours: tuple[tuple[float, float, float], tuple[float, float, float]] = OPENAI


_NC, _APPLE = "CC-BY-NC-4.0", "Apple's own"

_TAGS = (
    _Tag("ViT-B-16", "openai", "timm/vit_base_patch16_clip_224.openai", "MIT", RADFORD, "quick"),
    _Tag("ViT-B-32", "openai", "timm/vit_base_patch32_clip_224.openai", "MIT", RADFORD, "quick"),
    _Tag("ViT-L-14", "openai", "timm/vit_large_patch14_clip_224.openai", "MIT", RADFORD, "quick"),
    _Tag("ViT-L-14-336", "openai", "timm/vit_large_patch14_clip_336.openai", "MIT", RADFORD, "quick"),
    _Tag("ViT-B-16", "laion400m_e32", "timm/vit_base_patch16_clip_224.laion400m_e32", "MIT", CHERTI),
    _Tag("ViT-B-32", "laion400m_e32", "timm/vit_base_patch32_clip_224.laion400m_e32", "MIT", CHERTI, "quick"),
    _Tag("ViT-L-14", "laion400m_e32", "timm/vit_large_patch14_clip_224.laion400m_e32", "MIT", CHERTI),
    _Tag("ViT-B-16", "laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "MIT", CHERTI),
    _Tag("ViT-B-32", "laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "MIT", CHERTI),
    _Tag("ViT-L-14", "laion2b_s32b_b82k", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", "MIT", CHERTI, colours=INCEPTION),
    _Tag("ViT-H-14", "laion2b_s32b_b79k", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "MIT", CHERTI),
    _Tag("ViT-B-16", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", "MIT", GADRE),
    _Tag("ViT-B-32", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", "MIT", GADRE),
    _Tag("ViT-L-14", "datacomp_xl_s13b_b90k", "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", "MIT", GADRE),
    _Tag("ViT-B-16", "metaclip_400m", "timm/vit_base_patch16_clip_224.metaclip_400m", _NC, XU, "quick"),
    _Tag("ViT-B-16", "metaclip_fullcc", "timm/vit_base_patch16_clip_224.metaclip_2pt5b", _NC, XU, "quick"),
    _Tag("ViT-B-32", "metaclip_fullcc", "timm/vit_base_patch32_clip_224.metaclip_2pt5b", _NC, XU, "quick"),
    _Tag("ViT-L-14", "metaclip_fullcc", "timm/vit_large_patch14_clip_224.metaclip_2pt5b", _NC, XU, "quick"),
    _Tag("ViT-B-16", "dfn2b", "apple/DFN2B-CLIP-ViT-B-16", _APPLE, FANG, "quick"),
    _Tag("ViT-L-14", "dfn2b", "apple/DFN2B-CLIP-ViT-L-14", _APPLE, FANG, "quick"),
)


def hub_weights(name: str, hub: str, licence: str) -> WeightsEntry:
    """The weights of a repository that open_clip can read."""
    return WeightsEntry(
        name=name,
        file=f"{hub}/{SAFE}",
        others=(f"{hub}/{PICKLED}",),
        licence=licence,
        origin=f"huggingface.co/{hub}",
        hub=hub,
    )


def _from_open_clip(tag: _Tag) -> ClipEntry:
    name = f"{tag.architecture}/{tag.tag}"
    patch, width = SIZES[tag.architecture]
    return ClipEntry(
        name=name,
        family="clip",
        version=tag.tag,
        licence=tag.licence,
        weights=hub_weights(name, tag.hub, tag.licence),
        citation=tag.citation,
        architecture=tag.architecture,
        gelu=tag.gelu,
        mean=tag.colours[0],
        std=tag.colours[1],
        patch=patch,
        width=width,
        gsd=OPTICAL_GSD,
        attention=SEGEARTH,
    )


def _remote_sensing(
    name: str, architecture: str, gelu: Gelu, weights: WeightsEntry, citation: str, *, sar: bool = False
) -> ClipEntry:
    patch, width = SIZES[architecture]
    return ClipEntry(
        name=name,
        family="clip",
        licence=weights.licence,
        weights=weights,
        citation=citation,
        architecture=architecture,
        gelu=gelu,
        modality="sar" if sar else "optical",
        mean=OPENAI[0],
        std=OPENAI[1],
        patch=patch,
        width=width,
        gsd=SAR_GSD if sar else OPTICAL_GSD,
        attention=ALIGNEARTH if sar else SEGEARTH,
    )


def _remote_clip(architecture: str) -> ClipEntry:
    """RemoteCLIP: its authors load it into open_clip's plain architecture, so with exact GELU."""
    hub, name = "chendelong/RemoteCLIP", f"RemoteCLIP-{architecture}"
    weights = WeightsEntry(
        name=name, file=f"{hub}/{name}.pt", hub=hub, licence=NO_LICENCE, origin=f"huggingface.co/{hub}"
    )
    cited = "Liu et al. 2024, RemoteCLIP: a vision language foundation model for remote sensing, IEEE TGRS"
    return _remote_sensing(name, architecture, "exact", weights, cited)


def _geo_rs_clip(architecture: str, gelu: Gelu) -> ClipEntry:
    """GeoRSCLIP: B/32 starts from OpenAI's weights (QuickGELU), H/14 from LAION's (exact)."""
    hub, name = "Zilun/GeoRSCLIP", f"GeoRSCLIP-{architecture}"
    weights = WeightsEntry(
        name=name,
        file=f"{hub}/ckpt/RS5M_{architecture}.pt",
        hub=hub,
        licence="MIT (code)",
        origin=f"huggingface.co/{hub}",
    )
    cited = "Zhang et al. 2024, RS5M and GeoRSCLIP, IEEE TGRS, arXiv:2306.11300"
    return _remote_sensing(name, architecture, gelu, weights, cited)


def _sky_clip(architecture: str, gelu: Gelu, archive: str) -> ClipEntry:
    """SkyCLIP: L/14 starts from OpenAI's weights (QuickGELU), B/32 from LAION's (exact)."""
    name = f"SkyCLIP-{architecture}"
    weights = WeightsEntry(
        name=name,
        file=f"SkyCLIP/{name}.pt",
        licence="MIT (code)",
        origin=f"opendatasharing.s3.us-west-2.amazonaws.com/SkyScript/ckpt/{archive}.zip, the .pt within",
    )
    cited = "Wang et al. 2024, SkyScript: a large and semantically diverse vision-language dataset, AAAI"
    return _remote_sensing(name, architecture, gelu, weights, cited)


def _align_earth() -> ClipEntry:
    """AlignEarth: used with exact GELU, as its authors use it; its authors state no licence."""
    name = "AlignEarth-SAR-ViT-B-16"
    weights = WeightsEntry(
        name=name,
        file=f"checkpoint/{name}.pt",
        others=(f"checkpoint/{name}.safetensors",),
        licence=NO_LICENCE,
        origin=f"huggingface.co/likyoo/{name}",
    )
    cited = "Li et al. 2025, Annotation-free open-vocabulary segmentation for remote-sensing images, arXiv:2508.18067"
    return _remote_sensing(name, "ViT-B-16", "exact", weights, cited, sar=True)


CLIP_ENTRIES: tuple[ClipEntry, ...] = (
    *(_from_open_clip(tag) for tag in _TAGS),
    _remote_clip("ViT-B-32"),
    _remote_clip("ViT-L-14"),
    _geo_rs_clip("ViT-B-32", "quick"),
    _geo_rs_clip("ViT-H-14", "exact"),
    _sky_clip("ViT-B-32", "exact", "SkyCLIP_ViT_B32_top50pct"),
    _sky_clip("ViT-L-14", "quick", "SkyCLIP_ViT_L14_top30pct"),
    _align_earth(),
)
"""Every CLIP that is known by name."""
