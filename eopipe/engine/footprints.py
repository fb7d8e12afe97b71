"""The tiles of a plan as GeoJSON, so that a map shows what a run would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import shapely
from pyproj import Transformer

if TYPE_CHECKING:
    from eopipe.engine.job import Job
    from eopipe.engine.plan import Plan

EDGE_POINTS = 8
"""Points an edge: a tile's edge is a curve in longitude and latitude."""


def feature_collection(job: Job, plan: Plan) -> dict[str, Any]:
    """One feature a tile: outline in lon/lat, its name, its scenes by number, whether a scene covers it."""
    to_degrees = Transformer.from_crs(job.grid.crs, "EPSG:4326", always_xy=True)
    features = []
    for tile in plan.tiles:
        box = shapely.box(*job.grid.bounds(tile.tile.box(plan.tile)))
        dense = shapely.segmentize(box, box.length / 4 / EDGE_POINTS)
        outline = shapely.transform(dense, to_degrees.transform, interleaved=False)
        features.append(
            {
                "type": "Feature",
                "id": tile.tile.name,
                "geometry": shapely.geometry.mapping(outline),
                "properties": {
                    "tile": tile.tile.name,
                    "scenes": sum(len(rows) for rows in tile.rows),
                    "covered": tile.covered,
                    "inside": tile.part == "full",
                },
            }
        )
    return {"type": "FeatureCollection", "features": features}
