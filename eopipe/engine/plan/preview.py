"""A plan as people see it: lines for a terminal, a table for a notebook, tiles as GeoJSON for a map."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import shapely

from eopipe.area.footprint import to_lonlat
from eopipe.engine.plan import prompt_check
from eopipe.text import gib, hms, size, some

if TYPE_CHECKING:
    from eopipe.engine.plan.model import Plan
    from eopipe.engine.plan.resolved_spec import Job
    from eopipe.engine.plan.tiles import PlannedTile

EDGE_POINTS = 8
"""Points an edge: a tile's edge is a curve in longitude and latitude."""


def rows(plan: Plan) -> dict[str, str]:
    """A plan in a few words, by topic; ``statistics``, ``features`` … only where it has any."""
    summary = plan.summary()
    memory = f" of {gib(summary['worker_memory'])}" if summary["worker_memory"] else ""
    lacking = ", ".join(f"{count:,} lack {name}" for name, count in summary["tiles_lacking"].items())
    empty = f", {summary['tiles_empty']:,} without a scene" if summary["tiles_empty"] else ""
    empty += f" ({lacking})" if lacking else ""
    requests = f" in {summary['requests']:,} requests" if summary["requests"] else ""
    tiles, scenes, tasks = (some(summary[f"{word}s"], word) for word in ("tile", "scene", "task"))
    workers = f"{some(summary['workers'], 'worker')}, each at most {gib(summary['worker_peak_bytes'])}{memory}"
    topics = {
        "tiles": f"{tiles} of {summary['tile']}² over {summary['km2']:,.1f} km²{empty}; {scenes}",
        "data": f"reads {size(summary['bytes_read'])}{requests}, writes about {size(summary['bytes_written'])}",
    }
    if (statistics := summary["statistics"]) is not None:
        blocks, cells = some(statistics["blocks"], "block"), some(statistics["cells"], "cell")
        stages, share = ", ".join(statistics["stages"]), size(statistics["bytes_read"])
        topics["statistics"] = f"measures {stages} first: {blocks}, {cells}, {share} of what it reads"
    if summary["features_bytes"]:
        total, a_km2 = size(summary["features_bytes"]), size(summary["features_bytes_per_km2"])
        topics["features"] = f"keeps about {total} of window features, {a_km2} a km²"
    if summary["radiometry"]:
        topics["radiometry"] = f"radiometry: {'; '.join(summary['radiometry'])}"
    topics["workers"] = f"{workers}; {tasks}"
    topics["time"] = f"about {hms(summary['seconds'])} once the workers are there, on {summary['device']}"
    return topics


def lines(plan: Plan) -> list[str]:
    """A plan for a terminal, without its warnings."""
    return [*rows(plan).values(), *prompt_check.lines(plan.words)]


@dataclass(frozen=True, repr=False)
class PlannedRun:
    """What a run would do, before anything is written: what :func:`eopipe.plan` returns.

    Args:
        job: The resolved spec.
        plan: Its plan.
        output: Where a run would write.
    """

    job: Job
    plan: Plan
    output: str

    @property
    def tiles(self) -> list[PlannedTile]:
        """All tiles, in the order in which a run begins them."""
        return self.plan.tiles

    @property
    def warnings(self) -> tuple[str, ...]:
        """One line each."""
        return self.plan.warnings

    def summary(self) -> dict[str, Any]:
        """The numbers of ``eopipe plan --json``: tiles, bytes, requests, memory, seconds."""
        return {"output": self.output, **self.plan.summary()}

    def geojson(self) -> dict[str, Any]:
        """A FeatureCollection, one feature a tile: outline in lon/lat, its name, scenes, whether scenes cover it."""
        grid, tile = self.job.grid, self.plan.tile
        boxes = [shapely.box(*grid.bounds(planned.tile.box(tile))) for planned in self.tiles]
        outlines = to_lonlat(boxes, grid.crs, tile * grid.resolution / EDGE_POINTS)
        epochs = self.job.spec.source.ranges()
        features = [
            {
                "type": "Feature",
                "id": planned.tile.name,
                "geometry": shapely.geometry.mapping(outline),
                "properties": {
                    "tile": planned.tile.name,
                    "scenes": sum(len(scenes) for scenes in planned.rows),
                    "scenes_by_epoch": dict(zip(epochs, map(len, planned.rows), strict=True)),
                    "covered": planned.covered,
                    "lacks": list(planned.lacks),
                    "inside": planned.part == "full",
                },
            }
            for planned, outline in zip(self.tiles, outlines, strict=True)
        ]
        return {"type": "FeatureCollection", "features": features}

    def __repr__(self) -> str:
        warnings = [f"warning: {line}" for line in self.warnings]
        return "\n".join([f"plan of {self.job.spec.name} into {self.output}", *lines(self.plan), *warnings])

    def _repr_html_(self) -> str:
        """A small table, as Jupyter shows it."""
        table = {**rows(self.plan), "output": self.output}
        words = "\n".join(prompt_check.lines(self.plan.words))
        cells = [f"<tr><th>{escape(topic)}</th><td>{escape(text)}</td></tr>" for topic, text in table.items()]
        cells += [f"<tr><th>words</th><td><pre>{escape(words)}</pre></td></tr>"] if words else []
        cells += [f"<tr><th>warning</th><td>{escape(line)}</td></tr>" for line in self.warnings]
        return f"<table><caption>plan of {escape(self.job.spec.name)}</caption>{''.join(cells)}</table>"
