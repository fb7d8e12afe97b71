"""Which software makes a map: eopipe's own version, and the packages that decide its bytes.

Equal inputs give equal bytes with equal versions of :data:`BYTES`. ``run.json`` states all versions; the preflight
compares a worker's with the driver's, and a resumed run compares its own with those that it began with.
"""

from __future__ import annotations

import platform
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__version__ = "0.1.0"

BYTES = ("eopipe", "numpy", "torch", "openvino", "numba", "llvmlite", "zarr", "rasterio", "GDAL", "pyproj", "PROJ")
"""What reads, places, computes and stores a pixel. GDAL is rasterio's, PROJ is pyproj's: each has its own copy."""

PROTOCOL = ("dask", "distributed")
"""What driver and workers talk through: equal on both, but free to change between two starts of a run."""

_OTHERS = ("xarray", "odc-geo", "pystac-client")
_LIBRARIES = ("GDAL", "PROJ")


def versions() -> dict[str, str]:
    """Versions of this process, by name: Python, eopipe, packages, and the libraries inside of two of them."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  (with ``import eopipe``, which stays cheap, all would load)

    import pyproj  # noqa: PLC0415
    import rasterio  # noqa: PLC0415

    packages = {}
    for name in (*BYTES, *PROTOCOL, *_OTHERS):
        if name not in {"eopipe", *_LIBRARIES}:
            with suppress(PackageNotFoundError):  # openvino has no wheel for some platforms
                packages[name] = version(name)
    return {
        "python": platform.python_version(),
        "eopipe": __version__,
        **packages,
        "GDAL": rasterio.__gdal_version__,
        "PROJ": pyproj.proj_version_str,
    }


def changes(before: Mapping[str, str], after: Mapping[str, str], names: Sequence[str] = BYTES) -> list[str]:
    """What differs, such as ``numpy 2.1.0 → 2.2.0``; a name that either side does not state is left out.

    Args:
        before: Versions by name.
        after: Versions by name.
        names: What is compared.
    """
    stated = [name for name in names if name in before and name in after]
    return [f"{name} {before[name]} → {after[name]}" for name in stated if before[name] != after[name]]
