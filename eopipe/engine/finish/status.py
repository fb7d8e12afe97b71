"""How far a run is, from its folder alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.engine.output import run_json
from eopipe.engine.output.lease import lease_state
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.open import frozen_tiles
from eopipe.engine.statistics.store import StatisticsStore
from eopipe.storage import Storage

if TYPE_CHECKING:
    from eopipe.engine.statistics.planning import StatisticsPlan


def read_status(uri: str) -> dict[str, Any]:
    """Tiles by status, failures by reason, the lease and the products.

    Args:
        uri: A run's folder or URL.

    Raises:
        SpecError: There is no run.
    """
    storage = Storage.open(uri)
    before = run_json.require(storage)
    tiles, statistics = frozen_tiles(storage, before)
    ledger = Ledger(storage)
    keys = {tile.key for tile in tiles}
    records = ledger.load_all(keys)
    done = {record.key for record in records}
    last = {failure.key: failure for failure in ledger.failures()}
    failed = {key: failure for key, failure in last.items() if key in keys - done}
    counts = Counter(record.status for record in records)
    return {
        "output": storage.url(),
        "name": before.spec["name"],
        "kernel": before.recipe["kernel"]["name"],
        "tiles": len(tiles),
        **{name: counts[name] for name in ("done", "empty", "masked")},
        "failed": len(failed),
        "not_run": len(tiles) - len(records) - len(failed),
        "failed_reasons": dict(Counter(failure.reason for failure in failed.values())),
        "failed_tiles": [
            f"{key.tile}: {failure.reason}: {failure.detail}" for key, failure in sorted(failed.items())
        ],
        **({"statistics": _measured(storage, statistics)} if statistics is not None else {}),
        "lease": lease_state(storage),
        "sessions": sum(1 for _ in storage.list(f"{run_folder.SESSIONS}/")),
        "published": storage.exists(run_folder.COLLECTION),
    }


def _measured(storage: Storage, plan: StatisticsPlan) -> dict[str, int]:
    """Blocks of all stages: how many there are, are measured, and failed and are not measured since."""
    store = StatisticsStore(storage)
    left = plan.keys - store.done()
    failed = {(stage.info.name, *key) for stage in plan.stages for key in store.failed(stage.info.name)}
    return {"blocks": plan.blocks, "measured": plan.blocks - len(left), "failed": len(left & failed)}
