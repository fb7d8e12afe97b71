"""The forms of ``ovss``: a CLIP on windows of patches, or a model that looks at pixels (``mini``).

The registry finds here what every kernel's module has (:mod:`eopipe.kernels.registry`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.kernels.ovss.options import DenseOptions, OvssOptions
from eopipe.kernels.registry import KernelForm
from eopipe.models.clip.entries import OPTICAL_GSD
from eopipe.models.registry import MINI, MODELS
from eopipe.models.registry_entry import DenseEntry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from eopipe.kernels.protocol import Kernel

forms = (
    KernelForm(
        "model: a CLIP of `eopipe models`",
        "any words",
        ("red", "green", "blue"),
        "{:g} to {:g} m".format(*OPTICAL_GSD),
        OvssOptions,
    ),
    KernelForm(
        f"model: {MINI.name}",
        f"any words, read through {len(MINI.concepts)} concepts of land cover",
        MINI.bands,
        "{:g} to {:g} m".format(*MINI.gsd),
        DenseOptions,
    ),
)


def options_model(options: Mapping[str, Any]) -> type[BaseModel]:
    """The options of the form that ``model`` chooses.

    Args:
        options: The spec's ``kernel`` mapping without ``name``, not checked yet.
    """
    model = options.get("model")
    dense = isinstance(model, str) and isinstance(MODELS.get(model), DenseEntry)
    return DenseOptions if dense else OvssOptions


def create(options: OvssOptions | DenseOptions, *, resolution: float) -> Kernel:
    """Make the kernel; only the form that is chosen loads its code."""
    if isinstance(options, DenseOptions):
        from eopipe.kernels.ovss import mini_kernel  # noqa: PLC0415

        return mini_kernel.create(options, resolution=resolution)
    from eopipe.kernels.ovss import kernel  # noqa: PLC0415

    return kernel.create(options, resolution=resolution)
