"""A kernel's ground sample distance on a grid: how many of its pixels fit along one of the grid's (DESIGN §3)."""

from __future__ import annotations

from eopipe.errors import PlanError


def far_from_seen(model: str, seen: tuple[float, float], gsd: float) -> list[str]:
    """A warning of a ground sample distance outside of what a model has seen, metres; none within it."""
    low, high = seen
    if low <= gsd <= high:
        return []
    line = (
        f"{model} has seen pixels of {low:g} to {high:g} m; it will see {gsd:g} (CRS units): "
        f"set kernel.gsd, or look at the map before you rely on it"
    )
    return [line]


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
