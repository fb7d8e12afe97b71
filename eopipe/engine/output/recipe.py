"""The tile recipe and the key of a tile's inputs: equal inputs mean equal bytes, in any run.

The recipe of a run that cuts another run's stored scores at another threshold holds that run's whole recipe, so the
keys of the source's tiles, and with them its own, follow from its own folder: ``status`` and ``validate`` work when
the source is gone.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from eopipe.grid import Grid
    from eopipe.kernelinfo import KernelInfo
    from eopipe.spec import SourceSpec

KEY_LENGTH = 20
"""Hex digits of an inputs key: 80 bits, so that 10^9 tiles collide with probability below 10^-6."""

STATISTICS = "statistics"
"""Key of a recipe under which the kernel's statistics stages stand, where it has any."""

RETHRESHOLD = "rethreshold"
"""Key under which a run that cuts stored scores states the threshold, and the recipe of the run that stored them."""


def tile_recipe(
    *,
    info: KernelInfo,
    grid: Grid,
    tile: int,
    source: SourceSpec,
    threads: int,
    statistics: Sequence[Mapping[str, Any]] = (),
    files: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """What turns a tile's scenes into its bytes; not the name, the area, the dates, the query or the snapshot.

    Args:
        info: The kernel's.
        grid: The lattice of the mosaic.
        tile: Side of a tile.
        source: How scenes are read; what selects them does not count.
        threads: Of torch.
        statistics: The kernel's stages (:func:`eopipe.engine.statistics.planning.describe`), where it has any.
        files: Facts of files that decide bytes (:mod:`eopipe.engine.plan.radiometry_survey`).
    """
    recipe: dict[str, Any] = {
        "kernel": {
            "name": info.name,
            "version": info.version,
            "options": {name: value for name, value in info.options.items() if name not in info.places},
            "weights": dict(info.weights),
            "window": [info.window.size, info.window.stride, info.window.halo],
            "factor": info.factor,
        },
        "grid": {"crs": grid.crs, "resolution": grid.resolution},
        "bands": list(info.inputs.bands),
        "mask": source.mask.model_dump(mode="json") if source.mask is not None else None,
        "composite": source.composite,
        "threads": threads,
        "layout": {"tile": tile, "arrays": [[spec.name, spec.dtype, len(spec.bands)] for spec in info.arrays]},
    }
    if info.inputs.modality == "sar":
        recipe["sar"] = source.sar.model_dump(mode="json") if source.sar is not None else None
    if source.radiometry is not None or files:
        stated = source.radiometry.model_dump(mode="json", exclude_none=True) if source.radiometry else {}
        recipe["radiometry"] = {"spec": stated, "files": [dict(entry) for entry in files]}
    if source.bands is not None:
        recipe["assets"] = {band: list(keys) for band, keys in sorted(source.bands.items())}
    if statistics:
        recipe[STATISTICS] = [dict(stage) for stage in statistics]
    return recipe


def rethreshold_recipe(source: Mapping[str, Any], threshold: int) -> dict[str, Any]:
    """The tile recipe of a run that cuts the scores of another; it measures no statistics.

    Args:
        source: The other's tile recipe.
        threshold: Where they are cut, in the units of the score.
    """
    shared = {name: value for name, value in source.items() if name not in {STATISTICS, RETHRESHOLD}}
    return {**shared, RETHRESHOLD: {"at": threshold, "source": dict(source)}}


def threshold_of(recipe: Mapping[str, Any]) -> int | None:
    """The threshold at which a run cuts stored scores; None of a run that maps scenes."""
    return int(recipe[RETHRESHOLD]["at"]) if RETHRESHOLD in recipe else None


def source_recipe(recipe: Mapping[str, Any]) -> dict[str, Any] | None:
    """The recipe of the run whose scores are cut; None of a run that maps scenes."""
    return dict(recipe[RETHRESHOLD]["source"]) if RETHRESHOLD in recipe else None


def inputs_key(
    recipe_hash: str, part: str, scene_hashes: Mapping[str, Sequence[str]], statistics: Sequence[str] = ()
) -> str:
    """Key of one tile's inputs.

    Args:
        recipe_hash: :func:`eopipe.canonical_json.digest` of the tile recipe.
        part: The tile's part of the area (:meth:`eopipe.area.on_grid.GridArea.part`).
        scene_hashes: Epoch name to its scenes' hashes, both in order.
        statistics: Blocks of statistics that it uses, each with the key of its own inputs.
    """
    text = hashlib.sha256(f"{recipe_hash}|{part}".encode())
    for epoch, hashes in scene_hashes.items():
        text.update(f"|{epoch}:{','.join(hashes)}".encode())
    for block in statistics:
        text.update(f"|{block}".encode())
    return text.hexdigest()[:KEY_LENGTH]
