"""Modules under their names before 0.2: the import works, with a `DeprecationWarning` that gives the present name.

Scripts and kernels outside eopipe import some of its inner modules. One that was renamed stays importable under its
old name for one minor version, as the same module object, so that a constant that is set there takes effect.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

MODULES = {
    "eopipe.cube.gdal": "eopipe.cube.asset_file",
    "eopipe.cube.lazy": "eopipe.cube.cube",
    "eopipe.engine.calibrate": "eopipe.engine.work.calibrate",
    "eopipe.engine.driver": "eopipe.engine.work.driver",
    "eopipe.engine.folder": "eopipe.run_folder",
    "eopipe.engine.frozen": "eopipe.engine.output.run_json",
    "eopipe.engine.lease": "eopipe.engine.output.lease",
    "eopipe.engine.ledger": "eopipe.engine.output.ledger",
    "eopipe.engine.mapping": "eopipe.engine.work.strips",
    "eopipe.engine.preflight": "eopipe.engine.work.preflight",
    "eopipe.engine.status": "eopipe.engine.finish.status",
    "eopipe.engine.validate": "eopipe.engine.finish.validate",
    "eopipe.kernels.found": "eopipe.kernels.objects",
    "eopipe.kernels.measure": "eopipe.kernels.statistics",
    "eopipe.kernels.words": "eopipe.kernels.known_words",
    "eopipe.models.entry": "eopipe.models.registry_entry",
    "eopipe.models.textcache": "eopipe.models.embedding_cache",
    "eopipe.mosaic.areas": "eopipe.mosaic.class_areas",
    "eopipe.mosaic.coarse": "eopipe.mosaic.coarse_pyramid",
    "eopipe.outline": "eopipe.area.lonlat",
    "eopipe.stac.output": "eopipe.stac.publish",
}
"""Old name to present name."""


FUNCTIONS = {
    "eopipe.cube.sensors": {
        "resolve_scene": "eopipe.cube.item_scenes",
        "level_of": "eopipe.cube.item_scenes",
    }
}
"""Module to functions that went from it to another module."""


def moved_function(module: str, name: str) -> Any:
    """A function that went from a module to another, for the module's ``__getattr__``.

    Raises:
        AttributeError: The module never had it.
    """
    present = FUNCTIONS[module].get(name)
    if present is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    warnings.warn(f"{module}.{name} is now {present}.{name}", DeprecationWarning, stacklevel=3)
    return getattr(import_module(present), name)


class _MovedModules(MetaPathFinder, Loader):
    """Finds the old names, and loads the present modules for them."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Answer for the old names only; see `MODULES`."""
        del path, target
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the present module in place of the empty one that Python made for the old name."""
        old, present = module.__name__, MODULES[module.__name__]
        warnings.warn(f"{old} is now {present}", DeprecationWarning, stacklevel=2)
        sys.modules[old] = import_module(present)


def install() -> None:
    """Make the old names importable, once a process."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
