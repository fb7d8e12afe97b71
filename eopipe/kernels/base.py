"""What most kernels have in common: loading once, travelling without the net, scale, and the usual warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from eopipe.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.kernelinfo import KernelInfo

Net = TypeVar("Net")


class BaseKernel(Generic[Net]):
    """A kernel without its map: a subclass adds ``__call__`` and ``memory``, and `_read` where it has a net.

    It is picklable before :meth:`load` and after it; the net stays behind and is read again.

    Args:
        info: What it is.
    """

    def __init__(self, info: KernelInfo) -> None:
        self._info = info
        self._loaded: tuple[str, int] | None = None
        self._net: Net | None = None

    @property
    def info(self) -> KernelInfo:
        """What it is."""
        return self._info

    @property
    def net(self) -> Net:
        """What :meth:`load` read."""
        assert self._net is not None, "load() comes before the first strip"
        return self._net

    def check(self, levels: Sequence[str], resolution: float) -> list[str]:  # noqa: ARG002  (for subclasses)
        """No warning; see :class:`eopipe.kernels.protocol.Kernel`."""
        return []

    def load(self, *, device: str, threads: int) -> None:
        """Read the net, once for a device and a number of threads."""
        if self._loaded != (device, threads):
            self._net = self._read(device=device, threads=threads)
            self._loaded = (device, threads)

    def _read(self, *, device: str, threads: int) -> Net | None:  # noqa: ARG002  (for subclasses)
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the loaded net."""
        return {**self.__dict__, "_net": None, "_loaded": None}


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


def gsd_warnings(model: str, known: tuple[float, float], gsd: float) -> list[str]:
    """A warning of a ground sample distance outside of those that a model has seen, metres; none within them."""
    low, high = known
    if low <= gsd <= high:
        return []
    line = (
        f"{model} has seen pixels of {low:g} to {high:g} m; it will see {gsd:g} (CRS units): "
        f"set kernel.gsd, or look at the map before you rely on it"
    )
    return [line]


def ten_metre_warnings(kernel: str, gsd: float, *, key: str) -> list[str]:
    """A warning of pixels far from Sentinel-2's 10 m, with the spec's key that sets them; none from 5 to 20."""
    if 5 <= gsd <= 20:
        return []
    return [f"{kernel} was made for 10 m pixels; it will see {gsd:g} (CRS units): set {key}"]


def level_warnings(kernel: str, levels: Sequence[str], known: Sequence[str], *, figure: str = "figure") -> list[str]:
    """A warning of processing levels that a kernel of Sentinel-2 L1C was not tested with; none where it knows all.

    Args:
        kernel: Its name.
        levels: Of the scenes.
        known: Those that it was made for.
        figure: What was not measured for the others.
    """
    unknown = sorted({level for level in levels if level not in known})
    if not unknown:
        return []
    line = (
        f"{kernel} was made for Sentinel-2 L1C; the scenes are {', '.join(unknown)}, "
        f"for which no {figure} exists yet: check the map before you rely on it"
    )
    return [line]
