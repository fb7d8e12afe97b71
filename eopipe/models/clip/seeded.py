"""CLIP of random weights from a seed, as tensors or as files: real shapes, weights without meaning.

Benches and tests of pipelines use them: speed, memory and plans do not depend on the values.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from eopipe.models.clip.architecture import parse
from eopipe.models.clip.entries import SAFE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

VIT_B_16: Mapping[str, int] = {"width": 768, "layers": 12, "heads": 12, "patch": 16, "image": 224, "out": 512}
"""Sizes of the tower that SegEarth-OV publishes with, for `seeded_vision_state`."""

TINY: Mapping[str, int] = {"width": 64, "layers": 3, "heads": 4, "patch": 16, "image": 224, "out": 32}
"""Sizes of a tower for tests."""


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


def seeded_text_state(seed: int, **sizes: int) -> dict[str, Tensor]:
    """The tensors of the small text tower that goes with `seeded_vision_state`."""
    shapes = parse(seeded_config(**sizes), "seeded").text_shapes()
    return draw(shapes, torch.Generator().manual_seed(seed + 1))


def write_seeded_model(folder: Path, seed: int, **sizes: int) -> str:
    """Write a seeded model's two files; returns the name that a spec gives it, ``local-dir:FOLDER``."""
    folder.mkdir(parents=True, exist_ok=True)
    image, text = seeded_vision_state(seed, **sizes), seeded_text_state(seed, **sizes)
    save_file({f"visual.{name}": tensor for name, tensor in image.items()} | text, folder / SAFE)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": seeded_config(**sizes)}))
    return f"local-dir:{folder}"


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
