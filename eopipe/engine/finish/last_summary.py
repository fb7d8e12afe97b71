"""A run that was asked for before: what is complete is told again, and no worker is started for it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from eopipe import run_folder
from eopipe.engine.output import run_json
from eopipe.engine.output.ledger import Ledger
from eopipe.engine.plan.open import open_frozen, open_run
from eopipe.spec import resolve_now
from eopipe.storage import Storage

if TYPE_CHECKING:
    from eopipe.spec import RunSpec


def complete(spec: RunSpec) -> dict[str, Any] | None:
    """The summary of a run that is complete: every tile's record is there, and what is made of them.

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
    _, tiles = open_frozen(storage, before)
    done = Ledger(storage).done()
    if any(tile.key not in done for tile in tiles):
        return None
    sessions = [json.loads(storage.get(path)) for path in sorted(storage.list(f"{run_folder.SESSIONS}/"))]
    finished = [session for session in sessions if session["exit_status"] == 0 and session.get("quicklook")]
    mapped = [session for session in finished if session["km2_per_hour"]]
    return next(reversed(mapped or finished), None)
