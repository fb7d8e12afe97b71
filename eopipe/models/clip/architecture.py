"""Which CLIPs can be served, and what tensors they have.

open_clip's model configurations say what a model is. Served are those whose image tower is a plain vision
transformer with a class token and whose text tower is CLIP's own; anything else is refused by the name of the
setting that is in the way, before a weight is read. No torch is needed: a registry and a spec name these cheaply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from eopipe.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN_BLOCKS = (
    "ls_init_value", "act_kwargs", "norm_kwargs", "block_type", "qk_norm", "scaled_cosine_attn", "scale_heads",
    "scale_attn_inner", "scale_attn", "scale_fc",
)  # fmt: skip
_PLAIN_VISION: dict[str, Any] = {
    **dict.fromkeys(("timm_model_name", "attentional_pool", "no_ln_pre")),
    "pos_embed_type": "learnable",
    "final_ln_after_pool": None,
    "pool_type": "tok",
    **dict.fromkeys(_PLAIN_BLOCKS),
}
_PLAIN_TEXT: dict[str, Any] = {
    **dict.fromkeys(("hf_model_name", "hf_tokenizer_name", "tokenizer_kwargs", "embed_cls", "no_causal_mask")),
    "final_ln_after_pool": None,
    "pool_type": "argmax",
    "proj_bias": None,
    "proj_type": "linear",
    "vocab_size": 49408,
    **dict.fromkeys(_PLAIN_BLOCKS),
}
"""The value that each setting must have, or be left out. Settings that are not listed change no forward pass."""

HARMLESS = frozenset({"logit_scale", "logit_bias", "attn_mask", "input_resolution", "context_length", "vocab_size"})
"""Tensors that OpenAI's and other files hold beside the towers: no product uses them."""

AttentionKind = Literal["vanilla", "MaskCLIP", "SCLIP", "ClearCLIP", "SegEarth"]
Gelu = Literal["quick", "exact"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Tower:
    """A transformer: its width, residual blocks, attention heads, and the MLP's hidden width."""

    width: int
    layers: int
    heads: int
    hidden: int


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What a CLIP is.

    Attributes:
        image: Of the image tower.
        text: Of the text tower.
        patch: Side of a patch, pixels.
        side: Of the pictures it was trained with, pixels.
        context: Longest text, tokens.
        vocabulary: Tokens there are.
        width: Channels of the joint space.
        quick_gelu: Whether its configuration says QuickGELU; weights can say otherwise.
    """

    image: Tower
    text: Tower
    patch: int
    side: int
    context: int
    vocabulary: int
    width: int
    quick_gelu: bool

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the image tower's tensors, less ``visual.``."""
        wide = self.image.width
        return {
            "conv1.weight": (wide, 3, self.patch, self.patch),
            "class_embedding": (wide,),
            "positional_embedding": ((self.side // self.patch) ** 2 + 1, wide),
            **_norm("ln_pre", wide),
            **_blocks(self.image),
            **_norm("ln_post", wide),
            "proj": (wide, self.width),
        }

    def text_shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the text tower's tensors."""
        wide = self.text.width
        return {
            "token_embedding.weight": (self.vocabulary, wide),
            "positional_embedding": (self.context, wide),
            **_blocks(self.text),
            **_norm("ln_final", wide),
            "text_projection": (wide, self.width),
        }


@dataclass(frozen=True)
class AttentionSettings:
    """What the last blocks of an image tower do (SegEarth-OV, arXiv 2410.01768).

    Attributes:
        kind: The attention matrix: CLIP's own, the identity, or self-self.
        last: How many of the last blocks use it; their outputs are summed.
        ignore_residual: Leave out the residual, ``ln_2`` and the MLP of those blocks.
    """

    kind: AttentionKind
    last: int = 1
    ignore_residual: bool = True


def parse(config: Mapping[str, Any], name: str) -> Architecture:
    """Read one of open_clip's model configurations (``model_cfg``).

    Args:
        config: As in its JSON files.
        name: Of the model, for errors.

    Raises:
        WeightsError: It cannot be served, and which setting is in the way.
    """
    if "multimodal_cfg" in config:
        raise _refused(name, "multimodal_cfg (CoCa)")
    vision, text = config.get("vision_cfg", {}), config.get("text_cfg", {})
    _must_be_plain(name, "vision_cfg", vision, _PLAIN_VISION)
    _must_be_plain(name, "text_cfg", text, _PLAIN_TEXT)
    layers, side = vision.get("layers", 12), vision.get("image_size", 224)
    if not isinstance(layers, int):
        raise _refused(name, f"vision_cfg.layers: {layers} (a ResNet has no patch tokens)")
    side = side[0] if isinstance(side, list | tuple) and len(set(side)) == 1 else side
    if not isinstance(side, int) or not isinstance(vision.get("patch_size", 16), int):
        raise _refused(name, "vision_cfg.image_size or patch_size, which are not square")
    width, words = vision.get("width", 768), text.get("width", 512)
    return Architecture(
        image=Tower(
            width=width,
            layers=layers,
            heads=width // vision.get("head_width", 64),
            hidden=int(width * vision.get("mlp_ratio", 4.0)),
        ),
        text=Tower(
            width=words,
            layers=text.get("layers", 12),
            heads=text.get("heads", 8),
            hidden=int(words * text.get("mlp_ratio", 4.0)),
        ),
        patch=vision.get("patch_size", 16),
        side=side,
        context=text.get("context_length", 77),
        vocabulary=text.get("vocab_size", 49408),
        width=config["embed_dim"],
        quick_gelu=bool(config.get("quick_gelu", False)),
    )


def _must_be_plain(name: str, section: str, settings: Mapping[str, Any], plain: Mapping[str, Any]) -> None:
    for key, needed in plain.items():
        value = settings.get(key, needed)
        if value != needed and (value or needed):
            raise _refused(name, f"{section}.{key}: {value}")


def _refused(name: str, why: str) -> WeightsError:
    return WeightsError(
        f"model {name} cannot be served because of {why}: choose a plain vision transformer, such as ViT-B-16/openai"
    )


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _blocks(tower: Tower) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    wide, hidden = tower.width, tower.hidden
    for index in range(tower.layers):
        block = f"transformer.resblocks.{index}"
        shapes |= {
            **_norm(f"{block}.ln_1", wide),
            f"{block}.attn.in_proj_weight": (3 * wide, wide),
            f"{block}.attn.in_proj_bias": (3 * wide,),
            f"{block}.attn.out_proj.weight": (wide, wide),
            f"{block}.attn.out_proj.bias": (wide,),
            **_norm(f"{block}.ln_2", wide),
            f"{block}.mlp.c_fc.weight": (hidden, wide),
            f"{block}.mlp.c_fc.bias": (hidden,),
            f"{block}.mlp.c_proj.weight": (wide, hidden),
            f"{block}.mlp.c_proj.bias": (wide,),
        }
    return shapes
