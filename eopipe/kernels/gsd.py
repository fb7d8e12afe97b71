"""A kernel's ground sample distance on a grid: how many of its pixels fit along one of the grid's (DESIGN §3)."""

from __future__ import annotations

from eopipe.errors import PlanError


def factor_of(gsd: float | str, resolution: float) -> int:
    """Kernel pixels along a grid pixel's side.

    Args:
        gsd: ``grid``, or metres (CRS units).
        resolution: The grid's, in CRS units.

    Raises:
        PlanError: The gsd does not divide the resolution.
    """
    if isinstance(gsd, str):
        return 1
    ratio = resolution / gsd
    if ratio < 1 or abs(ratio - round(ratio)) > 1e-9:
        raise PlanError(
            f"kernel.gsd: {gsd:g} cannot be placed on a grid of resolution {resolution:g} (ratio {ratio:g}); "
            f"choose a resolution that is a whole multiple of the gsd, or gsd: grid"
        )
    return round(ratio)
