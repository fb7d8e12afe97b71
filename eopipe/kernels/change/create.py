"""The forms of ``change``: pixels' colours compared, or objects and pixels through the stages of DynamicEarth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eopipe.kernels.change.dynamicearth.combinations import INSTANTIATIONS
from eopipe.kernels.change.dynamicearth.options import StageOptions
from eopipe.kernels.change.spectral.options import SPECTRAL, Options
from eopipe.kernels.land_cover import BANDS
from eopipe.kernels.registry import KernelForm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from eopipe.kernels.protocol import Kernel

forms = (
    KernelForm(
        f"instantiation: {SPECTRAL} (where none is given)",
        "change into or from what the prompts name, pixel by pixel",
        BANDS,
        "10 m",
        Options,
    ),
    KernelForm(
        f"instantiation: one of {', '.join(INSTANTIATIONS)}",
        "change of what the prompts name, object by object",
        ("red", "green", "blue"),
        "of the stages' models",
        StageOptions,
    ),
)


def options_model(options: Mapping[str, Any]) -> type[BaseModel]:
    """The options of the form that ``instantiation`` chooses."""
    instantiation = options.get("instantiation")
    return StageOptions if isinstance(instantiation, str) and instantiation in INSTANTIATIONS else Options


def create(options: Options | StageOptions, *, resolution: float) -> Kernel:
    """Make the kernel; only the form that is chosen loads its code."""
    if isinstance(options, StageOptions):
        from eopipe.kernels.change.dynamicearth import kernel as staged  # noqa: PLC0415

        return staged.create(options, resolution=resolution)
    from eopipe.kernels.change.spectral import kernel as spectral  # noqa: PLC0415

    return spectral.create(options, resolution=resolution)
