"""How much other thresholds would find, said before any is taken: people must choose one."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from eopipe.engine.format import some
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.output.recipe import digest
from eopipe.errors import TileFault
from eopipe.mosaic.class_areas import class_areas, map_spec
from eopipe.mosaic.pyramid import histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    from eopipe.engine.plan.tiles import PlannedTile
    from eopipe.engine.sources.stored_scores import ScoredRun
    from eopipe.kernels.protocol import Rethresholding

LOOK = 32
"""At most so many tiles are looked at, chosen by a hash of their names: an object store takes a second for some."""

PIXELS = 2**26
"""And at most so many pixels in all, but one tile at least: four tiles of 4096."""

OTHERS = (50, 75, 100, 125, 150, 200)
"""Thresholds that are tried, beside the one that is asked for."""


def outlook(scored: ScoredRun, kernel: Rethresholding, done: Sequence[PlannedTile], *, at: int) -> str:
    """One line: what the last class of the map would cover at some thresholds, in square kilometres.

    Args:
        scored: The run.
        kernel: Its kernel.
        done: Its tiles that are done, by their keys there.
        at: The threshold that is asked for.
    """
    spec = map_spec(scored.layout)
    code, name = spec.classes[-1].code, spec.classes[-1].name
    cut = {each: kernel.with_threshold(each) for each in sorted({*OTHERS, at})}
    found, classed, looked = Counter[int](), 0, 0
    for tile in sorted(done, key=lambda tile: digest(tile.tile.name))[: _look(scored.layout.tile)]:
        try:
            stored, _ = scored.read(replace(tile, source=tile.inputs))
        except TileFault:
            continue  # its own task will say so, with the reason
        own, box = {array.name: stored[array.name] for array in kernel.info.arrays}, tile.tile.box(scored.layout.tile)
        for each, other in cut.items():
            counts = histogram(np.asarray(other.recompute(own, box).arrays[spec.name]))
            found[each] += counts.get(code, 0)
        classed += sum(counts.get(entry.code, 0) for entry in spec.classes)
        looked += 1
    if not classed:
        return f"{scored.storage.url()}: no pixel there has a score yet"
    km2 = _km2(scored, done) / classed
    told = ", ".join(f"{km2 * count:,.2f} km² from {each} on" for each, count in sorted(found.items()))
    return f"{name}, by {looked:,} of {some(len(done), 'tile')}: {told}"


def _look(side: int) -> int:
    return min(LOOK, max(1, PIXELS // side**2))


def _km2(scored: ScoredRun, done: Sequence[PlannedTile]) -> float:
    """Ground that has any class."""
    total: Counter[int] = Counter()
    for record in Ledger(scored.storage).load_all({tile.key for tile in done}):
        total.update(record.histogram)
    return sum(area.km2 for area in class_areas(scored.storage, scored.layout, histogram=total))
