"""Where the STAC documents lie in a run's folder, and how they refer to each other."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eopipe.grid import Tile

FOLDER = "stac"
COLLECTION = f"{FOLDER}/collection.json"
TABLE = f"{FOLDER}/items.parquet"
ITEMS = f"{FOLDER}/items"

LINKED_ITEMS = 1000
"""Up to so many Items the Collection links each; above, it points to the table (DESIGN §5)."""


def item_path(tile: Tile) -> str:
    """Path of a tile's Item in the run's folder; one folder a row, as in the ledger."""
    return f"{ITEMS}/{tile.name.split('c', maxsplit=1)[0]}/{tile.name}.json"


def href(path: str, document: str) -> str:
    """How ``document`` refers to ``path``, both relative to the run's folder."""
    found = posixpath.relpath(path, posixpath.dirname(document) or ".")
    return found if found.startswith(".") else f"./{found}"
