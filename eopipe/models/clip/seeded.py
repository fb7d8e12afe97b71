"""Random towers from a seed, for tests and benches: real shapes, weights without meaning.

Nothing that a run spec can say leads here. A model that a test runs by a spec is written as files by
`write_seeded_model` and named by its folder, as any user's model.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch

from eopipe.models.clip.architecture import Architecture, parse
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
    return {
        "embed_dim": out,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": image,
            "layers": layers,
            "width": width,
            "head_width": width // heads,
            "patch_size": patch,
        },
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }


def seeded_vision_state(
    seed: int, *, width: int, layers: int, heads: int, patch: int, image: int, out: int
) -> dict[str, Tensor]:
    """An image tower's tensors, float32, with open_clip's names less ``visual.``."""
    config = seeded_config(width=width, layers=layers, heads=heads, patch=patch, image=image, out=out)
    return _draw(_architecture(config).image_shapes(), torch.Generator().manual_seed(seed))


def seeded_text_state(
    seed: int, *, width: int, layers: int, heads: int, patch: int, image: int, out: int
) -> dict[str, Tensor]:
    """The tensors of the small text tower that goes with `seeded_vision_state`."""
    config = seeded_config(width=width, layers=layers, heads=heads, patch=patch, image=image, out=out)
    return _draw(_architecture(config).text_shapes(), torch.Generator().manual_seed(seed + 1))


def write_seeded_model(folder: Path, seed: int, **sizes: int) -> str:
    """Write a seeded model's two files.

    Args:
        folder: Where; made if it is not there.
        seed: Of the weights.
        **sizes: As `seeded_vision_state`.

    Returns:
        The name that a spec gives it: ``local-dir:FOLDER``.
    """
    from safetensors.torch import save_file  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    image, text = seeded_vision_state(seed, **sizes), seeded_text_state(seed, **sizes)
    tensors = {f"visual.{name}": tensor for name, tensor in image.items()} | text
    save_file(tensors, folder / SAFE)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": seeded_config(**sizes)}))
    return f"local-dir:{folder}"


def _architecture(config: Mapping[str, Any]) -> Architecture:
    return parse(config, "seeded")


def _draw(shapes: Mapping[str, tuple[int, ...]], generator: torch.Generator) -> dict[str, Tensor]:
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
