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
from eopipe.engine.cluster.resources import choose_device
from eopipe.engine.plan.make import with_features
from eopipe.engine.plan.memory import GDAL_CACHE
from eopipe.engine.plan.resolved_spec import THREADS
from eopipe.engine.work.strips import Sink, map_box
from eopipe.errors import PlanError, TileFault
from eopipe.grid import PixelBox
from eopipe.mosaic.pca import Basis, fit_basis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from distributed import Client
    from numpy.typing import NDArray

    from eopipe.cube.reader import ReadSettings
    from eopipe.cube.scenes import Scene
    from eopipe.engine.plan.model import Plan
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.kernelinfo import KernelInfo
    from eopipe.kernels.protocol import Kernel, Result
    from eopipe.mosaic.features import Index
    from eopipe.snapshot import Snapshot

SAMPLES = 16
"""Boxes that the basis is fitted on: the windows of one stride each, some 3,000 tokens of CLIP's."""

TRIED = 8 * SAMPLES
"""Boxes that are tried for so many with a valid pixel."""


@dataclass(frozen=True)
class SampleBox:
    """A box of the grid that the basis is fitted on, and its scenes by epoch."""

    box: PixelBox
    scenes: tuple[tuple[Scene, ...], ...]


class _Windows(Sink):
    """Keeps window features."""

    def __init__(self) -> None:
        super().__init__()
        self.features: dict[Index, NDArray[np.float32]] = {}

    def take(self, result: Result) -> None:
        """Add those of a strip."""
        self.features.update(result.windows)


def wants_basis(info: KernelInfo) -> bool:
    """Whether a kernel reduces its window features."""
    return info.features is not None and info.features.reduced is not None


def choose_basis(job: Job, snapshot: Snapshot, plan: Plan, client: Client) -> tuple[Plan, Basis]:
    """Fit the basis on one worker; returns the plan with its identity in the recipe.

    Raises:
        PlanError: Too few windows with valid pixels to fit it on.
    """
    boxes = sample_boxes(plan.tiles, plan.tile, job.kernel.info, snapshot, job.read)
    basis: Basis = client.submit(fit_on, job.kernel, boxes, job.read, pure=False).result()
    return with_features(plan, job, snapshot, {"basis": basis.identity}), basis


def sample_boxes(
    tiles: Sequence[PlannedTile], size: int, info: KernelInfo, snapshot: Snapshot, read: ReadSettings
) -> list[SampleBox]:
    """Boxes to fit a basis on: one stride a side, somewhere in each of some tiles; by a hash, so always the same.

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
    samples = []
    for number, tile in drawn[:TRIED]:
        box, free = tile.tile.box(size), size - side + 1
        row, col = box.row0 + number % free, box.col0 + number // free % free
        scenes = tuple(
            tuple(
                scenes_from_items(
                    snapshot.items(rows),
                    info.inputs.bands,
                    read.mask,
                    read.sar,
                    read.choice,
                    radiometry=read.radiometry,
                )
            )
            for rows in tile.rows
        )
        samples.append(SampleBox(PixelBox(row, col, row + side, col + side), scenes))
    return samples


def fit_on(kernel: Kernel, boxes: Sequence[SampleBox], read: ReadSettings) -> Basis:
    """Encode the windows of the first boxes that have a valid pixel, and fit the basis; runs on one worker.

    Raises:
        PlanError: Too few tokens to fit it on.
    """
    gdal_worker_env(GDAL_CACHE)
    torch.set_num_threads(THREADS)
    kernel.load(device=choose_device(), threads=THREADS)
    features = kernel.info.features
    assert features is not None
    assert features.reduced is not None
    tokens: list[NDArray[np.float32]] = []
    valid = 0
    for sample in boxes:
        windows = _Windows()
        with suppress(TileFault):  # a scene that cannot be read: its tile will fail with the reason
            map_box(kernel, sample.scenes, read, sample.box, sink=windows)
        tokens.extend(windows.features[index] for index in sorted(windows.features))
        valid += bool(windows.features)
        if valid == SAMPLES:
            break
    count = sum(map(len, tokens))
    if count <= features.reduced:
        raise PlanError(
            f"kernel.features: {features.reduced} components cannot be fitted on the {count} tokens found at "
            f"{len(boxes)} places of the area; ask for fewer, or set features: keep"
        )
    return fit_basis(np.concatenate(tokens), features.reduced)


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
