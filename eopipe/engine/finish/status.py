"""How far a run is, from its folder alone; and the last summary of one that is complete."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.engine.output import run_json
from eopipe.engine.output.lease import lease_state
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.open import frozen_tiles, open_run
from eopipe.engine.statistics.store import StatisticsStore
from eopipe.spec import resolve_now
from eopipe.storage import Storage

if TYPE_CHECKING:
    from eopipe.spec import RunSpec


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
    outcome = Ledger(storage).outcome({tile.key for tile in tiles})
    failures = outcome.failures
    return {
        "output": storage.url(),
        "name": before.spec["name"],
        "kernel": before.recipe["kernel"]["name"],
        "tiles": len(tiles),
        **outcome.counts,
        "failed_reasons": dict(Counter(failure.reason for failure in failures.values())),
        "failed_tiles": [f"{key.tile}: {failure.reason}: {failure.detail}" for key, failure in failures.items()],
        **({"statistics": StatisticsStore(storage).counts(statistics)} if statistics is not None else {}),
        "lease": lease_state(storage),
        "sessions": sum(1 for _ in storage.list(f"{run_folder.SESSIONS}/")),
        "published": storage.exists(run_folder.COLLECTION),
    }


def last_summary(spec: RunSpec) -> dict[str, Any] | None:
    """The summary of a run that is complete, with its products; no worker is started for it.

    Args:
        spec: The run's.

    Returns:
        The last summary, of the session that mapped tiles where there is one; None where something is left to do.

    Raises:
        SpecError: The output belongs to another spec.
        WeightsError: It was made with other weights.
    """
    now = resolve_now(None)
    storage = Storage.open(spec.output_uri(now))
    before = run_json.load(storage)
    if before is None or not storage.exists(run_folder.COLLECTION):
        return None
    open_run(spec, now=now, allow_empty=False)  # refuses another spec, and other weights
    done = Ledger(storage).done()
    if any(tile.key not in done for tile in frozen_tiles(storage, before).tiles):
        return None
    sessions = [json.loads(storage.get(path)) for path in sorted(storage.list(f"{run_folder.SESSIONS}/"))]
    finished = [session for session in sessions if session["exit_status"] == 0 and session.get("quicklook")]
    mapped = [session for session in finished if session["km2_per_hour"]]
    return next(reversed(mapped or finished), None)
