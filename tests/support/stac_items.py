"""The given real STAC items, and specs to search them with."""

import copy
import json
from functools import cache
from typing import Any

from eopipe.area.on_grid import Area
from eopipe.snapshot import Snapshot
from eopipe.spec import RunSpec, parse_spec
from eopipe.stac.describe_item import Remarks, describe
from tests.support.paths import shared


@cache
def _files() -> dict[str, Any]:
    folder = shared() / "data" / "stac_raster" / "stac_items"
    files = [*sorted(folder.rglob("*.json")), *sorted(folder.rglob("*.geojson"))]
    return {path.relative_to(folder).as_posix(): json.loads(path.read_text()) for path in files}


@cache
def _flat(part: str) -> tuple[dict[str, Any], ...]:
    documents = [document for path, document in _files().items() if part in path]
    features = [d.get("features", [d]) for d in documents if d.get("type") in {"Feature", "FeatureCollection"}]
    return tuple(item for group in features for item in group)


def real_items(part: str = "") -> list[dict[str, Any]]:
    """Copies of the real items of the files whose path contains ``part``."""
    return copy.deepcopy(list(_flat(part)))


def real_item(which: str | int) -> dict[str, Any]:
    """A copy of one real item, by its id or its number among all."""
    items = _flat("")
    return copy.deepcopy(items[which] if isinstance(which, int) else next(i for i in items if i["id"] == which))


def snapshot_of(epochs: dict[str, list[dict[str, Any]]], *, href: str | None = None) -> Snapshot:
    """A snapshot of items at hand; duplicates stay."""
    rows = [describe(item, name, Remarks(), href=href) for name, items in epochs.items() for item in items]
    return Snapshot.build(list(epochs), rows)


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
