"""Small seeded models for the open-vocabulary kernel: real files, random weights, no meaning."""

import torch

from eopipe.kernels.ovss.kernel import create
from eopipe.kernels.ovss.options import OvssOptions
from eopipe.models.clip.seeded import write_seeded_model
from eopipe.models.upsample.jbu import JBU
from tests.support.paths import shared

RELEASED = {"jbu_stack": "featup_jbu/clip_jbu_stack_cocostuff.ckpt", "anyup": "anyup/anyup_multi_backbone.pth"}
"""Upsamplers whose real weights are among the shared ones."""

PROMPTS = {"water": ["water", "river"], "forest": ["forest"], "built": ["building", "roof"]}


def tiny_model(folder, *, out=32, seed=5):
    """Write a two-layer CLIP with patches of 16; returns the name that a spec gives it."""
    return write_seeded_model(folder, seed, width=64, layers=2, heads=2, patch=16, image=224, out=out)


def tiny_jbu_one(path, channels=32, seed=6):
    """Write a seeded ``jbu_one`` as the authors' trainer does; returns its path."""
    torch.manual_seed(seed)
    state = {f"upsampler.{name}": tensor for name, tensor in JBU("jbu_one", channels).state_dict().items()}
    torch.save({"epoch": 1, "state_dict": state}, path)
    return str(path)


def options(folder, upsampler="bilinear", **changes):
    """Options of the kernel with a tiny model and any upsampler; the released weights where there are some."""
    out = 512 if upsampler == "jbu_stack" else 32
    given = {
        "model": tiny_model(folder / f"clip-{out}", out=out),
        "prompts": PROMPTS,
        "upsampler": upsampler,
        "templates": ["a photo of {}."],
        "stretch": [0, 0.3],
    }
    if upsampler == "jbu_one":
        given["upsampler_checkpoint"] = tiny_jbu_one(folder / "jbu_one.ckpt")
    if upsampler in RELEASED:
        given["upsampler_checkpoint"] = str(shared() / "weights" / RELEASED[upsampler])
    return given | changes


def kernel(folder, upsampler="bilinear", *, resolution=10.0, threads=1, **changes):
    """The kernel, loaded."""
    loaded = create(OvssOptions(**options(folder, upsampler, **changes)), resolution=resolution)
    loaded.load(device="cpu", threads=threads)
    return loaded
