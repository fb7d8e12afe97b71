"""The given real STAC items, and specs to search them with."""

import copy
import json
from functools import cache
from typing import Any

from eopipe.area import Area
from eopipe.spec import RunSpec, parse_spec
from tests.support.paths import shared


@cache
def _files() -> dict[str, Any]:
    folder = shared() / "data" / "stac_raster" / "stac_items"
    files = [*sorted(folder.rglob("*.json")), *sorted(folder.rglob("*.geojson"))]
    return {path.relative_to(folder).as_posix(): json.loads(path.read_text()) for path in files}


def real_items(part: str = "") -> list[dict[str, Any]]:
    """Copies of the real items of the files whose path contains ``part``."""
    found = []
    for path, document in _files().items():
        if part in path and document.get("type") in {"Feature", "FeatureCollection"}:
            found += document.get("features", [document])
    return copy.deepcopy(found)


def real_item(item_id: str) -> dict[str, Any]:
    """A copy of one real item."""
    return next(item for item in real_items() if item["id"] == item_id)


def spec_for(catalog: object, bbox: Any = (-180.0, -90.0, 180.0, 90.0), **source: Any) -> tuple[RunSpec, Area]:
    """A run spec whose source is the catalog, and its area."""
    area = list(bbox) if isinstance(bbox, tuple) else bbox
    spec = parse_spec(
        {
            "name": "search",
            "area": area,
            "source": {"catalog": str(catalog), **source},
            "grid": {"crs": "EPSG:4326", "resolution": 0.001},
            "kernel": {"name": "land-cover"},
            "output": {"uri": "unused"},
        }
    )
    return spec, Area.parse(area)
