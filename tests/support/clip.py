"""Seeded CLIPs as files: real shapes, random weights, named by their folder as any user's model."""

import json

import torch

from eopipe.engine.bench.ovss import draw, seeded_config, seeded_vision_state
from eopipe.models.clip.architecture import parse
from eopipe.models.clip.entries import SAFE

TINY = {"width": 64, "layers": 3, "heads": 4, "patch": 16, "image": 224, "out": 32}
"""Sizes of a tower for tests."""


def seeded_text_state(seed, **sizes):
    """The tensors of the small text tower that goes with `seeded_vision_state`."""
    shapes = parse(seeded_config(**sizes), "seeded").text_shapes()
    return draw(shapes, torch.Generator().manual_seed(seed + 1))


def write_seeded_model(folder, seed, **sizes):
    """Write a seeded model's two files; returns the name that a spec gives it, ``local-dir:FOLDER``."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    image, text = seeded_vision_state(seed, **sizes), seeded_text_state(seed, **sizes)
    save_file({f"visual.{name}": tensor for name, tensor in image.items()} | text, folder / SAFE)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": seeded_config(**sizes)}))
    return f"local-dir:{folder}"
