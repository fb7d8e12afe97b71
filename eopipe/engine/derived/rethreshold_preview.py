"""How much other thresholds would find: shown before a map is cut, since people must choose one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eopipe.canonical_json import digest
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.output.record import total_histogram
from eopipe.errors import TileFault
from eopipe.mosaic.class_areas import class_areas, map_spec
from eopipe.mosaic.pyramid import histogram
from eopipe.text import some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.sources.stored_scores import StoredScores
    from eopipe.kernels.protocol import Rethresholding

TILES = 32
"""At most so many tiles are read, chosen by a hash of their names: an object store takes a second for some."""

PIXELS = 2**26
"""And at most so many pixels in all, but one tile at least: four tiles of 4096."""

OTHERS = (50, 75, 100, 125, 150, 200)
"""Thresholds that are tried beside the given one."""


def preview(scores: StoredScores, kernel: Rethresholding, done: Sequence[PlannedTile]) -> str:
    """One line: what the last class of the map would cover at some thresholds, in square kilometres.

    Args:
        scores: The run's, with the given threshold.
        kernel: Its kernel.
        done: Its tiles that are done, by their keys there.
    """
    spec, side = map_spec(scores.layout), scores.layout.tile
    code, name = spec.classes[-1].code, spec.classes[-1].name
    kernels = {threshold: kernel.with_threshold(threshold) for threshold in sorted({*OTHERS, scores.threshold})}
    pixels, classed, read = Counter[int](), 0, 0
    most = min(TILES, max(1, PIXELS // side**2))
    for tile in sorted(done, key=lambda tile: digest(tile.tile.name))[:most]:
        try:
            stored, _ = scores.read(replace(tile, source_inputs=tile.inputs))
        except TileFault:
            continue  # its own task will fail with the reason
        arrays, box = {array.name: stored[array.name] for array in kernel.info.arrays}, tile.tile.box(side)
        for threshold, cutting in kernels.items():
            counts = histogram(np.asarray(cutting.recompute(arrays, box).arrays[spec.name]))
            pixels[threshold] += counts.get(code, 0)
        classed += sum(counts.get(entry.code, 0) for entry in spec.classes)
        read += 1
    if not classed:
        return f"{scores.storage.url()}: no pixel there has a score yet"
    total = total_histogram(Ledger(scores.storage).load_all({tile.key for tile in done}))
    km2 = sum(area.km2 for area in class_areas(scores.storage, scores.layout, histogram=total)) / classed
    areas = ", ".join(f"{km2 * count:,.2f} km² from {threshold} on" for threshold, count in sorted(pixels.items()))
    return f"{name}, by {read:,} of {some(len(done), 'tile')}: {areas}"
