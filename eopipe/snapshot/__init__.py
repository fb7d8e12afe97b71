"""The frozen items of a run: a value type that the cube, STAC and engine rooms share.

A `Snapshot` is an Arrow index, one row per epoch and item, beside each item's JSON as it was received.
Planning works from the index alone; workers read the JSON of the few items that they need.
"""

from eopipe.snapshot.parquet import read_snapshot, write_snapshot
from eopipe.snapshot.scene_index import SceneIndex, off_footprint
from eopipe.snapshot.snapshot import ITEM_ASSETS, Row, Snapshot, item_hash, resolve_href

__all__ = [
    "ITEM_ASSETS",
    "Row",
    "SceneIndex",
    "Snapshot",
    "item_hash",
    "off_footprint",
    "read_snapshot",
    "resolve_href",
    "write_snapshot",
]
