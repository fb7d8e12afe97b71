"""The one entry of the kernel ``change``: which options a spec's mapping has, and the kernel that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from eopipe.errors import SpecError
from eopipe.kernels.change.dynamicearth.combinations import INSTANTIATIONS
from eopipe.kernels.change.spectral.kernel import SPECTRAL_LAND_COVER, SpectralOptions
from eopipe.kernels.change.spectral.kernel import create as create_spectral
from eopipe.text import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from eopipe.kernels.change.dynamicearth.options import StageOptions
    from eopipe.kernels.protocol import Kernel


def options_model(options: Mapping[str, Any]) -> type[SpectralOptions | StageOptions]:
    """The model of a spec's options, chosen by ``instantiation``; code of stages is imported only if it names some.

    Args:
        options: The spec's ``kernel`` mapping without ``name``, not validated.

    Returns:
        `SpectralOptions`, also where ``instantiation`` is no text, which the model refuses; or `StageOptions`.

    Raises:
        SpecError: There is no instantiation of that name.
    """
    name = options.get("instantiation", SPECTRAL_LAND_COVER)
    if not isinstance(name, str) or name == SPECTRAL_LAND_COVER:
        return SpectralOptions
    if name not in INSTANTIATIONS:
        names = [SPECTRAL_LAND_COVER, *INSTANTIATIONS]
        hint = did_you_mean(name, names, f"there are {', '.join(names)}")
        raise SpecError(f"kernel.instantiation: {name!r} is not valid: {hint}")
    from eopipe.kernels.change.dynamicearth.options import StageOptions  # noqa: PLC0415

    return StageOptions


def create(options: SpectralOptions | StageOptions, *, resolution: float) -> Kernel:  # noqa: ARG001  (pixels of the grid)
    """Make the kernel; see :func:`eopipe.kernels.registry.create`.

    Args:
        options: Of the model that `options_model` chose.
        resolution: The grid's; the kernel's pixels are the grid's.

    Raises:
        SpecError: Options do not go together.
        WeightsError: Weights are missing or wrong.
    """
    if isinstance(options, SpectralOptions):
        return create_spectral(options)
    from eopipe.kernels.change.dynamicearth.kernel import create as create_staged  # noqa: PLC0415

    return create_staged(options)
