"""eopipe: maps of anything you can name, from a STAC query, on the Dask cluster you already have.

``import eopipe`` is cheap; torch, dask and GDAL load with the first name that needs them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from eopipe import moved
from eopipe.versions import __version__ as __version__

if TYPE_CHECKING:
    from eopipe.api import (
        BoundKernel,
        Cube,
        PlannedRun,
        kernel,
        map_kernel,
        open_cube,
        plan,
        rescore,
        rethreshold,
        run,
        search,
    )
    from eopipe.kernels.registry import register_kernel
    from eopipe.models.registry import register_model
    from eopipe.spec import RunSpec, load_spec

__all__ = [
    "BoundKernel",
    "Cube",
    "PlannedRun",
    "RunSpec",
    "kernel",
    "load_spec",
    "map_kernel",
    "open_cube",
    "plan",
    "register_kernel",
    "register_model",
    "rescore",
    "rethreshold",
    "run",
    "search",
]

moved.install()

_HOMES = {
    "RunSpec": "eopipe.spec",
    "load_spec": "eopipe.spec",
    "register_kernel": "eopipe.kernels.registry",
    "register_model": "eopipe.models.registry",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'eopipe' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES.get(name, "eopipe.api")), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
