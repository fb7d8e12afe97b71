"""The tiles of a plan as GeoJSON, so that a map shows what a run would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely

from eopipe.area.footprint import to_lonlat

if TYPE_CHECKING:
    from eopipe.engine.plan.make import Plan
    from eopipe.engine.plan.resolved_spec import Job

EDGE_POINTS = 8
"""Points an edge: a tile's edge is a curve in longitude and latitude."""


def feature_collection(job: Job, plan: Plan) -> dict[str, Any]:
    """One feature a tile: outline in lon/lat, its name, its scenes by number, whether scenes cover it."""
    side = plan.tile * job.grid.resolution
    boxes = [shapely.box(*job.grid.bounds(tile.tile.box(plan.tile))) for tile in plan.tiles]
    epochs = job.spec.source.ranges()
    features = []
    for tile, outline in zip(plan.tiles, to_lonlat(boxes, job.grid.crs, side / EDGE_POINTS), strict=True):
        features.append(
            {
                "type": "Feature",
                "id": tile.tile.name,
                "geometry": shapely.geometry.mapping(outline),
                "properties": {
                    "tile": tile.tile.name,
                    "scenes": sum(len(rows) for rows in tile.rows),
                    "scenes_by_epoch": dict(zip(epochs, map(len, tile.rows), strict=True)),
                    "covered": tile.covered,
                    "lacks": list(tile.lacks),
                    "inside": tile.part == "full",
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}
