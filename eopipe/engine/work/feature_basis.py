"""The basis that reduces a run's window features: fitted before its tiles, on one worker, then frozen."""

from __future__ import annotations

import hashlib
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from eopipe.cube.gdal_settings import gdal_worker_env
from eopipe.cube.item_scenes import scenes_from_items
from eopipe.engine.cluster.device import choose_device
from eopipe.engine.plan.make import with_features
from eopipe.engine.plan.memory import GDAL_CACHE
from eopipe.engine.plan.open import read_settings
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.work.strips import Stopwatch, map_box
from eopipe.engine.work.worker_state import GDAL_SHARE
from eopipe.errors import PlanError, TileFault
from eopipe.grid import PixelBox
from eopipe.mosaic.pca import Basis, fit_basis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Client
    from numpy.typing import NDArray

    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import Scene
    from eopipe.engine.plan.make import Plan
    from eopipe.engine.plan.open import Opened
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.kernel_info import KernelInfo
    from eopipe.kernels.protocol import Kernel
    from eopipe.mosaic.features import Index
    from eopipe.snapshot import Snapshot

PLACES = 16
"""Places that the basis is fitted on: the windows of one stride each, some 3,000 tokens of CLIP's."""

TRIED = 8 * PLACES
"""Places that are looked at for so many with a valid pixel."""


@dataclass(frozen=True)
class Place:
    """A box of the grid that the basis is fitted on, and its scenes by epoch."""

    box: PixelBox
    scenes: tuple[tuple[Scene, ...], ...]


def wants_basis(opened: Opened) -> bool:
    """Whether features are reduced, and the basis is not yet frozen."""
    features = opened.job.kernel.info.features
    return opened.before is None and features is not None and features.reduced is not None


def choose_basis(opened: Opened, plan: Plan, client: Client) -> tuple[Plan, Basis]:
    """Fit the basis on one worker; returns the plan with its identity in the recipe.

    Raises:
        PlanError: There is nothing to fit it on.
    """
    job, read = opened.job, read_settings(opened.job)
    places = sample_places(plan.tiles, plan.tile, job.kernel.info, opened.snapshot, read)
    future = client.submit(fit_on, job.kernel, places, read, gdal_cache=GDAL_SHARE * GDAL_CACHE, pure=False)
    basis: Basis = future.result()
    return with_features(plan, job, opened.snapshot, {"basis": basis.identity}), basis


def sample_places(
    tiles: Sequence[PlannedTile], size: int, info: KernelInfo, snapshot: Snapshot, read: ReadSettings
) -> list[Place]:
    """Places to fit a basis on: one stride a side, somewhere in each of some tiles; by a hash, so always the same.

    Args:
        tiles: All tiles of the run.
        size: Side of a tile, grid pixels.
        info: The kernel's.
        snapshot: The frozen items.
        read: How pixels are read.
    """
    side = math.ceil(info.window.stride / info.factor)
    covered = [tile for tile in tiles if tile.covered]
    rounds = math.ceil(TRIED / max(len(covered), 1))
    drawn = [(_hash(f"{snapshot.hash}:{tile.tile.name}:{n}"), tile) for tile in covered for n in range(rounds)]
    drawn.sort(key=lambda pair: pair[0])
    places = []
    for number, tile in drawn[:TRIED]:
        box, free = tile.tile.box(size), size - side + 1
        row, col = box.row0 + number % free, box.col0 + number // free % free
        scenes = tuple(
            tuple(scenes_from_items(snapshot.items(rows), info.inputs.bands, read.mask, read.sar))
            for rows in tile.rows
        )
        places.append(Place(PixelBox(row, col, row + side, col + side), scenes))
    return places


def fit_on(kernel: Kernel, places: Sequence[Place], read: ReadSettings, *, gdal_cache: int) -> Basis:
    """Encode the windows of the first places that have any, and fit the basis; runs on one worker.

    Raises:
        PlanError: Too few tokens were found.
    """
    gdal_worker_env(gdal_cache)
    torch.set_num_threads(THREADS)
    kernel.load(device=choose_device(), threads=THREADS)
    kept = kernel.info.features
    assert kept is not None
    assert kept.reduced is not None
    found: list[NDArray[np.float32]] = []
    seen = 0
    for place in places:
        windows: dict[Index, NDArray[np.float32]] = {}
        with suppress(TileFault):  # a scene that cannot be read: its tile will say so
            map_box(kernel, place.scenes, read, place.box, watch=Stopwatch(), keep=windows.update)
        found.extend(windows[index] for index in sorted(windows))
        seen += bool(windows)
        if seen == PLACES:
            break
    count = sum(len(tokens) for tokens in found)
    if count <= kept.reduced:
        raise PlanError(
            f"kernel.features: {kept.reduced} components cannot be fitted on the {count} tokens found at "
            f"{len(places)} places of the area; ask for fewer, or set features: keep"
        )
    return fit_basis(np.concatenate(found), kept.reduced)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
