"""An image tower of random weights from a seed: real shapes, weights without meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from eopipe.models.clip.architecture import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

VIT_B_16: Mapping[str, int] = {"width": 768, "layers": 12, "heads": 12, "patch": 16, "image": 224, "out": 512}
"""Sizes of the tower that SegEarth-OV publishes with, for `seeded_vision_state`."""


def seeded_config(*, width: int, layers: int, heads: int, patch: int, image: int, out: int) -> dict[str, Any]:
    """An open_clip configuration (``model_cfg``) of these sizes, with a small text tower."""
    vision = {
        "image_size": image,
        "layers": layers,
        "width": width,
        "head_width": width // heads,
        "patch_size": patch,
    }
    text = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
    return {"embed_dim": out, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}


def seeded_vision_state(seed: int, **sizes: int) -> dict[str, Tensor]:
    """An image tower's tensors, float32, with open_clip's names less ``visual.``; sizes as `seeded_config`."""
    return draw(parse(seeded_config(**sizes), "seeded").image_shapes(), torch.Generator().manual_seed(seed))


def draw(shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> dict[str, Tensor]:
    """Normal numbers at the scale at which signals neither die nor grow; LayerNorms near one and zero."""
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if ".ln_" in f".{name}":
            state[name] = noise * 0.1 + (1.0 if name.endswith("weight") else 0.0)
        elif len(shape) == 1:
            state[name] = noise * 0.1
        else:
            fan_in = shape[0] if name in ("proj", "text_projection") else noise[0].numel()
            state[name] = noise / fan_in**0.5
    return state
